"""A decoder, linearised at the latents of one batch and seen through an observation model."""

from __future__ import annotations

from dataclasses import dataclass

from curvae._precision import full_precision, lifted
from curvae._repr import OneLine
from curvae._typing import Float, Int, Tensor
from curvae.curvature.operator import Operator
from curvae.errors import InputError
from curvae.forward.pushforward import Decoder, check_latents, pushforward
from curvae.likelihoods import Likelihood
from curvae.likelihoods.base import check_likelihood


@dataclass(frozen=True, repr=False)
class Linearised(OneLine):
    r"""What every estimator takes: a decoder $g$ at a point $h$, and the likelihood that whitens its tangents.

    With $L^\top L$ the likelihood's curvature in the decoder's output, $T=L\,J_g(h)$ is the whitened Jacobian and
    $M=T^\top T$ the Gauss–Newton curvature. Nothing is computed until something is asked for.

    Args:
        decoder: $g$, as for :func:`~curvae.curvature.pushforward`.
        point: $h$, usually the posterior's means: vectors ``[B, d]`` or latents of any other shape ``[B, *L]``. Under
            autocast half precision is lifted to float32.
        x: the observations.
        likelihood: observation model.

    Raises:
        InputError: ``likelihood`` is none; when used, as :func:`~curvae.curvature.pushforward`.

    Example:
        >>> import torch
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 2)
        >>> at = Linearised(lambda z: 3 * z, z, z, Gaussian())
        >>> output, pushed = at.push(torch.ones(1, 2, 1))
        >>> pushed.squeeze(-1), at.operator()(torch.ones(1, 2, 1)).squeeze(-1)
        (tensor([[3., 3.]]), tensor([[9., 9.]]))
    """

    decoder: Decoder
    point: Float[Tensor, "B *L"]
    x: Tensor
    likelihood: Likelihood

    def __post_init__(self) -> None:
        check_likelihood(self.likelihood)
        if isinstance(self.point, Tensor):
            object.__setattr__(self, "point", lifted(self.point))

    @property
    def latents(self) -> Float[Tensor, "B d"]:
        """The point with all latents of a sample as one vector, in the order of memory.

        Raises:
            InputError: it has no axis of latents.
        """
        check_latents(self.point)
        return self.point.flatten(1)

    def push(
        self, tangents: Float[Tensor, "m d K"], chunk_size: int | None = None, chosen: Int[Tensor, " m"] | None = None
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m *E K"]]:
        r"""The decoder's output and $Tv$ for each tangent $v$ of :attr:`latents`, differentiable, in one pass.

        As in :func:`~curvae.curvature.pushforward`, only ``chosen`` samples may have tangents. The axes E are those of
        D, or a single one of size 1 where the decoder gives one number for each sample, D = ().
        """
        tangents = tangents.unflatten(1, self.point.shape[1:])
        eta, pushed = pushforward(self.decoder, self.point, tangents, chunk_size, chosen)
        eta, pushed = eta.to(self.point.dtype), pushed.to(self.point.dtype)
        return eta, self.whiten(eta, pushed, chosen)

    def whiten(
        self, eta: Float[Tensor, "B *D"], pushed: Float[Tensor, "m *D K"], chosen: Int[Tensor, " m"] | None = None
    ) -> Float[Tensor, "m *E K"]:
        r"""$L$ times tangents of the output, of all samples or of ``chosen`` ones.

        Raises:
            InputError: the likelihood does not act on the tangents that it is given.
        """
        at, data = (eta, self.x) if chosen is None else (eta.index_select(0, chosen), self.x.index_select(0, chosen))
        with full_precision(self.point):
            white = self.likelihood.whiten(at, data, pushed)
        if white.shape != pushed.shape:
            raise InputError(
                f"{self.likelihood}.whiten gave shape {tuple(white.shape)} for tangents of shape "
                f"{tuple(pushed.shape)}; it has to act on the samples that it is given"
            )
        return white if white.dim() > 2 else white.unsqueeze(1)

    def operator(self) -> Operator:
        r"""Products $Mv$, $Tv$ and $T^\top u$, as many as wanted, at the batch statistics of one first pass."""
        return Operator(self.decoder, self.point, self.x, self.likelihood)
