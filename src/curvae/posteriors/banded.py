r"""Banded precision (§5.1): each latent depends directly on its near neighbours only."""

from __future__ import annotations

import torch

from curvae._checks import positive, positive_int
from curvae._precision import full_precision
from curvae._typing import Float, Tensor
from curvae.posteriors.factor import Factor
from curvae.posteriors.structure import Structure, check_count


class BandedFactor(Factor):
    r"""$\Sigma^{-1}=B^\top B$ with $B$ lower triangular and banded, so $L=B^{-1}$.

    The precision's pattern is exact: entries farther than the bandwidth from the diagonal are zeros, while $\Sigma$ and
    $L$ are dense.

    Args:
        root: $B$, ``[B, d, d]``, lower triangular with a positive diagonal.
    """

    def __init__(self, root: Float[Tensor, "B d d"]) -> None:
        self.root = root

    def apply(self, noise: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        r"""$B^{-1}\epsilon$ by forward substitution."""
        return torch.linalg.solve_triangular(self.root, noise.unsqueeze(-1), upper=False).squeeze(-1)

    def solve(self, delta: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        r"""$B\delta$."""
        return (self.root @ delta.unsqueeze(-1)).squeeze(-1)

    def dense(self) -> Float[Tensor, "B d d"]:
        r"""$B^{-1}$."""
        identity = torch.eye(self.root.shape[-1], dtype=self.root.dtype, device=self.root.device)
        return torch.linalg.solve_triangular(self.root, identity.expand_as(self.root), upper=False)

    def log_det(self) -> Float[Tensor, " B"]:
        r"""$-2\sum_i\log B_{ii}$."""
        return -2 * self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def trace(self) -> Float[Tensor, " B"]:
        r"""$\|B^{-1}\|_F^2$."""
        return self.dense().square().sum((-1, -2))

    def precision(self) -> Float[Tensor, "B d d"]:
        r"""$B^\top B$: zero off the band, to the last bit."""
        return self.root.mT @ self.root


class Banded(Structure):
    r"""Covariances whose precision $\Sigma^{-1}$ is zero farther than ``bandwidth`` from the diagonal.

    Bandwidth 0 would be :class:`~curvae.posteriors.Diagonal`; d − 1 is :class:`~curvae.posteriors.Full`. In between the
    best covariance minimises $\mathrm{tr}(A\Sigma)-\log|\Sigma|$, $A=I+M/\beta$, over banded precisions, which has no
    closed form unless $A$ itself is banded; :meth:`optimal` finds it by L-BFGS in float64 and :meth:`penalty` is the
    objective's value there. By the envelope theorem the penalty's gradient with respect to $M$ is $\Sigma^*/\beta$, so
    it is exact without differentiating the search.

    Args:
        bandwidth: w ≥ 1, how far from the diagonal the precision may be non-zero.

    Raises:
        InputError: if ``bandwidth`` is not a whole number ≥ 1.

    Example:
        >>> factor = Banded(1).factor(torch.randn(1, 7), latents=4)   # 4 on the diagonal, 3 below it
        >>> (factor.precision()[0].abs() > 0).int()
        tensor([[1, 1, 0, 0],
                [1, 1, 1, 0],
                [0, 1, 1, 1],
                [0, 0, 1, 1]], dtype=torch.int32)
    """

    def __init__(self, bandwidth: int) -> None:
        self.bandwidth = positive_int("bandwidth", bandwidth)

    def num_parameters(self, latents: int) -> int:
        """The entries of $B$ on the band."""
        width = min(self.bandwidth, latents - 1)
        return (width + 1) * latents - width * (width + 1) // 2

    def factor(self, parameters: Float[Tensor, "B P"], latents: int) -> BandedFactor:
        """Parameters fill the band of $B$ row by row; the diagonal is exponentiated."""
        check_count(parameters, self, latents)
        band = self._band(latents, parameters.device)
        # gathering instead of writing into a tensor stays differentiable in every mode
        position = torch.full(band.shape, int(band.sum()), dtype=torch.long, device=parameters.device)
        position[band] = torch.arange(int(band.sum()), device=parameters.device)
        raw = torch.nn.functional.pad(parameters, (0, 1))[:, position]
        return BandedFactor(raw.tril(-1) + torch.diag_embed(raw.diagonal(dim1=-2, dim2=-1).exp()))

    def restrict(self, matrix: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
        """The band."""
        band = self._band(matrix.shape[-1], matrix.device)
        return matrix * (band | band.mT)

    def optimal(self, curvature: Float[Tensor, "B d d"], beta: float) -> BandedFactor:
        r"""The banded-precision minimiser of (8) in $\Sigma$, found numerically; carries no gradient."""
        positive("beta", beta)
        latents = curvature.shape[-1]
        with full_precision(curvature), torch.no_grad():
            target = curvature.double() / beta + torch.eye(latents, dtype=torch.double, device=curvature.device)
            # A with everything off the band dropped is exact where A is banded; it may be indefinite, its diagonal not
            start = target.diagonal(dim1=-2, dim2=-1).sqrt().log()
        parameters = self._search(target, start)
        root = self.factor(parameters, latents).root
        return BandedFactor(root.to(curvature.dtype))

    def penalty(self, curvature: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, " B"]:
        r"""$\mathrm{tr}((I+M/\beta)\Sigma^*)-\log|\Sigma^*|-d$, twice the value of (8) over β at its minimum."""
        with full_precision(curvature):
            wide = curvature.double()
            best = self.optimal(wide, beta)
            covariance = best.covariance()
            trace = (wide * covariance).sum((-1, -2)) / beta + best.trace()
            return (trace - best.log_det() - curvature.shape[-1]).to(curvature.dtype)

    def _band(self, latents: int, device: torch.device) -> Tensor:
        offset = torch.arange(latents, device=device)
        below = offset[:, None] - offset
        return (below >= 0) & (below <= self.bandwidth)

    def _search(self, target: Float[Tensor, "B d d"], log_diagonal: Float[Tensor, "B d"]) -> Float[Tensor, "B P"]:
        latents = target.shape[-1]
        rows, columns = self._band(latents, target.device).nonzero(as_tuple=True)
        parameters = (log_diagonal[:, columns] * (rows == columns)).requires_grad_()
        optimiser = torch.optim.LBFGS(
            [parameters], lr=1, max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def value() -> Tensor:
            optimiser.zero_grad()
            factor = self.factor(parameters, latents)
            dense = factor.dense()
            loss = ((target @ dense) * dense).sum() - factor.log_det().sum()
            (parameters.grad,) = torch.autograd.grad(loss, parameters)
            return loss

        with torch.enable_grad():
            optimiser.step(value)
        return parameters.detach()

    def __repr__(self) -> str:
        return f"Banded({self.bandwidth})"
