"""What of an inspection depends on the eigenvalues of M: trace, log-determinant, effective dimension."""

from __future__ import annotations

from typing import Any

import numpy as np

from curvae.curvature import LogDeterminant
from curvae.inspection.measure import Measured
from curvae.inspection.noise import standard_error
from curvae.inspection.result import LogDet

_BINS = 24


def spectral(
    found: Measured, det: LogDeterminant | None, curvature: np.ndarray, latents: int, beta: float | None
) -> dict[str, Any]:
    """What depends on M's eigenvalues, which are known where nothing was estimated."""
    if det is None:
        nodes = found.nodes.numpy()
        weights = np.full_like(nodes, 1 / latents)
    else:
        nodes, weights = det.nodes.numpy(), det.weights.numpy()

    def of(function: Any) -> np.ndarray:
        """Mean over probes of d Σ w f(m): the trace of f(M) for each sample, ``[B]``."""
        return latents * (weights * function(nodes)).sum(-1).mean(-1)

    trace = curvature.sum(1) if det is None else (latents * curvature.mean(1) + of(lambda m: m)) / 2
    smallest, largest = nodes.min((1, 2)), nodes.max((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        condition = float(np.median(largest / smallest)) if det is None else None
    result: dict[str, Any] = {
        "trace": float(trace.mean()),
        "trace_se": standard_error(trace),
        "eigenvalues": tuple(nodes[:, 0, ::-1].mean(0).tolist()) if det is None else (),
        "spectrum": _histogram(nodes, latents * weights / (nodes.shape[0] * nodes.shape[1])),
        "condition": condition,
        "largest": float(largest.mean()),
    }
    if beta is None:
        names = ("log_det", "effective_dimension", "effective_dimension_se", "hadamard_gap", "hadamard_gap_se")
        return {**result, **dict.fromkeys(names)}
    logdet = of(lambda m: np.log1p(m / beta)) if det is None else det.value.numpy()
    dimension = of(lambda m: m / (m + beta))
    diagonal = latents * np.log1p(curvature / beta).mean(1)
    return {
        **result,
        "log_det": _log_det(logdet, det, curvature.shape[1]),
        "effective_dimension": float(dimension.mean()),
        "effective_dimension_se": standard_error(dimension),
        "hadamard_gap": float((diagonal - logdet).mean()),
        "hadamard_gap_se": standard_error(diagonal - logdet),
    }


def _log_det(values: np.ndarray, det: LogDeterminant | None, columns: int) -> LogDet:
    """The mean over samples: chance differs between them, what the quadrature leaves does not."""
    if det is None:
        return LogDet(float(values.mean()), standard_error(values), columns, "exact", 0.0)
    chance = (det.error - det.truncation).square().sum().sqrt() / len(values)
    single = float(det.standard_error[0]) if len(values) == 1 else standard_error(values)
    return LogDet(float(values.mean()), single, 2 * det.products, "lanczos", float(chance + det.truncation.mean()))


def _histogram(nodes: np.ndarray, counts: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Eigenvalues on a logarithmic grid, with how many of the d are near each."""
    nodes, counts = nodes.ravel(), counts.ravel()
    top = nodes.max()
    if not top > 0:
        return ((0.0, float(counts.sum())),)
    low = max(nodes[counts > 0].min(), 1e-8 * top)  # padding has no weight
    if low > (1 - 1e-9) * top:  # all the same, to rounding: there is no range to divide
        return ((float(top), float(counts.sum())),)
    edges = np.geomspace(low, top, _BINS + 1)
    found, _ = np.histogram(np.clip(nodes, edges[0], edges[-1]), edges, weights=counts)
    return tuple((float(m), float(n)) for m, n in zip(np.sqrt(edges[1:] * edges[:-1]), found, strict=True) if n > 0)
