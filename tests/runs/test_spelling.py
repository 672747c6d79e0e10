"""Objectives in the words of a configuration, and back."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from curvae.curvature import Columns, Coordinates, Exact, Fraction, Lanczos, Secants, Signs, Sphere, Trace
from curvae.likelihoods import (
    Bernoulli,
    BernoulliLogits,
    Categorical,
    ContinuousBernoulli,
    Gaussian,
    Laplace,
    LearnedGaussian,
    Masked,
    NegativeBinomial,
    Poisson,
    StudentT,
)
from curvae.objectives import GRAE, RAE, BetaVAE, Taylor, Terms
from curvae.posteriors import Banded, BlockDiagonal, Diagonal, Full, Shared
from curvae.runs import RunConfig, build_objective
from curvae.runs.spelling import spelled

LIKELIHOODS = [
    *(Gaussian(), Gaussian(0.1234567890123), Bernoulli(), BernoulliLogits(), ContinuousBernoulli(), Laplace(0.3)),
    *(StudentT(4.0, 0.1), Poisson(), NegativeBinomial(2.5)),
]
SAID: list[Any] = [
    *(BetaVAE(0.3, likelihood, 2) for likelihood in LIKELIHOODS),
    BetaVAE(0.3, samples=4, antithetic=True),
    *(Taylor(0.3, curvature=curvature) for curvature in ("gauss-newton", "hessian")),
    *(GRAE(0.3, structure=one) for one in (Diagonal(), BlockDiagonal(2), Banded(1), Full(), Shared(BlockDiagonal(3)))),
    *(GRAE(0.3, structure=Diagonal(), estimator=one) for one in (Exact(), Columns(2), Trace(), Trace(Signs(3)))),
    GRAE(0.3, structure=Diagonal(), estimator=Fraction(Columns(2), 0.125)),
    GRAE(0.3, structure=Full(), estimator=Lanczos(5, Signs(3))),
    GRAE(0.3, structure=Diagonal(), encoder_weight=0.1, decoder_weight=0.0, orthogonality=2.0),
    GRAE(0.3, structure=Full(), curvature="hessian"),
    GRAE(0.3, structure=Diagonal(), estimator=Fraction(Secants(2), 0.125)),
    *(Taylor(0.3, estimator=Secants(3, central=central)) for central in (False, True)),
    *(RAE(0.3, 0.5, trace=trace) for trace in (Trace(), Trace(Signs(2)), Trace(Coordinates(2)))),
]


@pytest.mark.parametrize("objective", SAID, ids=repr)
def test_what_is_said_builds_the_same_objective(objective: Any) -> None:
    config = RunConfig(data="toy", latents=4, **spelled(objective))
    again = build_objective(config)
    assert repr(again) == repr(objective)
    for name in ("beta", "encoder_weight", "decoder_weight", "orthogonality", "samples"):
        assert getattr(again, name, None) == getattr(objective, name, None)
    assert vars(again.likelihood) == vars(objective.likelihood)


def derived(kind: type, *arguments: Any) -> Any:
    """Of a class of one's own, which may do something else and shows itself as the one that it is derived from."""
    return type("Mine", (kind,), {})(*arguments)


UNSAID: list[Any] = [
    BetaVAE(0.3, Categorical()),
    BetaVAE(0.0),
    GRAE(0.3, structure=Diagonal(), estimator=Columns(1, [0.2, 0.8])),
    GRAE(0.3, structure=Diagonal(), estimator=Secants(1, step=0.1)),
    GRAE(0.3, estimator=Lanczos(5, Sphere(3))),
    GRAE(0.3, estimator=Lanczos(5, Signs(3, torch.eye(2)))),
    type("Mine", (GRAE,), {})(0.3),
    *(GRAE(0.3, LearnedGaussian(*noise)) for noise in ((0.5, 0.1), (torch.ones(4),))),
    BetaVAE(0.3, derived(Poisson)),
    GRAE(0.3, structure=derived(Diagonal)),
    *(GRAE(0.3, structure=Diagonal(), estimator=derived(*one)) for one in ((Exact,), (Columns, 1), (Secants, 1))),
    *(GRAE(0.3, structure=Diagonal(), estimator=one) for one in (derived(Trace), Trace(derived(Signs, 2)))),
    *(GRAE(0.3, estimator=one) for one in (derived(Lanczos, 5), Lanczos(5, derived(Signs, 2)))),
    *(
        GRAE(0.3, structure=Diagonal(), estimator=one)
        for one in (Fraction(derived(Exact), 0.5), derived(Fraction, Exact(), 0.5))
    ),
    Taylor(0.3, estimator=derived(Secants, 1)),
    *(RAE(0.3, trace=one) for one in (derived(Trace), *(Trace(derived(probes, 2)) for probes in (Signs, Coordinates)))),
    RAE(0.3, likelihood=Masked(Gaussian())),
]


@pytest.mark.parametrize("objective", UNSAID, ids=repr)
def test_what_has_no_word_is_pythons(objective: Any) -> None:
    found = spelled(objective)
    assert found["objective"] == "python"
    assert found.get("beta", 0.0) == (objective.encoder_weight if isinstance(objective, RAE) else objective.beta)
    RunConfig(data="toy", **found)


@pytest.mark.parametrize("beta", [np.float32(0.5), torch.tensor(0.5), nn.Parameter(torch.tensor([0.5])), 0.5])
def test_any_number_is_a_beta(beta: Any) -> None:
    def mine(model: Any, x: Any, generator: Any = None) -> Terms:
        raise NotImplementedError

    mine.beta = beta
    assert spelled(mine)["beta"] == 0.5
    for none in (None, "0.5", True, float("inf"), torch.ones(2)):
        mine.beta = none
        assert "beta" not in spelled(mine)
