"""What every observation model offers."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from curvae._checks import positive, shown
from curvae._transforms import is_batched
from curvae._typing import Bool, Float, Tensor
from curvae.errors import InputError
from curvae.likelihoods.values import check_counts, check_unit_interval, has_values


class Likelihood(ABC):
    r"""An observation model $p(x; \eta)$ whose outputs are independent given the decoder's output $\eta = g(z)$.

    Shapes: ``eta`` is ``[B, *D]``; ``x`` has the same shape unless the class says otherwise.
    The curvature of the model in its outputs is $-H_{p_x} = L^\top L$; only $L\,t$ is ever formed (:meth:`whiten`),
    never a matrix of size D × D.

    Attributes:
        smooth: whether the second derivatives of the nll in $\eta$ are those of the model. Where it has a kink they are
            zero beside it, ``whiten`` stands for something else, and an exact Hessian is refused.
    """

    smooth: bool = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

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

    def check(self, x: Tensor) -> None:  # noqa: B027 - most models take any numbers
        """Refuse data that no parameters of this model give; NaN and infinities are left alone, which every loss shows.

        Here nothing is refused. A loss of such data is a number like any other, so that nothing else would tell: the
        objectives ask.

        Raises:
            InputError: such data, with one of their values.
        """

    def squared_error(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Tensor:
        r"""$(\mathbb E[x]-x)^2$ of each number, NaN where it was not observed.

        Raises:
            InputError: the mean has another shape than the data, and the model does not say which is which.
        """
        mean = self.mean(eta)
        check_same_shape(mean, x)
        return (mean - x).square()

    def nll_each(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Tensor:
        r"""``nll`` of each observed number by itself, shaped like ``x``; :class:`~curvae.likelihoods.Masked` asks.

        Raises:
            InputError: the model does not say it.
        """
        raise self._no_score_of_each()

    def log_prob_each(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Tensor:
        r"""``log_prob`` of each observed number by itself, shaped like ``x``.

        Raises:
            InputError: the model does not say it.
        """
        raise self._no_score_of_each()

    def at_outputs(self, mask: Bool[Tensor, "B *S"], eta: Float[Tensor, "B *D"]) -> Bool[Tensor, "B *D"]:
        """A mask of observed numbers as a mask of the outputs that describe them; here one output each."""
        check_same_shape(eta, mask)
        return mask

    def _no_score_of_each(self) -> InputError:
        return InputError(
            f"{self} does not score each observed number by itself, which Masked needs; give it the methods nll_each "
            "and log_prob_each, or put Masked inside of it"
        )


class ElementwiseLikelihood(Likelihood):
    r"""An observation model whose $-H_{p_x}$ is diagonal: whitening scales each output.

    A model of your own needs ``nll``, ``log_prob``, ``mean``, ``sample`` and ``curvature``.
    """

    @abstractmethod
    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""The diagonal of $-H_{p_x}(\eta)$, ≥ 0; its expectation where the nll is not convex, as of heavy tails."""

    def whiten(
        self, eta: Float[Tensor, "B *D"], x: Tensor, tangents: Float[Tensor, "B *D K"]
    ) -> Float[Tensor, "B *D K"]:
        r"""$\sqrt{-H}\,t$, elementwise over the outputs."""
        check_same_shape(eta, x)
        return self._root_curvature(eta, x).unsqueeze(-1) * tangents

    def _root_curvature(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Float[Tensor, "B *D"]:
        """The same of a tangent of ones; where :meth:`curvature` underflows its square root has no gradient."""
        found = self.curvature(eta, x)
        check_not_negative(self, found)
        return found.sqrt()

    def nll_each(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        """``nll`` of each output, as a sample of its own; a model whose outputs differ has to say it itself."""
        return self._of_each(self.nll, eta, x)

    def log_prob_each(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        """``log_prob`` of each output, as a sample of its own; a model whose outputs differ has to say it itself."""
        return self._of_each(self.log_prob, eta, x)

    def _of_each(self, score: Callable[[Tensor, Tensor], Tensor], eta: Tensor, x: Tensor) -> Tensor:
        check_same_shape(eta, x)
        # the last number twice: a parameter of each output, which fits the numbers of one sample, does not fit one more
        flat = [torch.cat([each.flatten(), each.flatten()[-1:]]) for each in (eta, x)]
        try:
            found = score(*flat)
        except (IndexError, RuntimeError) as error:  # it sums over an axis, or has a parameter of each output
            score(eta, x)  # fails as well where the shape is not the reason
            raise self._no_score_of_each() from error
        if found.shape != flat[0].shape:
            raise self._no_score_of_each()
        return found[: eta.numel()].view(eta.shape)


class Location(ElementwiseLikelihood):
    r"""Noise around $\eta$."""

    def mean(self, eta: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$\eta$ itself."""
        return eta


class UnitInterval(ElementwiseLikelihood):
    """Values in [0, 1], with an nll that lacks no constant."""

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        """Minus the nll, which lacks no constant."""
        return -self.nll(eta, x)

    def check(self, x: Tensor) -> None:
        """Values outside [0, 1] are refused."""
        check_unit_interval(self, x)


class LogMean(ElementwiseLikelihood):
    r"""Counts of mean $e^\eta$."""

    def mean(self, eta: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$e^\eta$."""
        return eta.exp()

    def check(self, x: Tensor) -> None:
        """What are no counts is refused."""
        check_counts(self, x)


def check_likelihood(likelihood: object) -> None:
    """Refuse what is no observation model, such as the name or the class of one.

    Raises:
        InputError: it is none.
    """
    if not isinstance(likelihood, Likelihood):
        raise InputError(f"likelihood is {shown(likelihood)}; expected one of curvae.likelihoods, such as Gaussian()")


def per_sample(values: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
    """Sum over everything but the batch."""
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def check_same_shape(eta: Tensor, x: Tensor) -> None:
    """Refuse to broadcast: a decoder whose output does not have the data's shape is an error, not a sum."""
    if eta.shape != x.shape:
        raise InputError(
            f"the decoder's output has shape {tuple(eta.shape)} but the data has {tuple(x.shape)}; they must be equal"
        )


def positive_parameter(name: str, value: float | Tensor) -> Float[Tensor, "*D"]:
    """A copy of a number > 0, or of a tensor of them, in PyTorch's default type; else an ``InputError`` names it."""
    if not isinstance(value, Tensor):
        return torch.tensor(positive(name, value))
    copy = value.detach().clone().to(torch.get_default_dtype())
    if not bool((copy.isfinite() & (copy > 0)).all()):
        raise InputError(f"{name} holds values that are not > 0; expected a finite number > 0 of each output")
    return copy


def check_not_negative(likelihood: Likelihood, curvature: Tensor) -> None:
    """Refuse a curvature whose root would be NaN; only on a CPU, where looking waits for nothing."""
    waits = curvature.device.type != "cpu" or is_batched(curvature) or torch.compiler.is_compiling()
    if waits or not has_values(curvature):
        return
    if bool((curvature < 0).any()):
        raise InputError(
            f"{type(likelihood).__name__}.curvature gave {float(curvature.detach().nan_to_num().min()):.3g}; expected "
            "numbers ≥ 0: where the second derivative of the nll is negative, give its expectation under the model "
            "(the Fisher information)"
        )


def check_number_of_outputs(likelihood: Likelihood, parameter: Tensor, eta: Tensor) -> None:
    """Refuse a model with one parameter for each output where there are other outputs."""
    if parameter.dim() and eta.shape[1:] != parameter.shape:
        raise InputError(
            f"{likelihood} has parameters for outputs of shape {tuple(parameter.shape)} but the decoder's output has "
            f"shape {tuple(eta.shape)}; expected {('B', *parameter.shape)}"
        )


def span(values: Tensor) -> str:
    """One number, or the least and the largest of several, for a ``repr``."""
    low, high = float(values.detach().min()), float(values.detach().max())
    return f"{low:g}" if values.dim() == 0 else f"{low:g} … {high:g}"
