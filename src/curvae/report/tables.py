"""The page's tables, as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from curvae.metrics import Estimate, Evaluation
from curvae.report.subjects import ShownRun
from curvae.runs import Run, RunConfig
from curvae.runs.fields import PYTHON

Evaluated = tuple[RunConfig, Evaluation]
"""A run's configuration with what ``curvae evaluate`` found."""


@dataclass(frozen=True)
class Row:
    """A row with one cell for each run, perhaps with a smaller line below each, and a few words of explanation."""

    label: str
    cells: tuple[str, ...]
    note: str = ""
    details: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the runs differ here."""
        return len(set(self.cells)) > 1


def setting_rows(subjects: list[ShownRun]) -> list[Row]:
    """What the runs are: a row for each setting."""
    rows: list[tuple[str, Callable[[Run], str]]] = [
        ("objective", lambda run: objective_name(run.config)),
        ("covariance structure", lambda run: run.config.structure),
        ("estimator", lambda run: _estimator(run.config)),
        ("observation model", lambda run: run.config.likelihood),
        ("β", lambda run: f"{run.config.beta:g}"),
        ("latents d", lambda run: str(run.config.latents)),
        ("network", lambda run: _network(run.config)),
        ("steps", _steps),
        ("batch, learning rate", lambda run: f"{run.config.batch_size}, {run.config.lr:g}"),
        ("seed", lambda run: str(run.config.seed)),
        ("data", lambda run: run.config.data),
        ("data shape", _sizes),
        ("training time", lambda run: _time(run)),
        ("device", lambda run: str(run.environment.get("device"))),
        ("precision", lambda run: run.config.precision + "-bit" * run.config.precision.isdigit()),
        ("versions", lambda run: versions(run.environment)),
        ("commit", lambda run: commit_name(run.environment.get("commit"))),
        ("folder", lambda run: str(run.path)),
    ]
    return [Row(label, tuple(cell(subject.run) for subject in subjects)) for label, cell in rows]


def objective_rows(measured: Sequence[Evaluated]) -> list[Row]:
    """The objectives of the evaluated runs, each with its difference from (2)."""
    rows: list[tuple[str, str, Callable[[Evaluation], Estimate]]] = [
        ("(2) β-VAE", "noise in the latents, averaged by sampling", lambda e: e.beta_vae),
        ("(7) Taylor", "the noise's effect to second order, no sampling", lambda e: e.taylor),
        (_closed_form(measured), "the best possible noise, any covariance", lambda e: e.grae_full),
    ]
    if any(config.structure != "full" for config, _ in measured):
        structures = ", ".join(dict.fromkeys(config.structure for config, _ in measured))
        rows.append(("the same in the run's structure", f"the best noise in it: {structures}", lambda e: e.grae))
    found = [
        Row(
            label,
            tuple(plus_minus(chosen(evaluation)) for _, evaluation in measured),
            note,
            tuple(_from_sampled(chosen(evaluation), evaluation) for _, evaluation in measured),
        )
        for label, note, chosen in rows
    ]
    return [*found, Row("held-out samples", tuple(f"{evaluation.data:,}" for _, evaluation in measured))]


def measure_rows(measured: Sequence[Evaluated]) -> list[Row]:
    """The evaluation's other numbers."""
    rows: list[tuple[str, str, Callable[[Evaluation], Estimate]]] = [
        ("reconstruction error", "squared, per output number (a pixel), from the posterior's mean", lambda e: e.mse),
        ("reconstruction term", "first term of (12); ½‖x − g(h)‖² if Gaussian with σ = 1", lambda e: e.reconstruction),
        ("penalty, exact", "β/2 Σᵢ log(1 + Mᵢᵢ/β), the right side of (14)", lambda e: e.penalty_exact),
        ("penalty, sampled", "the same from random columns, as GRAE≈ trains", lambda e: e.penalty_sampled),
        ("sampled less exact", "0 within a few standard errors: sampling adds no bias", lambda e: e.penalty_difference),
        ("gap between (7) and (13)", "lost by Σ not being the best (11); never below 0", lambda e: e.gap),
        ("distance of Σ⁻¹ to I + M/β", "relative; only a full structure can reach 0", lambda e: e.alignment),
        ("distance of Σ⁻¹ to its best", "relative, to the best in its structure", lambda e: e.alignment_structure),
    ]
    evaluations = [evaluation for _, evaluation in measured]
    found = [Row(label, tuple(plus_minus(cell(e)) for e in evaluations), note) for label, note, cell in rows]
    note = "of the entries of Σ⁻¹ and I + M/β, from −1 to 1"
    return [*found, Row("correlation off the diagonal", tuple(map(_correlation, evaluations)), note)]


def objective_name(config: RunConfig) -> str:
    """The objective with its number in the paper.

    Example:
        >>> objective_name(RunConfig(data="mnist", objective="grae", estimator="columns:1"))
        'GRAE≈ (14)'
    """
    if config.objective == PYTHON:
        return "one's own"
    if config.curvature == "hessian":
        return {"taylor": "Taylor (4)", "grae": "GRAE (10)"}[config.objective]
    if config.objective == "grae":
        exact = "GRAE (13)" if config.likelihood.startswith("gaussian") else "GRAE (12)"
        others = {"columns": "GRAE≈ (14)", "trace": "GRAE, first order", "secants": "GRAE, secants"}
        # on a fraction of the batch it is the same objective: fraction:F:ESTIMATOR
        inner = config.estimator.split(":")[2 if config.estimator.startswith("fraction:") else 0]
        return others.get(inner, exact)
    return {"beta-vae": "β-VAE (2)", "taylor": "Taylor (7)", "rae": "RAE, first order"}[config.objective]


def relative(value: float, base: float) -> str:
    """The difference of two values in per cent of the second's size.

    Example:
        >>> relative(10.2, 10.0), relative(9.0, 10.0), relative(10.001, 10.0), relative(1.0, 0.0)
        ('+2.0 %', '−10.0 %', '+0.01 %', '')
    """
    if not base:
        return ""
    percent = 100 * (value - base) / abs(base)
    return f"{percent:+.{1 if abs(percent) >= 1 else 2}f} %".replace("-", "−")


def plus_minus(estimate: Estimate) -> str:
    """A mean with its standard error, to the digits that the error allows.

    Example:
        >>> plus_minus(Estimate(12.3456, 0.0321)), plus_minus(Estimate(-1234.5, 56.0)), plus_minus(Estimate(0.5, 0.0))
        ('12.346 ± 0.032', '−1234 ± 56', '0.5 ± 0')
    """
    if estimate.se is None:
        return f"{estimate.mean:.4g}".replace("-", "−")
    if not 0 < estimate.se < math.inf:
        return f"{estimate.mean:.4g} ± {estimate.se:.4g}".replace("-", "−")
    decimals = max(0, 1 - math.floor(math.log10(estimate.se)))
    if decimals > 6:
        return f"{estimate.mean:.4g} ± {estimate.se:.2g}".replace("-", "−")
    return f"{estimate.mean:.{decimals}f} ± {estimate.se:.{decimals}f}".replace("-", "−")


def versions(environment: Mapping[str, str | None]) -> str:
    """The versions that matter for numbers."""
    return ", ".join(f"{name} {environment.get(name)}" for name in ("curvae", "torch", "python"))


def commit_name(commit: str | None) -> str:
    """A commit as a person reads it.

    Example:
        >>> commit_name("0123456789abcdef-dirty"), commit_name(None)
        ('0123456789 with changes', 'not from a checkout')
    """
    if commit is None:
        return "not from a checkout"
    short, dirty, _ = commit.partition("-dirty")
    return short[:10] + (" with changes" if dirty else "")


def _from_sampled(estimate: Estimate, evaluation: Evaluation) -> str:
    """The difference from (2); nothing for (2) itself."""
    return "" if estimate is evaluation.beta_vae else relative(estimate.mean, evaluation.beta_vae.mean)


def _closed_form(measured: Sequence[Evaluated]) -> str:
    gaussian = all(config.likelihood.startswith("gaussian") for config, _ in measured)
    return "(13) GRAE" if gaussian else "(12) GRAE"


def _correlation(evaluation: Evaluation) -> str:
    value = evaluation.alignment_correlation
    return "none: one of the two does not vary" if value is None else f"{value:.2f}".replace("-", "−")


def _estimator(config: RunConfig) -> str:
    if config.objective == PYTHON:
        return "one's own"
    if config.objective == "beta-vae":
        return f"{config.samples} noisy sample{'s' * (config.samples > 1)} of z"
    return config.estimator


def _network(config: RunConfig) -> str:
    if config.model == PYTHON:
        return "one's own"
    return config.model or f"{config.network}, width × {config.width:g}"


def _steps(run: Run) -> str:
    done = run.metrics[-1]["step"] if run.metrics else 0
    return f"{done:,}" if run.finished else f"{done:,} of {run.config.steps:,}, not finished"


def _sizes(run: Run) -> str:
    shape = " × ".join(map(str, run.data["shape"]))
    return f"{shape}; {run.data.get('train', '?')} to train, {run.data.get('test', '?')} held out"


def _time(run: Run) -> str:
    seconds = float(run.metrics[-1].get("seconds", 0)) if run.metrics else 0.0
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
