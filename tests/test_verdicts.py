"""The verdicts on the paper's claims follow from the numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))

import _claims
import _verdicts


def setting(*p_values: float) -> dict[str, Any]:
    above = {"value": 0.1, "low": 0.05, "high": 0.2}
    return {"seeds": [{"permuted": {"blocks": [{"p_value": p}]}, "share_above": {"diagonal": above}} for p in p_values]}


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ([setting(0.01, 0.02), setting(0.04, 0.001)], "shown"),
        ([setting(0.01, 0.02), setting(0.04, 0.06)], "partly"),
        ([setting(0.01, 0.2)], "not shown"),
        ([setting(0.01), setting(0.02)], "partly"),
        ([setting(0.2), setting(0.3)], "not shown"),
    ],
)
def test_blocks_stand_out_with_every_seed(settings: list[dict[str, Any]], verdict: str) -> None:
    assert _verdicts.blocks({"settings": settings})[1] == verdict


def panels(true: tuple[float, float], optimum: tuple[float, float]) -> dict[str, Any]:
    """One ν: shares within 2° with diagonal and full Σ, each ± 0.05."""

    def panel(index: int) -> dict[str, Any]:
        parts = {"to_true_latents": true[index], "to_elbo_optimum": optimum[index]}
        return {
            name: {"converged": {"within": {"value": value, "low": value - 0.05, "high": value + 0.05}}}
            for name, value in parts.items()
        }

    names = ("tanh-diagonal-orthogonal-amortised", "tanh-full-orthogonal-amortised")
    return {"panels": {name: panel(index) for index, name in enumerate(names)}}


@pytest.mark.parametrize(
    ("true", "optimum", "verdict"),
    [
        ((0.9, 0.05), (0.9, 0.05), "shown"),
        ((0.3, 0.05), (0.9, 0.05), "partly"),
        ((0.06, 0.05), (0.9, 0.05), "other than the paper says"),
        ((0.06, 0.05), (0.06, 0.05), "not shown"),
    ],
)
def test_where_the_latents_are_unique(true: tuple[float, float], optimum: tuple[float, float], verdict: str) -> None:
    assert _verdicts.uniqueness(panels(true, optimum))[1] == verdict


def funnel(best: float, worst: float) -> dict[str, Any]:
    """A panel of one W, each quarter ± 0.5°."""
    ends = {"best_quarter": best, "worst_minus_best": worst - best}
    found = {name: {"value": value, "low": value - 0.5, "high": value + 0.5} for name, value in ends.items()}
    return {"to_elbo_optimum": found, "one_w": {"optimum_to_true_latents": -14.0}}


@pytest.mark.parametrize(
    ("diagonal", "full", "verdict"),
    [
        ([(0.6, 20.0), (1.4, 9.0)], [(20.0, 22.0), (1.8, 20.0)], "shown"),
        ([(0.6, 20.0), (1.6, 9.0)], [(20.0, 22.0), (20.0, 22.0)], "partly"),  # not surely within 2°
        ([(0.6, 20.0), (0.6, 9.0)], [(20.0, 22.0), (1.0, 22.0)], "partly"),
        ([(0.6, 1.0), (5.0, 20.0)], [(20.0, 22.0), (20.0, 22.0)], "not shown"),  # near, but no nearer than the worst
    ],
)
def test_where_the_funnel_closes(
    diagonal: list[tuple[float, float]], full: list[tuple[float, float]], verdict: str
) -> None:
    families = {"diagonal": diagonal, "full": full}
    found = {
        f"tanh-{family}-orthogonal-w{draw}-amortised": funnel(*ends)
        for family, panels in families.items()
        for draw, ends in enumerate(panels)
    }
    # each run with a W of its own does not count
    own = {key: value for key, value in funnel(30.0, 1.0).items() if key != "one_w"}
    summary = {"panels": {**found, "tanh-diagonal-orthogonal-amortised": own}, "within_degrees": 2.0}
    assert _verdicts.funnels(summary)[1] == verdict


def test_every_figure_with_results_has_a_row() -> None:
    folders = {path.parent.name for path in _claims.RESULTS.glob("*/summary.json")}
    figures = {name for name in folders if name.startswith(("fig", "table", "disentanglement"))}
    assert figures <= set(_claims.FIGURES)
    further = 6  # figures 3 and 7 wider, figure 4 and §3.2 after longer training, figure 4 twice on digits
    assert len(_claims.verdicts()) == len(figures) + further


@pytest.mark.parametrize(
    ("prior", "mixture", "own", "verdict"),
    [
        ((-4.0, 6.0), (-9.0, 1.0), 29.0, "shown"),
        ((-4.0, 6.0), (5.0, 30.0), 29.0, "partly"),
        ((2.0, 6.0), (5.0, 30.0), 29.0, "not shown"),
        ((-4.0, 6.0), (-9.0, 1.0), 31.0, "not shown"),  # no digits yet
    ],
)
def test_samples_of_digits(prior: tuple[float, float], mixture: tuple[float, float], own: float, verdict: str) -> None:
    less = {
        key: {"value": sum(ends) / 2, "low": ends[0], "high": ends[1]}
        for key, ends in {"frechet_prior": prior, "frechet_mixture": mixture}.items()
    }
    ways = {"β-VAE": {"frechet_prior": {"value": own}}, "GRAE≈, one column": {"less_reference": less}}
    assert _verdicts.digits({"frechet": {"of_training_images": 10.0}, "ways": ways})[1] == verdict


@pytest.mark.parametrize(
    ("highest", "vae", "grae", "correlation", "verdict"),
    [
        (0.3, 0.1, 0.2, -0.4, "shown"),
        (0.3, 0.1, 0.2, 0.1, "partly"),
        (0.3, 0.1, 0.0, -0.4, "partly"),
        (0.3, 0.0, 0.0, -0.4, "not shown"),
        (0.05, 0.1, 0.2, -0.4, "not shown"),  # no model has disentangled anything
    ],
)
def test_latents_stand_for_factors_where_scores_are_high_and_structure_surely_raises_them(
    highest: float, vae: float, grae: float, correlation: float, verdict: str
) -> None:
    def part(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05}

    summary = {
        "models": {"one": {"mig": [part(highest), part(0.01)]}},
        "diagonal_less_full": {"vae": {"mig": part(vae)}, "grae": {"mig": part(grae)}},
        "orthogonality": {"mig": part(correlation)},
    }
    assert _verdicts.disentangled(summary)[1] == verdict
