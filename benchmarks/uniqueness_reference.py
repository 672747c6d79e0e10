"""The reference of the uniqueness kernels: the same training in PyTorch, all trials of a batch at once.

Written as the paper's formulas stand, with autograd for the gradient, and independent of the kernels; the kernels are
tested against it. Noise comes from a callable, so that both can be fed the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from curvae._typing import Float, Tensor
from curvae.reproduce.descent import descend
from curvae.reproduce.uniqueness.activations import OF_TENSORS, Nonlinearity

Noise = Callable[[int], Float[Tensor, "R N 2"]]
"""Iteration to standard normal noise for every trial and sample."""


def covariance_factor(spread: Float[Tensor, "*S 2 2"], mean_field: bool) -> Float[Tensor, "*S 2 2"]:
    """A factor L of the covariance: O₂D' itself, or the square root of the diagonal of O₂D'D'ᵀO₂ᵀ."""
    if not mean_field:
        return spread
    return torch.diag_embed((spread @ spread.mT).diagonal(dim1=-2, dim2=-1).sqrt())


def negative_elbo(
    nu: Nonlinearity,
    sigma: float,
    x: Float[Tensor, "R N 2"],
    mean: Float[Tensor, "R N 2"],
    factor: Float[Tensor, "R M 2 2"],
    decoder: Float[Tensor, "R 2 2"],
    offset: Float[Tensor, "R 2"],
    noise: Float[Tensor, "R N 2"],
) -> Float[Tensor, " R"]:
    """One-sample estimate of −ELBO per sample (eq. 2 with β = 1), without the constant (D/2) log 2πσ².

    Args:
        nu: the decoder's output function.
        sigma: standard deviation of the observations.
        x: data of R trials.
        mean: posterior means.
        factor: L with Σ = LLᵀ; M is N, or 1 where all data share one.
        decoder: A.
        offset: b.
        noise: standard normal.
    """
    z = mean + (factor @ noise[..., None])[..., 0]
    misfit = (x - OF_TENSORS[nu](z @ decoder.mT) - offset[:, None]).square().sum(-1) / (2 * sigma**2)
    trace = factor.square().sum((-2, -1))
    log_determinant = 2 * torch.linalg.slogdet(factor).logabsdet
    kl = 0.5 * (mean.square().sum(-1) + trace - log_determinant - 2)
    return (misfit + kl).mean(-1)


def amortised_loss(
    nu: Nonlinearity,
    sigma: float,
    mean_field: bool,
    theta: Float[Tensor, "R 16"],
    rotations: Float[Tensor, "R 3 2 2"],
    x: Float[Tensor, "R N 2"],
    noise: Float[Tensor, "R N 2"],
) -> Float[Tensor, " R"]:
    """−ELBO of q(z|x) = N(Cx + d, Σ) with the parameters in the kernel's order A', b, C', d, D'."""
    a, b, c, d, spread = theta.split([4, 2, 4, 2, 4], dim=1)
    a, c, spread = (m.unflatten(1, (2, 2)) for m in (a, c, spread))
    mean = x @ (rotations[:, 0] @ c).mT + d[:, None]
    factor = covariance_factor(rotations[:, 1] @ spread, mean_field)[:, None]
    return negative_elbo(nu, sigma, x, mean, factor, a @ rotations[:, 2].mT, b, noise)


def unamortised_loss(
    nu: Nonlinearity,
    sigma: float,
    mean_field: bool,
    theta: Float[Tensor, "R 6"],
    local: Float[Tensor, "R 6 N"],
    rotations: Float[Tensor, "R 3 2 2"],
    x: Float[Tensor, "R N 2"],
    noise: Float[Tensor, "R N 2"],
) -> Float[Tensor, " R"]:
    """−ELBO of q_i(z) = N(μ_i, Σ_i), with μ_i and D_i' in ``local``."""
    mean = local[:, :2].mT
    spread = local[:, 2:].mT.unflatten(2, (2, 2))
    factor = covariance_factor(rotations[:, None, 1] @ spread, mean_field)
    decoder = theta[:, :4].unflatten(1, (2, 2)) @ rotations[:, 2].mT
    return negative_elbo(nu, sigma, x, mean, factor, decoder, theta[:, 4:], noise)


def expected_negative_elbo(
    nu: Nonlinearity,
    sigma: float,
    mean_field: bool,
    theta: Float[Tensor, "16"],
    x: Float[Tensor, "N 2"],
    nodes: int = 16,
) -> Float[Tensor, ""]:
    """−ELBO per sample in nats with the expectation over q by quadrature; θ is A, b, C, d and a factor of Σ.

    Example:
        >>> theta = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1], dtype=torch.float64)
        >>> x = torch.zeros(1, 2, dtype=torch.float64)  # q is the prior: E‖z‖²/2 + log 2π
        >>> loss = expected_negative_elbo(Nonlinearity.IDENTITY, 1.0, True, theta, x)
        >>> abs(float(loss) - 1 - math.log(2 * math.pi)) < 1e-12
        True
    """
    at, weights = (torch.from_numpy(a).to(theta) for a in np.polynomial.hermite_e.hermegauss(nodes))
    a, b, c, d, spread = theta.split([4, 2, 4, 2, 4])
    a, c = a.view(2, 2), c.view(2, 2)
    factor = covariance_factor(spread.view(2, 2), mean_field)
    mean = x @ c.T + d
    deviation = (a @ factor).square().sum(1).sqrt()
    u = (mean @ a.T)[..., None] + deviation[:, None] * at
    squares = (x[..., None] - OF_TENSORS[nu](u) - b[:, None]).square() @ (weights / math.sqrt(2 * math.pi))
    misfit = squares.sum(1) / (2 * sigma**2) + math.log(2 * math.pi * sigma**2)
    log_determinant = 2 * torch.linalg.slogdet(factor).logabsdet
    kl = 0.5 * (mean.square().sum(1) + factor.square().sum() - log_determinant - 2)
    return (misfit + kl).mean()


def train(
    loss: Callable[[list[Tensor], Tensor], Float[Tensor, " R"]],
    parameters: list[Tensor],
    noise: Noise,
    period: int,
    rate: float = 0.1,
    iterations: int | None = None,
) -> list[Tensor]:
    """Full-batch Adam on all trials at once; they do not touch each other, for Adam works entry by entry.

    Args:
        loss: parameters and noise to one number a trial.
        parameters: where to start; they are copied.
        noise: standard normal noise of an iteration.
        period: the learning rate is divided by 10 every so many iterations.
        rate: the first learning rate.
        iterations: how many; 5 ``period`` by default, the last at 1e-4 of ``rate``.

    Returns:
        the trained parameters.
    """
    values = [p.detach().clone().requires_grad_() for p in parameters]
    steps = 5 * period if iterations is None else iterations
    descend(values, lambda i: loss(values, noise(i)).sum(), steps, lambda i: rate / 10 ** (i // period))
    return [v.detach() for v in values]
