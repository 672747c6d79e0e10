r"""Banded precision (§5.1): each latent depends directly on its near neighbours only."""

from __future__ import annotations

import torch

from curvae._checks import positive, positive_int
from curvae._once import with_gradient_of
from curvae._precision import full_precision
from curvae._rank import finite_or_zero
from curvae._typing import Float, Tensor
from curvae.posteriors import logdet, unit_band
from curvae.posteriors.factor import Factor, inverse
from curvae.posteriors.structure import Structure, check_count


class BandedFactor(Factor):
    r"""$\Sigma^{-1}=B^\top B$ with $B$ lower triangular and banded, so $L=B^{-1}$.

    The precision's pattern is exact: entries farther than the bandwidth from the diagonal are zeros, while $\Sigma$ and
    $L$ are dense.

    Args:
        root: $B$, ``[B, d, d]``, lower triangular with a positive diagonal.

    Example:
        >>> BandedFactor(torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])).precision()
        tensor([[[2., 1.],
                 [1., 1.]]])
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
        return inverse(self.root)

    def log_det(self) -> Float[Tensor, " B"]:
        r"""$-2\sum_i\log B_{ii}$."""
        return -2 * self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def trace(self) -> Float[Tensor, " B"]:
        r"""$\|B^{-1}\|_F^2$."""
        return self.dense().square().sum((-1, -2))

    def precision(self) -> Float[Tensor, "B d d"]:
        r"""$B^\top B$: zero off the band, to the last bit."""
        return self.root.mT @ self.root

    def to(self, dtype: torch.dtype) -> BandedFactor:
        """In another type."""
        return BandedFactor(self.root.to(dtype))


class Banded(Structure):
    r"""Covariances whose precision $\Sigma^{-1}$ is zero farther than ``bandwidth`` from the diagonal.

    Bandwidth 0 would be :class:`~curvae.posteriors.Diagonal`; d − 1 is :class:`~curvae.posteriors.Full`. In between the
    best covariance minimises $\mathrm{tr}(A\Sigma)-\log|\Sigma|$, $A=I+M/\beta$, over banded precisions, which has no
    closed form unless $A$ itself is banded; :meth:`optimal` finds it by Newton's method in float64 (L-BFGS beyond 500
    unknowns on the band) and :meth:`penalty` is the objective's value there. The objective is not convex: where A is
    nearly singular the search may end at a local minimum, which still lies between the full penalty and the diagonal
    one. By the envelope theorem the penalty's gradient with respect to $M$ is $\Sigma^*/\beta$, so it is exact without
    differentiating the search. Its second derivatives would need that, and are refused.

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

    def seen(self, curvature: Float[Tensor, "B d d"]) -> Float[Tensor, "N d d"]:
        """All of it: a banded precision leaves room to move along any direction."""
        return curvature

    def optimal(self, curvature: Float[Tensor, "B d d"], beta: float) -> BandedFactor:
        r"""The banded-precision minimiser of (8) in $\Sigma$, found numerically; carries no gradient.

        Raises:
            IndefiniteError: where $I+M/\beta$ is not positive definite: nothing is then best, (8) falls without end.
        """
        return self._fit(_root_of_curvature(curvature, beta))[0].to(curvature.dtype)

    def penalty(self, curvature: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, " B"]:
        r"""$\mathrm{tr}((I+M/\beta)\Sigma^*)-\log|\Sigma^*|-d$, twice the value of (8) over β at its minimum.

        Raises:
            IndefiniteError: as :meth:`optimal`.
            DerivativeError: when the penalty's gradient is differentiated, or the penalty by forward mode.
        """
        best, value, _ = self._fit(_root_of_curvature(curvature.detach(), beta))
        with full_precision(curvature):
            moved = (curvature.double() * (best.covariance() / beta)).sum((-1, -2))
            return with_gradient_of(value, moved, f"the penalty of {self}").to(curvature.dtype)

    def penalty_of_root(self, root: Float[Tensor, "B *D d"], beta: float) -> Float[Tensor, " B"]:
        r"""The same from $T$, with no product $T^\top T$, which forgets the small singular values."""
        flat = root.flatten(1, -2)
        positive("beta", beta)
        with full_precision(root):
            # T/√β = QR; the slope 2TΣ/β is formed from Q, because TΣ cancels where T is large
            orthonormal, triangle = _qr(flat.detach().double() / beta**0.5)
            best, value, whitened = self._fit(triangle)
            slope = 2 / beta**0.5 * orthonormal @ (whitened @ best.dense().mT)
            moved = (flat.double() * slope).sum((-1, -2))
            return with_gradient_of(value, moved, f"the penalty of {self}").to(root.dtype)

    def _band(self, latents: int, device: torch.device) -> Tensor:
        offset = torch.arange(latents, device=device)
        below = offset[:, None] - offset
        return (below >= 0) & (below <= self.bandwidth)

    @torch.no_grad()
    def _fit(self, root: Float[Tensor, "B d d"]) -> tuple[BandedFactor, Float[Tensor, " B"], Float[Tensor, "B d d"]]:
        r"""The best factor $B$ for $A=U^\top U$, its penalty and $UB^{-1}$, by variable projection.

        With $B=D(I+N)$ the best diagonal $D$ for given $N$ has $D_{kk}=\|UY_{:k}\|$, $Y=(I+N)^{-1}$, which leaves
        $2\sum_k\log\|UY_{:k}\|$ to minimise over the strictly lower band $N$. The columns of $U$ are first scaled to
        length one, which keeps every pattern.
        """
        root, diverged = finite_or_zero(root)
        identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
        root = torch.where(diverged[:, None, None], identity, root)
        lengths = torch.linalg.vector_norm(root, dim=1, keepdim=True)
        unit = root / lengths
        rows, columns = self._band(root.shape[-1], root.device).tril(-1).nonzero(as_tuple=True)
        lower = unit_band.minimise(unit, self._project(unit)[:, rows, columns], (rows, columns))
        left = unit @ inverse(lower, unitriangular=True)
        norms = torch.linalg.vector_norm(left, dim=1)
        value = 2 * (norms.log() + lengths.squeeze(1).log()).sum(-1)
        # a sample that is not finite hands its NaN on, and hurts nobody else
        best = (norms.unsqueeze(-1) * lower * lengths).masked_fill(diverged[:, None, None], torch.nan)
        return BandedFactor(best), value.masked_fill(diverged, torch.nan), left / norms.unsqueeze(1)

    def _project(self, root: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
        """A start: from the last column on, each less its projection on the next ones; exact where A is banded."""
        latents = root.shape[-1]
        projected, entries = root.clone(), torch.zeros_like(root)
        for k in range(latents - 2, -1, -1):
            later = slice(k + 1, k + 1 + self.bandwidth)
            entries[:, later, k] = torch.einsum("bji,bi->bj", torch.linalg.pinv(projected[..., later]), root[..., k])
            projected[..., k] -= torch.einsum("bij,bj->bi", projected[..., later], entries[:, later, k])
        return entries

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.bandwidth})"


@torch.no_grad()
def _root_of_curvature(curvature: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, "B d d"]:
    r"""$U$ with $U^\top U=I+M/\beta$, in float64."""
    positive("beta", beta)
    with full_precision(curvature):
        matrices, diverged = finite_or_zero(curvature.double())
        values, vectors = torch.linalg.eigh(matrices)
        values = logdet.without_noise(values, curvature.dtype)
        logdet.check_spectrum(values, beta)
        return ((1 + values / beta).sqrt().unsqueeze(-1) * vectors.mT).masked_fill(diverged[:, None, None], torch.nan)


def _qr(scaled: Float[Tensor, "B D d"]) -> tuple[Float[Tensor, "B D d"], Float[Tensor, "B d d"]]:
    r"""$Q$ and $U$ with $QU=T$ and $U^\top U=I+T^\top T$."""
    latents = scaled.shape[-1]
    identity = torch.eye(latents, dtype=scaled.dtype, device=scaled.device).expand(len(scaled), -1, -1)
    orthonormal, triangle = torch.linalg.qr(torch.cat([scaled, identity], dim=1))
    return orthonormal[:, :-latents], triangle
