"""Costs that the page "Which objective" tells by FLOPs alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from benchmarks.measure import flops
from curvae import Autoencoder, objectives, posteriors
from curvae.curvature import Secants
from curvae.nn import MNISTDecoder, MNISTEncoder
from curvae.objectives import Objective

PAGE = (Path(__file__).parents[2] / "docs" / "_objectives.md").read_text(encoding="utf-8")
DIAGONAL = posteriors.Diagonal()


def _flops(objective: Objective, structure: posteriors.Structure | None) -> int:
    model = Autoencoder(MNISTEncoder(), MNISTDecoder(12), 12, structure)
    x = torch.rand(64, 1, 28, 28)
    objective(model, x)  # the first use of a decoder has checks
    return flops(lambda: objective(model, x).mean().backward())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "objective", "structure"),
    [
        ("BetaVAE(β, samples=2, antithetic=True)", objectives.BetaVAE(0.2, samples=2, antithetic=True), DIAGONAL),
        ("estimator=Secants(1))", objectives.GRAE(0.2, structure=DIAGONAL, estimator=Secants(1)), None),
    ],
)
def test_the_page_has_the_flops_of_a_step(
    call: str, objective: Objective, structure: posteriors.Structure | None
) -> None:
    told = re.search(re.escape(call) + r"` \| \((.*?)\) \|", PAGE)
    assert told is not None
    assert f"{_flops(objective, structure) / _flops(objectives.BetaVAE(0.2), DIAGONAL):.2f}" == told[1]
