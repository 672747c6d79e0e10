"""What an inspection found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class BetaHat:
    r"""$\hat\beta=M_{ii}/(\Sigma^{-1}_{ii}-1)$, curvae's convention, over latents and samples.

    Attributes:
        median: of all entries.
        quartiles: of all entries.
        interval: 95 % interval of the median, by resampling the samples.
        entries: how many there are; latents that the posterior does not use are left out.
        slope: of $\log(\Sigma^{-1}_{ii}-1)$ against $\log M_{ii}$, which the theory says is 1; None without variation.
        slope_interval: its 95 % interval.
        spread_over_latents: standard deviation of the log of each latent's median: 0.01 is about 1 %; None if the
            latents were sampled.
        spread_over_samples: the same of the samples.
        spread_over_channels: the same of the channels; None without channels.
    """

    median: float
    quartiles: tuple[float, float]
    interval: tuple[float, float]
    entries: int
    slope: float | None
    slope_interval: tuple[float, float] | None
    spread_over_latents: float | None
    spread_over_samples: float | None
    spread_over_channels: float | None


@dataclass(frozen=True)
class LogDet:
    r"""$\log|I+M/\beta|$, mean over samples, with what it took.

    Attributes:
        value: the mean.
        standard_error: of the mean, over samples; over probes where there is one sample.
        products: for each sample.
        method: ``"exact"`` or ``"lanczos"``.
        error: half the width of a 95 % interval for the mean over these samples; 0 for ``"exact"``.
    """

    value: float
    standard_error: float
    products: int
    method: str
    error: float


@dataclass(frozen=True)
class NoiseLevel:
    r"""Squared decode error under noise of one standard deviation in every latent, summed over the outputs.

    Attributes:
        std: s.
        predicted: $s^2\,\mathrm{tr}M$, the second order.
        measured: $\mathbb E\|L(g(h+s\epsilon)-g(h))\|^2$.
        standard_error: of ``measured``, over samples.
    """

    std: float
    predicted: float
    measured: float
    standard_error: float


@dataclass(frozen=True)
class Group:
    """Variances of the shipped posterior and of Σ* in a latent, a channel or a band of spatial frequency.

    Attributes:
        index: of the latent, channel or band.
        shipped: geometric mean over samples of the conditional variance $1/\\Sigma^{-1}_{ii}$; None without posterior.
        implied: the same of $1/(1+M_{ii}/\\beta)$; None without β.
        curvature: mean $M_{ii}$.
        verdict: ``"as implied"``, ``"too wide"``, ``"too narrow"``, ``"collapsed"``, ``"unused"`` or ``""``.
    """

    index: int
    shipped: float | None
    implied: float | None
    curvature: float
    verdict: str


@dataclass(frozen=True)
class Advice:
    """One thing to do, with its value and why."""

    what: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Cost:
    """What the inspection took; ``products`` are for each sample, ``decodes`` are plain forward passes for each."""

    seconds: float
    products: int
    limit: int
    decodes: int
    samples: int
    memory_mb: float | None
    device: str


@dataclass(frozen=True)
class Inspection:
    r"""What noise a decoder implies; M and Σ in units of the prior's standard deviation.

    Attributes:
        latents: shape of one sample's latents.
        outputs: D.
        likelihood: observation model, as text.
        convention: which β the maker's number is, in words; may be empty.
        beta: the β that the numbers below were computed at: the maker's if it was given, else β̂; None without either.
        maker_beta: the maker's β, if it is known.
        beta_hat: the effective β; None without a posterior that is narrower than the prior.
        log_variance_correlation: of $-\log\Sigma^{-1}_{ii}$ of the posterior with $-\log(1+M_{ii}/\beta)$.
        column_cosine: mean $|\cos|$ between pairs of Jacobian columns.
        column_cosine_se: its standard error over samples.
        trace: mean $\mathrm{tr}M$.
        trace_se: its standard error.
        log_det: $\log|I+M/\beta|$.
        effective_dimension: mean $\sum m/(m+\beta)$ over eigenvalues of M.
        effective_dimension_se: its standard error.
        hadamard_gap: mean $\sum_i\log(1+M_{ii}/\beta)-\log|I+M/\beta|$.
        hadamard_gap_se: its standard error.
        eigenvalues: of M, sorted down, mean over samples; empty where they are estimated.
        spectrum: pairs of an eigenvalue and how many of the d are near it, on a logarithmic grid.
        condition: median over samples of the largest over the smallest eigenvalue; None where it is not known.
        largest: mean largest eigenvalue; a lower bound where estimated.
        per_latent: empty where latents were sampled.
        per_channel: for latents with channels.
        per_frequency: for latents that are images.
        noise: decode error by noise level.
        radius: the noise at which the prediction is off by 10 %: the smallest level if it is off there already, None
            if it is nowhere off.
        advice: what to do.
        cost: time, products, memory.
    """

    latents: tuple[int, ...]
    outputs: int
    likelihood: str
    convention: str
    beta: float | None
    maker_beta: float | None
    beta_hat: BetaHat | None
    log_variance_correlation: float | None
    column_cosine: float
    column_cosine_se: float
    trace: float
    trace_se: float
    log_det: LogDet | None
    effective_dimension: float | None
    effective_dimension_se: float | None
    hadamard_gap: float | None
    hadamard_gap_se: float | None
    eigenvalues: tuple[float, ...]
    spectrum: tuple[tuple[float, float], ...]
    condition: float | None
    largest: float
    per_latent: tuple[Group, ...]
    per_channel: tuple[Group, ...]
    per_frequency: tuple[Group, ...]
    noise: tuple[NoiseLevel, ...]
    radius: float | None
    advice: tuple[Advice, ...]
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: numbers that are not finite become None."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
