r"""The Gauss–Newton curvature as a product, never as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import torch
from torch.func import jvp, vjp, vmap

from curvae._precision import full_precision
from curvae._repr import OneLine
from curvae._transforms import one_at_a_time
from curvae._typing import Float, Tensor
from curvae.forward.compiled import as_written
from curvae.forward.first_use import check_first_use
from curvae.forward.kernels import differentiable, without_hooks
from curvae.forward.linear import LinearLayers
from curvae.forward.noise import Noise
from curvae.forward.pushforward import Decoder, check_latents, check_output
from curvae.forward.reverse import ReverseMode, attempt
from curvae.forward.statistics import BatchStatistics, FixedStatistics
from curvae.forward.watched import watched
from curvae.likelihoods import Likelihood
from curvae.likelihoods.base import check_likelihood


class Operator(OneLine):
    r"""$v\mapsto Mv=J^\top L^\top L\,Jv$ at one batch of latents: one forward- and one reverse-mode product.

    Batch normalisation is treated as in :func:`~curvae.curvature.pushforward`: at the statistics of this batch, held
    fixed, and the batch is counted once, when the operator is made. Dropout in train mode has one mask in all products.
    Under autocast only ``eta`` is computed in half precision: a product that is solved with must be one and the same
    matrix each time, to more digits than bfloat16 has.

    Args:
        fn: decoder.
        z: latents.
        x: observations.
        likelihood: observation model.

    Raises:
        InputError: if z has no axis beside the batch's, ``likelihood`` is none, ``fn`` does not return one tensor or
            cannot be differentiated.

    Attributes:
        eta: the decoder's output ``[B, *D]``, differentiable.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 2)
        >>> Operator(lambda z: 3 * z, z, z, Gaussian())(torch.ones(1, 2, 1)).squeeze(-1)
        tensor([[9., 9.]])
    """

    def _told(self) -> dict[str, Any]:
        return {"z": self.z, "likelihood": self.likelihood}

    @one_at_a_time()
    def __init__(self, fn: Decoder, z: Float[Tensor, "B *L"], x: Tensor, likelihood: Likelihood) -> None:
        check_latents(z)
        check_likelihood(likelihood)
        self.fn, self.z, self.x, self.likelihood = fn, z.contiguous(), x, likelihood
        check_first_use(fn, self.z)
        self._written = as_written(fn)
        self._noise = Noise(z.device)
        statistics = FixedStatistics()
        with statistics, differentiable():
            self.eta = check_output(self._written(self.z), self.z).to(z.dtype)
        statistics.update_running(statistics.seen)
        self._seen = statistics.seen
        self._known = [BatchStatistics(seen.mean.detach(), seen.variance.detach()) for seen in statistics.seen]

    def again(self) -> AbstractContextManager[None]:
        """A context in which the decoder draws the noise of the first pass, whose output is ``eta``."""
        return self._noise.again()

    def __call__(self, tangents: Float[Tensor, "B *L K"]) -> Float[Tensor, "B *L K"]:
        """$Mv$ for K tangents of each sample; carries no gradient."""
        return self.pull(self.push(tangents))

    @one_at_a_time()
    @torch.no_grad()
    def push(self, tangents: Float[Tensor, "B *L K"]) -> Float[Tensor, "B *E K"]:
        r"""$Tv=L\,Jv$ for K tangents of each sample; carries no gradient. E is D, or (1,) where D is ()."""
        return self._white(self.eta.detach(), self._push(self.z.detach(), tangents, self._known))

    @one_at_a_time()
    @torch.no_grad()
    def pull(self, cotangents: Float[Tensor, "B *E K"]) -> Float[Tensor, "B *L K"]:
        r"""$T^\top u=J^\top L^\top u$ for K vectors $u$ in output space of each sample; carries no gradient."""
        eta = self.eta.detach()
        cotangents = cotangents.view(*eta.shape, -1)
        with full_precision(eta):
            # whitening is linear in the tangents, so its pull-back is the same wherever it is taken
            whiten = vjp(lambda tangents: self.likelihood.whiten(eta, self.x, tangents), cotangents)[1]
            return self._pull(whiten(cotangents)[0])

    @one_at_a_time()
    def root(self, tangents: Float[Tensor, "B *L K"]) -> Float[Tensor, "B *E K"]:
        r"""$L\,Jv$ for K tangents of each sample, differentiable in z and the decoder's parameters; E is D or (1,)."""
        z, watch = watched(self.fn, self.z)
        pushed = self._push(z, tangents, self._seen)
        return self._white(self.eta, *watch(pushed))

    def _white(self, eta: Float[Tensor, "B *D"], pushed: Float[Tensor, "B *D K"]) -> Float[Tensor, "B *E K"]:
        with full_precision(pushed):
            white = self.likelihood.whiten(eta, self.x, pushed)
        return white if white.dim() > 2 else white.unsqueeze(1)

    def _pull(self, cotangents: Float[Tensor, "B *D K"]) -> Float[Tensor, "B *L K"]:
        r"""$J^\top u$, with one forward pass for all products."""

        def forward() -> Tensor:
            return vmap(lambda cotangent: self._pulled(cotangent)[0], in_dims=-1)(cotangents).movedim(0, -1)

        def reverse(refused: RuntimeError) -> Tensor:
            return (
                self._linearised(self.z.detach(), self._known, refused).pull(cotangents.movedim(-1, 0)).movedim(0, -1)
            )

        return attempt(forward, reverse)

    @cached_property
    def _pulled(self) -> Callable[[Float[Tensor, "B *D"]], tuple[Float[Tensor, "B *L"]]]:
        return vjp(lambda point: self._decode(point, self._known), self.z.detach())[1]

    def _decode(self, point: Float[Tensor, "B *L"], known: Sequence[BatchStatistics]) -> Float[Tensor, "B *D"]:
        with full_precision(point), self._noise.again(), FixedStatistics(known), LinearLayers(), differentiable():
            return self._written(point).to(point.dtype)

    def _push(
        self, z: Float[Tensor, "B *L"], tangents: Float[Tensor, "B *L K"], known: Sequence[BatchStatistics]
    ) -> Float[Tensor, "B *D K"]:
        def along(tangent: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
            return jvp(lambda point: self._decode(point, known), (z,), (tangent,))[1]

        def forward() -> Tensor:
            with without_hooks():
                # not out_dims=-1, with which PyTorch writes beside its memory where the decoder is constant
                return vmap(along, in_dims=-1, randomness="same")(tangents).movedim(0, -1)

        def reverse(refused: RuntimeError) -> Tensor:
            return self._linearised(z, known, refused).push(tangents.movedim(-1, 0)).movedim(0, -1)

        return attempt(forward, reverse)

    def _linearised(
        self, z: Float[Tensor, "B *L"], known: Sequence[BatchStatistics], refused: RuntimeError
    ) -> ReverseMode:
        return ReverseMode(lambda point: self._decode(point, known), z, refused)
