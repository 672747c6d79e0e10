"""The parts of an objective from their names in a configuration: structure, estimator, observation model."""

from __future__ import annotations

import re
from fractions import Fraction as Ratio

from curvae._checks import is_whole
from curvae.curvature import Columns, Estimator, Exact, Fraction, Lanczos, Secants, Signs, Trace
from curvae.errors import InputError
from curvae.likelihoods import (
    Bernoulli,
    BernoulliLogits,
    ContinuousBernoulli,
    Gaussian,
    Laplace,
    LearnedGaussian,
    Likelihood,
    Masked,
    NegativeBinomial,
    Poisson,
    StudentT,
)
from curvae.posteriors import Along, Banded, BlockDiagonal, Diagonal, Full, Shared, Structure
from curvae.runs.mixed import MASKED, build_mixed, is_mixed

# columns, probes, sizes: all of them push that many tangents through the decoder for each sample
_MOST = 10_000


def build_structure(text: str) -> Structure:
    """``"diagonal"``, ``"block:B"``, ``"banded:W"``, ``"full"``, or one of these for all data: ``"shared:STRUCTURE"``.

    ``"shared"`` alone is ``"shared:full"``: one covariance, of which nothing else is asked.
    ``"along:AXIS:C:H:W"`` is of latents with several axes.

    Raises:
        InputError: anything else.

    Example:
        >>> build_structure("block:2"), build_structure("shared:banded:1"), build_structure("along:0:4:8:8")
        (BlockDiagonal(2), Shared(Banded(1)), Along((4, 8, 8), axis=0))
    """
    return _structure(text.split(":"), text)


def build_estimator(text: str) -> Estimator:
    """``"exact"``, ``"columns:K"``, ``"secants:K"``, ``"lanczos:PROBES:DEPTH"`` or ``"trace:K"``.

    ``"secants:K:central"`` takes central differences.

    ``"lanczos"`` or ``"lanczos:PROBES"`` takes PROBES × DEPTH pairs of products per sample, 4 × 16 by default.
    ``"trace:K"`` is Hutchinson's estimate of the first order from K probes, ``"trace"`` that from all columns.
    ``"fraction:F:ESTIMATOR"`` is another one on that fraction of each batch (``--batch-fraction F``), F as ``1/8`` or
    ``0.125``.

    Raises:
        InputError: anything else.

    Example:
        >>> build_estimator("columns:1"), build_estimator("lanczos:8:12"), build_estimator("trace:2")
        (Columns(1), Lanczos(depth=12, probes=Signs(8)), Trace(Signs(2)))
        >>> build_estimator("fraction:1/8:columns:1")
        Fraction(Columns(1), 0.125)
    """
    match text.split(":"):
        case ["exact"]:
            return Exact()
        case ["columns", count]:
            return Columns(_count(count, text, "estimator", "columns:1"))
        case ["secants", count]:
            return Secants(_count(count, text, "estimator", "secants:1"))
        case ["secants", count, "central"]:
            return Secants(_count(count, text, "estimator", "secants:1:central"), central=True)
        case ["lanczos"]:
            return Lanczos()
        case ["lanczos", probes]:
            return Lanczos(probes=Signs(_count(probes, text, "estimator", "lanczos:4")))
        case ["lanczos", probes, depth]:
            example = "lanczos:4:16"
            return Lanczos(_count(depth, text, "estimator", example), Signs(_count(probes, text, "estimator", example)))
        case ["trace"]:
            return Trace()
        case ["trace", probes]:
            return Trace(Signs(_count(probes, text, "estimator", "trace:1")))
        case ["fraction", fraction, *inner] if inner and inner[0] not in ("fraction", "lanczos"):
            return Fraction(build_estimator(":".join(inner)), _fraction(fraction, text))
    raise InputError(
        f"estimator is {text!r}; expected exact, columns:K (for example columns:1), secants:K, lanczos:PROBES:DEPTH or "
        "trace:K, and with a batch fraction (fraction:F:ESTIMATOR) exact, columns:K, secants:K or trace:K"
    )


def build_likelihood(text: str) -> Likelihood:
    """The observation model.

    ``"gaussian"``, ``"gaussian:SIGMA"``, ``"gaussian:learned"``, ``"laplace"``, ``"laplace:SCALE"``,
    ``"student-t:DOF"``, ``"student-t:DOF:SCALE"``, ``"bernoulli"``, ``"bernoulli-logits"``, ``"continuous-bernoulli"``,
    ``"poisson"`` or ``"negative-binomial:DISPERSION"``; ``"mixed:KIND:COUNT,…"`` for neighbouring columns of a table
    that are ``continuous``, ``binary`` or ``counts``; and ``"masked:"`` before any of these, for data of which NaN was
    not observed. A learned one is new here; that of a run belongs to its model
    (:func:`curvae.runs.likelihood_of`).

    Raises:
        InputError: anything else.

    Example:
        >>> build_likelihood("gaussian:0.1"), build_likelihood("student-t:4:0.1")
        (Gaussian(sigma=0.1), StudentT(dof=4, scale=0.1))
        >>> build_likelihood("masked:poisson")
        Masked(Poisson())
    """
    if text.startswith(MASKED):
        return Masked(build_likelihood(_unmasked(text)))
    if is_mixed(text):
        return build_mixed(text)
    plain = {
        "gaussian": Gaussian,
        "laplace": Laplace,
        "bernoulli": Bernoulli,
        "bernoulli-logits": BernoulliLogits,
        "continuous-bernoulli": ContinuousBernoulli,
        "poisson": Poisson,
    }
    match text.split(":"):
        case [name] if name in plain:
            return plain[name]()
        case ["gaussian", "learned"]:
            return LearnedGaussian()
        case ["gaussian", sigma]:
            return Gaussian(_number(sigma, text, "gaussian:0.1 (or gaussian:learned)"))
        case ["laplace", scale]:
            return Laplace(_number(scale, text, "laplace:0.1"))
        case ["student-t", dof]:
            return StudentT(_number(dof, text, "student-t:4"))
        case ["student-t", dof, scale]:
            return StudentT(_number(dof, text, "student-t:4:0.1"), _number(scale, text, "student-t:4:0.1"))
        case ["negative-binomial", dispersion]:
            return NegativeBinomial(_number(dispersion, text, "negative-binomial:2 (or mixed, which learns it)"))
        case ["negative-binomial"]:
            raise InputError(
                f"likelihood is {text!r}, without its dispersion; expected a number, for example negative-binomial:2, "
                "or mixed, which learns one for each column of counts"
            )
    raise InputError(
        f"likelihood is {text!r}; expected gaussian, gaussian:SIGMA, gaussian:learned, laplace:SCALE, "
        f"student-t:DOF:SCALE, negative-binomial:DISPERSION, {', '.join(list(plain)[2:-1])}, poisson, mixed, or "
        "masked: before one of these"
    )


def _unmasked(text: str) -> str:
    inner = text.removeprefix(MASKED)
    if inner.startswith(MASKED):
        raise InputError(f"likelihood is {text!r}; expected masked: once")
    return inner


def _structure(parts: list[str], text: str) -> Structure:
    match parts:
        case ["diagonal"]:
            return Diagonal()
        case ["full"]:
            return Full()
        case ["block", size]:
            return BlockDiagonal(_count(size, text, "structure", "block:2"))
        case ["banded", bandwidth]:
            return Banded(_count(bandwidth, text, "structure", "banded:1"))
        case ["along", axis, *sizes] if is_whole(axis) and int(axis) < len(sizes):
            return Along([_count(size, text, "structure", "along:0:4:8:8") for size in sizes], int(axis))
        case ["shared"]:
            return Shared(Full())
        case ["shared", *inner] if inner[0] != "shared":
            return Shared(_structure(inner, text))
    raise InputError(
        f"structure is {text!r}; expected diagonal, block:B (for example block:2), banded:W, full, "
        "along:AXIS:C:H:W, or one of these for all samples (shared:STRUCTURE)"
    )


def _count(number: str, text: str, name: str, example: str) -> int:
    value = int(number) if is_whole(number) else 0
    if not 1 <= value <= _MOST:
        raise InputError(
            f"{name} is {text!r}; expected a whole number from 1 to {_MOST} after the colon, for example {example}"
        )
    return value


def _fraction(number: str, text: str) -> float:
    # without exponents: the exact ratio of 1e9999999 would take minutes
    plain = re.fullmatch(r"[0-9]{1,18}/[0-9]{1,18}|[0-9]{0,18}\.?[0-9]{1,18}", number)
    try:
        value = float(Ratio(number)) if plain else float(number)
    except (ValueError, ZeroDivisionError, OverflowError):
        value = 0.0
    if not 0 < value <= 1:
        raise InputError(f"estimator is {text!r}; expected a batch fraction above 0 and up to 1, for example 1/8")
    return value


def _number(number: str, text: str, example: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise InputError(f"likelihood is {text!r}; expected a number after the colon, for example {example}") from None
