"""What every observation model offers."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from curvae._typing import Float, Tensor
from curvae.errors import InputError


class Likelihood(ABC):
    r"""An observation model $p(x; \eta)$ whose outputs are independent given the decoder's output $\eta = g(z)$.

    Shapes: ``eta`` is ``[B, *D]``; ``x`` has the same shape unless the class says otherwise.
    The curvature of the model in its outputs is $-H_{p_x} = L^\top L$; only $L\,t$ is ever formed (:meth:`whiten`),
    never a matrix of size D × D.

    Attributes:
        smooth: whether the second derivatives of the nll in $\eta$ are those of the model. Where it has a kink they are
            zero beside it, ``whiten`` stands for something else, and an exact Hessian is refused.
    """

    smooth: ClassVar[bool] = True

    @abstractmethod
    def nll(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Float[Tensor, " B"]:
        r"""The negative log-likelihood $-\log p(x;\eta)$, up to what does not depend on $\eta$; summed over outputs."""

    def energy(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Float[Tensor, " B"]:
        """Deprecated: the former name of :meth:`nll`."""
        warnings.warn("Likelihood.energy is now called nll; write likelihood.nll(eta, x)", FutureWarning, stacklevel=2)
        return self.nll(eta, x)

    @abstractmethod
    def log_prob(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Float[Tensor, " B"]:
        r"""$\log p(x;\eta)$, normalised, summed over the outputs."""

    @abstractmethod
    def mean(self, eta: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$\mathbb E[x]$ under $p(x;\eta)$."""

    @abstractmethod
    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Tensor:
        r"""One draw $x\sim p(x;\eta)$, shaped like an observation."""

    @abstractmethod
    def whiten(
        self, eta: Float[Tensor, "B *D"], x: Tensor, tangents: Float[Tensor, "B *D K"]
    ) -> Float[Tensor, "B *D K"]:
        r"""$L\,t$ for each tangent $t$ in output space, with $L^\top L = -H_{p_x}(\eta)$.

        ``eta`` and ``x`` may be some of a batch (:class:`~curvae.curvature.Fraction`), so a model of your own takes
        what it needs of a sample from them.
        """


class ElementwiseLikelihood(Likelihood):
    r"""An observation model whose $-H_{p_x}$ is diagonal: whitening scales each output.

    A model of your own needs ``nll``, ``log_prob``, ``mean``, ``sample`` and ``curvature``.
    """

    @abstractmethod
    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""The diagonal of $-H_{p_x}(\eta)$, ≥ 0."""

    def whiten(
        self, eta: Float[Tensor, "B *D"], x: Tensor, tangents: Float[Tensor, "B *D K"]
    ) -> Float[Tensor, "B *D K"]:
        r"""$\sqrt{-H}\,t$, elementwise over the outputs."""
        return self.curvature(eta, x).sqrt().unsqueeze(-1) * tangents


def per_sample(values: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
    """Sum over everything but the batch."""
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def check_same_shape(eta: Tensor, x: Tensor) -> None:
    """Refuse to broadcast: a decoder whose output does not have the data's shape is an error, not a sum."""
    if eta.shape != x.shape:
        raise InputError(
            f"the decoder's output has shape {tuple(eta.shape)} but the data has {tuple(x.shape)}; they must be equal"
        )
