"""Transforms that mix the latents and leave the prior as it is (Appendix A)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from curvae._checks import positive_int
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.identifiability.priors import Prior


@dataclass(frozen=True, repr=False)
class Mixing(OneLine):
    """The prior-preserving mixing transform r = F⁻¹ ∘ Φ ∘ U ∘ Φ⁻¹ ∘ F of Appendix A.

    If z has the prior's law, so has r(z); a decoder g∘r then generates the same p(x) as g from other latents. The
    paper writes \\|det J_r\\| = 1, which holds for rotations of an isotropic normal; in general
    p(z) = p(r(z)) \\|det J_r(z)\\|, and :meth:`log_abs_det` returns its logarithm.

    Args:
        prior: the prior p(z) with its c.d.f.s.
        rotation: U, orthogonal, ``[d, d]``.

    Raises:
        InputError: if U does not fit the prior or is not orthogonal.

    Example:
        >>> from torch.distributions import Laplace
        >>> from curvae.identifiability import Factorised
        >>> prior = Factorised(Laplace(torch.zeros(2, dtype=torch.float64), 1.0))
        >>> r = Mixing(prior, plane_rotation(30.0))
        >>> z = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
        >>> r(z)
        tensor([[0.0268, 2.5104]], dtype=torch.float64)
        >>> torch.allclose(r.inverse(r(z)), z)
        True
    """

    prior: Prior
    rotation: Float[Tensor, "d d"]

    def __post_init__(self) -> None:
        d = self.prior.dim
        if self.rotation.shape != (d, d):
            raise InputError(f"the rotation has shape {tuple(self.rotation.shape)}; expected ({d}, {d}) as the prior")
        error = (self.rotation @ self.rotation.mT - torch.eye(d).to(self.rotation)).abs().max().item()
        if not error < math.sqrt(torch.finfo(self.rotation.dtype).eps):
            raise InputError(f"the rotation U is not orthogonal: U Uᵀ is off the identity by {error:.2g}")

    def __call__(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Return r(z)."""
        n = self.prior.normalise(z)
        return self.prior.denormalise(n @ self.rotation.mT.to(n))

    def inverse(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Return r⁻¹(z), the same construction with Uᵀ."""
        n = self.prior.normalise(z)
        return self.prior.denormalise(n @ self.rotation.to(n))

    def log_abs_det(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B"]:
        """Return log\\|det J_r(z)\\| = log p(z) − log p(r(z)).

        Φ⁻¹∘F carries the factor p(z)/φ(n) and its inverse φ(Un)/p(r(z)); φ(n) = φ(Un), so nothing else is left.
        """
        return self.prior.log_prob(z) - self.prior.log_prob(self(z))

    def jacobian(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B d d"]:
        """Return J_r(z) by reverse-mode differentiation; its off-diagonals show the mixing.

        Raises:
            InputError: if z is not ``[B, d]``.
        """
        if z.dim() != 2:
            raise InputError(f"the points have shape {tuple(z.shape)}; expected [B, {self.prior.dim}]")
        # rows do not interact, so the derivative of the sum over the batch holds every row's own
        rows: Tensor = torch.func.jacrev(lambda points: self(points).sum(0))(z)
        return rows.movedim(0, 1)


def plane_rotation(degrees: float, dtype: torch.dtype = torch.float64) -> Float[Tensor, "2 2"]:
    """Return the rotation of the plane by an angle in degrees, counter-clockwise.

    Example:
        >>> plane_rotation(30.0)
        tensor([[ 0.8660, -0.5000],
                [ 0.5000,  0.8660]], dtype=torch.float64)
    """
    angle = math.radians(degrees)
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=dtype)


def random_rotation(
    dim: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "d d"]:
    """Draw a rotation uniformly (Haar measure) from SO(d): QR of a normal matrix with the signs of R taken out.

    Args:
        dim: d ≥ 1.
        generator: source of randomness.
        dtype: of the result.

    Raises:
        InputError: if d < 1.

    Example:
        >>> rotation = random_rotation(5, torch.Generator().manual_seed(0))
        >>> round(torch.linalg.det(rotation).item(), 9)
        1.0
    """
    positive_int("the dimension", dim)
    q, r = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=dtype))
    q = q * torch.sign(torch.diagonal(r))
    return torch.cat([q[:, :1] * torch.sign(torch.linalg.det(q)), q[:, 1:]], dim=1)
