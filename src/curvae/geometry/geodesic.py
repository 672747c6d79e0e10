"""Geodesics between two latents: curves of least energy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from curvae._checks import non_negative, positive_int
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.forward.kernels import differentiable
from curvae.forward.reverse import explained
from curvae.forward.statistics import unmoved

CurveEnergy = Callable[[Float[Tensor, "B T d"]], Float[Tensor, " B"]]
"""Energies of a batch of curves, for instance ``functools.partial(energy, decoder)``."""


@dataclass(frozen=True, repr=False)
class Geodesic(OneLine):
    """Curves of least energy, and what was gained.

    Attributes:
        curve: points of each curve, both ends included exactly.
        energy: of each curve.
        straight_energy: of the straight line in latent space between the same ends; never less than ``energy``.
        gradient: largest entry of the gradient of each curve's relative energy; near 0 where it has converged.
    """

    curve: Float[Tensor, "B T d"]
    energy: Float[Tensor, " B"]
    straight_energy: Float[Tensor, " B"]
    gradient: Float[Tensor, " B"]


@torch.inference_mode(False)
@differentiable()
def geodesic(
    energy: CurveEnergy,
    start: Float[Tensor, "B d"],
    end: Float[Tensor, "B d"],
    nodes: int = 33,
    iterations: int = 500,
    tolerance: float | None = None,
) -> Geodesic:
    r"""Shortest paths between pairs of latents, by minimising the energy of discretised curves with L-BFGS.

    The minimiser has constant speed, so its length is $\sqrt{2E}$. The interior points move in the sine basis that
    diagonalises the energy of a flat metric, each latent on its own scale: the work depends little on the number of
    nodes and not on the latents' units. The search starts at the straight line and finds a local minimum; a pair whose
    energy did not fall keeps the straight line. Under a piecewise-linear decoder the energy has kinks, at which the
    gradient of a minimum need not vanish.

    Args:
        energy: of a batch of curves: ``partial(energy, decoder)`` measures by decoded points,
            ``partial(metric_energy, metric)`` by a metric, such as one from a posterior.
        start: where each curve begins.
        end: where it ends.
        nodes: points on each curve, ends included, ≥ 3.
        iterations: of L-BFGS at most, shared by all pairs.
        tolerance: stop when no entry of the gradient of the relative energy exceeds this (default: the square root of
            the dtype's rounding unit, below which energies no longer tell curves apart).

    Returns:
        Curves, detached from the graph, with their energies.

    Raises:
        InputError: if the ends do not match in shape or type, a number is below its minimum, the energy of a straight
            line is not finite, or the energy cannot be differentiated twice.

    Example:
        >>> from functools import partial
        >>> from curvae.geometry import energy
        >>> def sphere(z):
        ...     return torch.stack([z[:, 0].sin() * z[:, 1].cos(), z[:, 0].sin() * z[:, 1].sin(), z[:, 0].cos()], dim=1)
        >>> start, end = torch.tensor([[0.5, 0.0]]).double(), torch.tensor([[0.5, 2.0]]).double()
        >>> path = geodesic(partial(energy, sphere), start, end)
        >>> angle = torch.linalg.vecdot(sphere(start), sphere(end)).acos()
        >>> [round(v.item(), 2) for v in ((2 * path.straight_energy).sqrt(), (2 * path.energy).sqrt(), angle)]
        [0.96, 0.83, 0.83]
    """
    if start.shape != end.shape or start.dim() != 2:
        raise InputError(f"the ends have shapes {tuple(start.shape)} and {tuple(end.shape)}; expected the same [B, d]")
    if start.dtype != end.dtype or not start.is_floating_point():
        raise InputError(f"the ends are {start.dtype} and {end.dtype}; expected the same floating-point type")
    if positive_int("nodes", nodes) < 3:
        raise InputError(f"nodes is {nodes}; expected at least 3: the ends and a point between")
    tolerance = math.sqrt(torch.finfo(start.dtype).eps) if tolerance is None else non_negative("tolerance", tolerance)
    energy = unmoved(energy)
    start, end = start.detach().clone(), end.detach().clone()  # made in inference mode they would stay of it
    line = torch.lerp(start[:, None], end[:, None], torch.linspace(0, 1, nodes).to(start)[:, None])
    line[:, -1] = end  # lerp may round
    with torch.no_grad():
        straight = energy(line)
    if not torch.isfinite(straight).all():
        raise InputError("the energy of a straight line between the ends is not finite; check the ends and the decoder")
    basis, widths = _sine_basis(nodes).to(start), _widths(energy, line, straight)
    # relative energies, so that long and short curves count alike; a pair of equal ends has none to lose
    scale = torch.where(straight > 0, straight, 1.0)

    def curve(coefficients: Tensor) -> Tensor:
        return torch.cat([line[:, :1], line[:, 1:-1] + basis @ coefficients * widths, line[:, -1:]], dim=1)

    coefficients = torch.zeros_like(line[:, 1:-1])
    coefficients = _minimise(lambda c: (energy(curve(c)) / scale).sum(), coefficients, iterations, tolerance)
    return _keep_the_better(energy, curve, coefficients, straight, scale)


def _keep_the_better(
    energy: CurveEnergy, curve: Callable[[Tensor], Tensor], coefficients: Tensor, straight: Tensor, scale: Tensor
) -> Geodesic:
    with torch.no_grad():
        better = energy(curve(coefficients)) < straight  # False for NaN
    coefficients = torch.where(better[:, None, None], coefficients, 0.0)
    with torch.enable_grad():
        coefficients.requires_grad_()
        points = curve(coefficients)
        energies = energy(points)
        (gradient,) = torch.autograd.grad((energies / scale).sum(), coefficients)
    return Geodesic(points.detach(), energies.detach(), straight, gradient.flatten(1).abs().amax(1))


def _minimise(objective: Callable[[Tensor], Tensor], start: Tensor, iterations: int, tolerance: float) -> Tensor:
    if not start.numel():
        return start
    variable = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [variable],
        max_iter=positive_int("iterations", iterations),
        tolerance_grad=tolerance,
        tolerance_change=torch.finfo(start.dtype).eps / 4,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        with torch.enable_grad():
            value = objective(variable)
            # not backward(): the decoder's own parameters must not collect gradients
            (variable.grad,) = torch.autograd.grad(value, variable)
        return value.item()

    optimiser.step(closure)
    return variable.detach()


def _widths(energy: CurveEnergy, line: Tensor, straight: Tensor) -> Tensor:
    """The scale of each latent, [B, 1, d], at which a flat metric's Hessian has a diagonal of one size."""
    quarters = line.shape[1] * torch.arange(1, 4) // 4
    at = line[:, quarters].flatten(0, 1)
    squares = torch.stack([_squared_length(energy, at, unit) for unit in torch.eye(line.shape[2]).to(line)], dim=1)
    squares = squares.unflatten(0, (-1, 3)).mean(1)
    squares = squares.clamp(min=squares.amax(1, keepdim=True) * 1e-8)  # a dead latent has no scale of its own
    return torch.where(squares > 0, (2 * straight[:, None] / squares / line.shape[1]).sqrt(), 0.0)[:, None]


def _squared_length(energy: CurveEnergy, at: Tensor, unit: Tensor) -> Tensor:
    """uᵀG(z)u at each point, out of any energy: a curve from z − hu to z + hu has 2h² of it, to second order in h."""
    with torch.enable_grad():
        half = at.new_zeros(len(at), 1, requires_grad=True)
        energies = energy(torch.stack([at - half * unit, at + half * unit], dim=1))
        with explained():
            (slope,) = torch.autograd.grad(energies.sum(), half, create_graph=True)
            (bend,) = torch.autograd.grad(slope.sum(), half)
    return bend[:, 0] / 4


def _sine_basis(nodes: int) -> Tensor:
    """The discrete Laplacian's eigenvectors for fixed ends, each divided by the root of its eigenvalue; float64."""
    intervals = nodes - 1
    k = torch.arange(1, intervals, dtype=torch.float64)
    modes = torch.sin(math.pi / intervals * k[:, None] * k) * math.sqrt(2 / intervals)
    return modes / (2 * torch.sin(math.pi * k / (2 * intervals)))
