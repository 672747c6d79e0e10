"""Objectives from configurations, and settings that do not go together."""

from typing import Any

import pytest

from curvae.errors import InputError
from curvae.likelihoods import LearnedGaussian, Poisson
from curvae.objectives import GRAE, RAE, BetaVAE, Taylor
from curvae.posteriors import Full
from curvae.runs import RunConfig, build_objective


def config(**changes: Any) -> RunConfig:
    return RunConfig(**({"data": "toy", "network": "mlp", "width": 0.05, "latents": 3} | changes))


def test_objectives_get_their_settings() -> None:
    grae = build_objective(config(beta=0.3, structure="full", likelihood="poisson", decoder_weight=0.5))
    assert isinstance(grae, GRAE)
    assert isinstance(grae.structure, Full)
    assert isinstance(grae.likelihood, Poisson)
    assert (grae.beta, grae.encoder_weight, grae.decoder_weight) == (0.3, 0.3, 0.5)
    vae = build_objective(config(objective="beta-vae", samples=4, beta=0.3))
    assert isinstance(vae, BetaVAE)
    assert (vae.beta, vae.samples) == (0.3, 4)
    assert isinstance(build_objective(config(objective="taylor")), Taylor)


def test_the_curvature_reaches_the_objectives() -> None:
    for name in ("taylor", "grae"):
        objective = build_objective(config(objective=name, curvature="hessian"))
        assert isinstance(objective, Taylor | GRAE)
        assert objective.curvature == "hessian"


def test_orthogonality_reaches_the_objective() -> None:
    objective = build_objective(config(orthogonality=0.5, estimator="columns:2"))
    assert isinstance(objective, GRAE)
    assert objective.orthogonality == 0.5


@pytest.mark.parametrize(
    ("estimator", "meaning"),
    [
        ("exact", "Trace()"),
        ("trace", "Trace()"),
        ("trace:2", "Trace(Signs(2))"),
        ("columns:3", "Trace(Coordinates(3))"),
    ],
)
def test_first_order(estimator: str, meaning: str) -> None:
    objective = build_objective(config(objective="rae", estimator=estimator, beta=0.3))
    assert isinstance(objective, RAE)
    assert repr(objective.trace) == meaning
    assert (objective.encoder_weight, objective.decoder_weight) == (0.3, 1.0)
    free = build_objective(config(objective="rae", encoder_weight=0.0, decoder_weight=4.0))
    assert isinstance(free, RAE)
    assert (free.encoder_weight, free.decoder_weight) == (0.0, 4.0)


def test_secants_go_with_grae_and_taylor() -> None:
    grae = build_objective(config(estimator="fraction:1/2:secants:2"))
    assert repr(grae.estimator) == "Fraction(Secants(2), 0.5)"
    assert repr(build_objective(config(objective="taylor", estimator="secants:3")).estimator) == "Secants(3)"
    assert build_objective(config(objective="taylor")).estimator is None
    for name in ("grae", "taylor"):
        central = build_objective(config(objective=name, estimator="secants:1:central"))
        assert repr(central.estimator) == "Secants(1, central=True)"


@pytest.mark.parametrize("objective", ["beta-vae", "taylor", "grae", "rae"])
def test_a_learned_likelihood_is_the_one_given(objective: str) -> None:
    likelihood = LearnedGaussian(0.3)
    assert (
        build_objective(config(objective=objective, likelihood="gaussian:learned"), likelihood).likelihood is likelihood
    )


WITHOUT_EFFECT: list[dict[str, Any]] = [
    {"objective": "beta-vae", "estimator": "columns:1"},
    {"objective": "taylor", "encoder_weight": 0.5},
    {"objective": "beta-vae", "decoder_weight": 0.5},
    {"objective": "taylor", "samples": 2},
    {"objective": "grae", "samples": 2},
    {"objective": "rae", "samples": 2},
    {"objective": "beta-vae", "curvature": "hessian"},
    {"objective": "grae", "antithetic": True},
    {"objective": "rae", "curvature": "hessian"},
    {"objective": "taylor", "orthogonality": 0.1},
    {"objective": "rae", "orthogonality": 0.1},
]


@pytest.mark.parametrize("changes", WITHOUT_EFFECT)
def test_settings_without_effect_are_refused(changes: dict[str, Any]) -> None:
    name = list(changes)[-1]
    with pytest.raises(
        InputError, match=f"^{name} is {changes[name]} but objective {changes['objective']} does not use it"
    ):
        build_objective(config(**changes))


APART: list[tuple[dict[str, Any], str]] = [
    ({"structure": "full", "estimator": "columns:1"}, "estimator is columns:1 but structure is full"),
    ({"structure": "banded:1", "estimator": "columns:1"}, "estimator is columns:1 but structure is banded:1"),
    ({"structure": "shared:diagonal", "estimator": "columns:1"}, "structure is shared:diagonal"),
    ({"structure": "block:2", "estimator": "lanczos"}, "estimator is lanczos but structure is block:2"),
    ({"structure": "shared", "estimator": "lanczos:2:2"}, "estimator is lanczos:2:2 but structure is shared"),
    ({"structure": "shared", "estimator": "fraction:1/2:exact"}, "a shared structure takes it with trace alone"),
    ({"objective": "rae", "estimator": "lanczos"}, "objective rae has a trace only"),
    ({"objective": "rae", "estimator": "secants:1"}, "objective rae has a trace only"),
    ({"objective": "taylor", "estimator": "columns:1"}, "objective taylor takes exact, or secants:K"),
    ({"objective": "taylor", "estimator": "secants:1", "curvature": "hessian"}, "objective taylor takes exact"),
    ({"structure": "block:2", "estimator": "secants:1"}, "secants:K with diagonal"),
    ({"curvature": "hessian", "estimator": "secants:1"}, "needs estimator exact"),
    ({"curvature": "hessian", "estimator": "columns:1"}, "needs estimator exact"),
    ({"curvature": "hessian", "estimator": "trace"}, "needs estimator exact"),
    ({"curvature": "hessian", "likelihood": "laplace:0.1"}, "likelihood is laplace:0.1, which has a kink"),
    ({"objective": "taylor", "curvature": "hessian", "likelihood": "laplace"}, "which has a kink"),
    ({"orthogonality": 0.1, "structure": "full"}, "leaves no pair"),
    ({"orthogonality": 0.1, "structure": "shared"}, "leaves no pair"),
    ({"orthogonality": 0.1, "structure": "block:3"}, "leaves no pair"),
    ({"orthogonality": 0.1, "structure": "banded:2"}, "leaves no pair"),
    ({"orthogonality": 0.1, "latents": 1}, "leaves no pair"),
    ({"orthogonality": 0.1, "estimator": "columns:1"}, "columns:K with K >= 2"),
    ({"orthogonality": 0.1, "estimator": "trace:2"}, "needs pairs of columns"),
    ({"orthogonality": 0.1, "curvature": "hessian"}, "and gauss-newton"),
]


@pytest.mark.parametrize(("changes", "message"), APART)
def test_settings_that_do_not_go_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"^[^\n]*{message}[^\n]*$"):
        build_objective(config(**changes))
