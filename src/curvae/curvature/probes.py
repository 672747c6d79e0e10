r"""Random directions $v$ with $\mathbb E[vv^\top]=I$, so that $\mathbb E[v^\top A v]=\mathrm{tr}\,A$."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from curvae._checks import positive_int
from curvae._part import drawn
from curvae._random import stream
from curvae._typing import Float, Tensor
from curvae.curvature.estimators import choices, coins, distribution, normalised
from curvae.curvature.linearised import Linearised
from curvae.errors import InputError
from curvae.forward.pushforward import Decoder, one_hot_tangents, unit_tangents
from curvae.forward.statistics import unmoved
from curvae.likelihoods import Likelihood


class Probes(ABC):
    """A way to draw ``count`` independent probes for each sample.

    Example:
        >>> Signs(3).draw(torch.zeros(2, 4)).shape
        torch.Size([2, 4, 3])
    """

    count: int

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.count})"

    @abstractmethod
    def draw(self, z: Float[Tensor, "B d"], generator: torch.Generator | None = None) -> Float[Tensor, "B d K"]:
        r"""K = ``count`` probes for each sample, in z's type and place, each with $\mathbb E[vv^\top]=I$."""


def check_probes(probes: object) -> None:
    """Refuse what is no way to draw, such as a number of probes by itself.

    Raises:
        InputError: it is none.
    """
    if not isinstance(probes, Probes):
        raise InputError(f"probes is {probes!r}; expected a way to draw them, such as Signs(4)")


class Signs(Probes):
    r"""Entries ±1 with equal chance (Rademacher, the probes of Hutchinson).

    The variance of $v^\top Av$ is $2\sum_{i\ne j}A_{ij}^2$: only what is off the diagonal *in the basis of the signs*
    costs. With a ``basis`` $U$ of r orthonormal columns the signs are taken along them, $v=Us+(I-UU^\top)s'$, so a
    basis in which the curvature is nearly diagonal (:func:`principal_basis`) removes most of the variance. Whatever
    the basis, the probe is unbiased.

    Args:
        count: probes for each sample, ≥ 1.
        basis: $U$, ``[d, r]`` with orthonormal columns, r ≤ d; default the latents' own axes.

    Raises:
        InputError: if ``count`` is not ≥ 1, or the basis has more columns than rows, no orthonormal columns, or (when
            drawing) not d rows.

    Example:
        >>> Signs(3).draw(torch.zeros(2, 4)).abs().unique()
        tensor([1.])
    """

    def __init__(self, count: int = 1, basis: Float[Tensor, "d r"] | None = None) -> None:
        self.count = positive_int("number of probes", count)
        self.basis = None if basis is None else _orthonormal(basis)

    def draw(self, z: Float[Tensor, "B d"], generator: torch.Generator | None = None) -> Float[Tensor, "B d K"]:
        """Signs along the axes, or along the basis and then along the axes off its span."""
        signs = coins(z, z.shape[1], self.count, generator=generator)
        if self.basis is None:
            return signs
        if len(self.basis) != z.shape[1]:
            raise InputError(f"the basis of the probes has {len(self.basis)} rows but there are {z.shape[1]} latents")
        basis = self.basis.to(z)
        return signs + basis @ (coins(z, basis.shape[1], self.count, generator=generator) - basis.mT @ signs)

    def __repr__(self) -> str:
        return f"Signs({self.count})" if self.basis is None else f"Signs({self.count}, basis={list(self.basis.shape)})"


class Sphere(Probes):
    r"""Directions uniform on the sphere of radius $\sqrt d$: the variance does not depend on any basis.

    It is $2(\|A\|_F^2-(\mathrm{tr}A)^2/d)\,d/(d+2)$, a little less than that of normal numbers.

    Args:
        count: probes for each sample, ≥ 1.

    Raises:
        InputError: if ``count`` is not ≥ 1.

    Example:
        >>> Sphere(2).draw(torch.zeros(1, 9)).norm(dim=1).round(decimals=3)
        tensor([[3., 3.]])
    """

    def __init__(self, count: int = 1) -> None:
        self.count = positive_int("number of probes", count)

    def draw(self, z: Float[Tensor, "B d"], generator: torch.Generator | None = None) -> Float[Tensor, "B d K"]:
        """Normal numbers scaled to length √d."""
        source, shape = stream(generator), (z.shape[1], self.count)
        normal = drawn(lambda n: torch.randn((n, *shape), generator=source, dtype=z.dtype, device=z.device), len(z))
        return normal * (z.shape[1] ** 0.5 / torch.linalg.vector_norm(normal, dim=1, keepdim=True))


class Coordinates(Probes):
    r"""Single latents: $v=e_c/\sqrt{p_c}$ with $c\sim p$, so $v^\top Av=A_{cc}/p_c$. These push Jacobian *columns*.

    Args:
        count: probes for each sample, ≥ 1, drawn with replacement.
        probabilities: $p$, d numbers > 0 (normalised here); default uniform.

    Raises:
        InputError: if ``count`` is not ≥ 1, a probability is not > 0, or (when drawing) their number is not d.

    Example:
        >>> Coordinates(1).draw(torch.zeros(1, 4)).sum()
        tensor(2.)
    """

    def __init__(self, count: int = 1, probabilities: Sequence[float] | Tensor | None = None) -> None:
        self.count = positive_int("number of probes", count)
        self.probabilities = None if probabilities is None else normalised(probabilities)

    def draw(self, z: Float[Tensor, "B d"], generator: torch.Generator | None = None) -> Float[Tensor, "B d K"]:
        """Scaled unit vectors."""
        p = distribution(self.probabilities, z, "Coordinates")
        indices = choices(p, len(z), self.count, generator)
        return one_hot_tangents(z, indices) * p[indices].rsqrt().unsqueeze(1)


@torch.no_grad()
def principal_basis(
    fn: Decoder,
    z: Float[Tensor, "B *L"],
    x: Tensor,
    likelihood: Likelihood,
    rank: int | None = None,
    chunk_size: int | None = None,
) -> Float[Tensor, "d r"]:
    r"""Eigenvectors of the batch's mean curvature $\bar M$, those of the largest eigenvalues first.

    A basis for :class:`Signs`: as far as the curvatures of different data share eigenvectors, probes with signs along
    them have no variance. It costs d products per sample and one eigendecomposition, but the data can be few and the
    basis serves for as long as the decoder stays near what it was; a stale one costs variance, never a bias. Batch
    normalisation in train mode normalises by the statistics of all of ``z``; running statistics do not move.

    Args:
        fn: decoder.
        z: latents of a few typical data.
        x: their observations.
        likelihood: observation model.
        rank: how many eigenvectors, 1 … d; default all.
        chunk_size: Jacobian columns computed at a time; bounds memory.

    Raises:
        InputError: if ``rank`` is not 1 … d, the decoder's derivatives are not finite, or as
            :func:`~curvae.curvature.pushforward`.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 2)
        >>> principal_basis(lambda z: z * torch.tensor([1.0, 2.0]), z, z, Gaussian(), rank=1).abs()
        tensor([[0.],
                [1.]])
    """
    latents = z.shape[1:].numel()
    rank = latents if rank is None else positive_int("rank", rank)
    if rank > latents:
        raise InputError(f"rank is {rank} but there are only {latents} latents")
    curvature = z.new_zeros(latents, latents)
    at = Linearised(unmoved(fn), z, x, likelihood)
    for sample in torch.arange(len(z), device=z.device).split(1):  # the Jacobians of several may not fit in memory
        columns = at.push(unit_tangents(at.latents[sample]), chunk_size, sample)[1].flatten(0, -2)
        curvature.addmm_(columns.mT, columns)
    if not bool(curvature.isfinite().all()):
        raise InputError("the decoder's derivatives at these data are not finite; leave out those where they are not")
    return torch.linalg.eigh(curvature).eigenvectors.flip(-1)[:, :rank]


def _orthonormal(basis: Float[Tensor, "d r"]) -> Float[Tensor, "d r"]:
    if basis.dim() == 2 and basis.shape[1] <= basis.shape[0] and basis.is_floating_point():
        gramian = basis.double().mT @ basis.double()
        identity = torch.eye(basis.shape[1], dtype=torch.float64, device=basis.device)
        if bool(((gramian - identity).abs() < 1e-3).all()):
            return basis
    raise InputError(
        f"the basis of the probes must have orthonormal columns, at most as many as rows; got {tuple(basis.shape)}"
    )
