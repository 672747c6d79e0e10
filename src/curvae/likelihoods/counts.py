"""Counts and classes."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy, logsigmoid

from curvae._checks import positive
from curvae._typing import Bool, Float, Int, Tensor
from curvae.errors import InputError
from curvae.likelihoods.base import (
    Likelihood,
    LogMean,
    check_number_of_outputs,
    check_same_shape,
    per_sample,
    positive_parameter,
    span,
)
from curvae.likelihoods.bernoulli import root_of_slope
from curvae.likelihoods.values import check_counts

_CLASSES = "class numbers 0, 1, 2, …; where a position has none, as of padding, give NaN to Masked(Categorical())"
_LARGE = 1e15
"""From here on the normal approximation is exact to float64."""


class Poisson(LogMean):
    r"""Poisson counts on **log-rates**: $\eta=\log\lambda$, $x\in\{0,1,2,\dots\}$; $-H_{p_x}=e^\eta$.

    Example:
        >>> Poisson().nll(torch.zeros(1, 2), torch.tensor([[0.0, 3.0]]))
        tensor([2.])
    """

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$e^\eta-x\eta$."""
        check_same_shape(eta, x)
        return per_sample(eta.exp() - x * eta)

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$x\eta-e^\eta-\log x!$."""
        return -self.nll(eta, x) - per_sample(torch.lgamma(x.to(eta.dtype) + 1))

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        """Counts, as floating point numbers."""
        return _poisson(eta.exp(), generator)

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$e^\eta$."""
        return eta.exp()

    def _root_curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        return (0.5 * eta).exp()


class NegativeBinomial(LogMean):
    r"""Counts more spread than Poisson's, on **log-means**: $\eta=\log\mu$, variance $\mu+\mu^2/r$.

    $-H_{p_x}=(x+r)\frac{re^\eta}{(r+e^\eta)^2}\ge0$: concave in the log-mean for every $x$. $r\to\infty$ is Poisson.

    Args:
        dispersion: $r$, > 0.

    Raises:
        InputError: if ``dispersion`` is not a finite number > 0.

    Example:
        >>> NegativeBinomial(dispersion=1.0).log_prob(torch.zeros(1, 1), torch.zeros(1, 1)).exp()   # geometric, mean 1
        tensor([0.5000])
    """

    def __init__(self, dispersion: float) -> None:
        self.dispersion = positive("dispersion", dispersion)

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$(x+r)\log(1+e^\eta/r)-x\eta$."""
        check_same_shape(eta, x)
        # with softplus(l) − l = softplus(−l) no large terms are left to cancel
        below, above = logsigmoid(-self._logit(eta)), logsigmoid(self._logit(eta))
        return -per_sample(self.dispersion * below + x * (above + math.log(self.dispersion)))

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        """Minus the nll and the normaliser."""
        x, r = x.to(eta.dtype), self.dispersion
        normaliser = torch.lgamma(x + 1) + math.lgamma(r) - torch.lgamma(x + r) + x * math.log(r)
        return -self.nll(eta, x) - per_sample(normaliser)

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        r"""Poisson counts whose rate is $e^\eta$ times a gamma variable of mean 1 and variance 1/r."""
        return _overdispersed(eta, torch.full_like(eta, self.dispersion), generator)

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$(x+r)\,s(1-s)$ with $s=e^\eta/(r+e^\eta)$."""
        logit = self._logit(eta)
        return (x + self.dispersion) * logit.sigmoid() * (-logit).sigmoid()

    def _root_curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        return (x + self.dispersion).sqrt() * root_of_slope(self._logit(eta))

    def _logit(self, eta: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        return eta - math.log(self.dispersion)

    def __repr__(self) -> str:
        return f"NegativeBinomial(dispersion={self.dispersion:g})"


class LearnedNegativeBinomial(nn.Module, LogMean):
    r"""Negative binomial counts whose dispersion is learned, one for all outputs or one for each.

    As :class:`NegativeBinomial`, but the nll keeps what depends on $r$:
    $(x+r)\log(1+e^\eta/r)-x\eta+\log\Gamma(r)-\log\Gamma(x+r)+x\log r$. For counts of features of their own spread,
    such as genes; with :class:`~curvae.likelihoods.SizeFactors` for samples of different depth.

    Args:
        dispersion: where $r$ starts, > 0: a number for all outputs, or a tensor ``[*D]`` with one for each. It is a
            parameter of this module: give ``likelihood.parameters()`` to the optimiser beside the model's.

    Raises:
        InputError: if ``dispersion`` is not finite and > 0.

    Example:
        >>> likelihood = LearnedNegativeBinomial(torch.tensor([1.0, 10.0]))
        >>> likelihood.log_prob(torch.zeros(1, 2), torch.zeros(1, 2)).exp().detach()  # 1/2 times (10/11)¹⁰
        tensor([0.1928])
    """

    def __init__(self, dispersion: float | Tensor = 10.0) -> None:
        super().__init__()
        self.log_dispersion = nn.Parameter(positive_parameter("dispersion", dispersion).log())

    @property
    def dispersion(self) -> Float[Tensor, "*D"]:
        """The present $r$."""
        return self.log_dispersion.exp()

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""The sum of :meth:`nll_each`."""
        return per_sample(self.nll_each(eta, x))

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""Minus the nll and $\log x!$."""
        return per_sample(self.log_prob_each(eta, x))

    def nll_each(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$(x+r)\log(1+e^\eta/r)-x\eta+\log\Gamma(r)-\log\Gamma(x+r)+x\log r$."""
        check_same_shape(eta, x)
        check_number_of_outputs(self, self.log_dispersion, eta)
        x, log_r = x.to(eta.dtype), self.log_dispersion.to(eta.dtype)
        below, above = logsigmoid(log_r - eta), logsigmoid(eta - log_r)
        # these three are as large as x log r and leave next to nothing
        counts, wide = x.double(), self.log_dispersion.double()
        normaliser = torch.lgamma(wide.exp()) - torch.lgamma(counts + wide.exp()) + counts * wide
        return normaliser.to(eta.dtype) - (log_r.exp() * below + x * (above + log_r))

    def log_prob_each(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""Minus :meth:`nll_each` and $\log x!$."""
        return -self.nll_each(eta, x) - torch.lgamma(x.to(eta.dtype) + 1)

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        r"""Poisson counts whose rate is $e^\eta$ times a gamma variable of mean 1 and variance 1/r."""
        return _overdispersed(eta, self.dispersion.detach().to(eta).expand_as(eta), generator)

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$(x+r)\,s(1-s)$ with $s=e^\eta/(r+e^\eta)$."""
        logit = eta - self.log_dispersion.to(eta.dtype)
        return (x + self.dispersion.to(eta.dtype)) * logit.sigmoid() * (-logit).sigmoid()

    def _root_curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        root = root_of_slope(eta - self.log_dispersion.to(eta.dtype))
        return (x + self.dispersion.to(eta.dtype)).sqrt() * root

    def __repr__(self) -> str:
        return f"LearnedNegativeBinomial(dispersion={span(self.dispersion)})"


class Categorical(Likelihood):
    r"""One of C classes at each position, on logits.

    ``eta`` is ``[B, C, *S]`` (classes second, as in ``torch.nn.functional.cross_entropy``), ``x`` holds class numbers
    ``[B, *S]`` (any dtype, whole numbers in 0…C−1). With $p=\mathrm{softmax}(\eta)$,
    $-H_{p_x}=\mathrm{diag}(p)-pp^\top$ at each position, and $L\,t=\sqrt p\,(t-\sum_c p_ct_c)$.

    Raises:
        InputError: (when used) shapes that do not go together, or a class that the logits do not have.

    Example:
        >>> Categorical().nll(torch.zeros(1, 4, 2), torch.tensor([[3, 0]]))
        tensor([2.7726])
    """

    def nll(self, eta: Float[Tensor, "B C *S"], x: Tensor) -> Float[Tensor, " B"]:
        r"""$\log\sum_ce^{\eta_c}-\eta_x$, summed over positions."""
        self._check(eta, x)
        # PyTorch ignores class −100 by default; here there is no such class
        try:
            scores = cross_entropy(eta, x.long(), reduction="none", ignore_index=torch.iinfo(torch.long).min)
        except IndexError as error:  # of the CPU; on a GPU PyTorch stops the process
            raise InputError(f"the decoder gives {eta.shape[1]} classes, numbered from 0 ({error})") from None
        return per_sample(scores)

    def log_prob(self, eta: Float[Tensor, "B C *S"], x: Tensor) -> Float[Tensor, " B"]:
        """Minus the nll, which is normalised already."""
        return -self.nll(eta, x)

    def nll_each(self, eta: Float[Tensor, "B C *S"], x: Float[Tensor, "B *S"] | Int[Tensor, "B *S"]) -> Tensor:
        """The nll of each position."""
        self._check(eta, x)
        return self.nll(eta.movedim(1, -1).flatten(0, -2), x.flatten()).view(x.shape)

    def log_prob_each(self, eta: Float[Tensor, "B C *S"], x: Float[Tensor, "B *S"] | Int[Tensor, "B *S"]) -> Tensor:
        """Minus the nll of each position."""
        return -self.nll_each(eta, x)

    def at_outputs(self, mask: Bool[Tensor, "B *S"], eta: Float[Tensor, "B C *S"]) -> Bool[Tensor, "B C *S"]:
        """A position's mask for all of its classes."""
        self._check(eta, mask)
        return mask.unsqueeze(1).expand_as(eta)

    def mean(self, eta: Float[Tensor, "B C *S"]) -> Float[Tensor, "B C *S"]:
        """The class probabilities (the mean of the one-hot observation)."""
        return eta.softmax(1)

    def squared_error(self, eta: Float[Tensor, "B C *S"], x: Tensor) -> Float[Tensor, "B C *S"]:
        """Of the probabilities from the one-hot observation (Brier's score, for each class)."""
        self._check(eta, x)
        classes = torch.arange(eta.shape[1], device=eta.device).view(-1, *[1] * (eta.dim() - 2))
        return (self.mean(eta) - (x.unsqueeze(1) == classes).to(eta.dtype)).square()

    def sample(self, eta: Float[Tensor, "B C *S"], generator: torch.Generator | None = None) -> Tensor:
        """Class numbers ``[B, *S]``, int64."""
        probabilities = eta.softmax(1).movedim(1, -1)
        draws = torch.multinomial(probabilities.reshape(-1, eta.shape[1]), 1, generator=generator)
        return draws.reshape(probabilities.shape[:-1])

    def whiten(
        self, eta: Float[Tensor, "B C *S"], x: Tensor, tangents: Float[Tensor, "B C *S K"]
    ) -> Float[Tensor, "B C *S K"]:
        r"""$\sqrt p\,(t-\sum_cp_ct_c)$."""
        self._check(eta, x)
        p = eta.softmax(1).unsqueeze(-1)
        return (0.5 * eta.log_softmax(1)).exp().unsqueeze(-1) * (tangents - (p * tangents).sum(1, keepdim=True))

    def _check(self, eta: Tensor, x: Tensor) -> None:
        if eta.dim() < 2 or eta.shape[:1] + eta.shape[2:] != x.shape:
            raise InputError(
                f"the decoder's logits have shape {tuple(eta.shape)} and the classes {tuple(x.shape)}; "
                "expected [B, C, *S] and [B, *S]"
            )

    def check(self, x: Tensor) -> None:
        """What are no classes 0, 1, 2, … is refused."""
        check_counts(self, x, _CLASSES)


def _overdispersed(eta: Tensor, dispersion: Tensor, generator: torch.Generator | None) -> Tensor:
    """Poisson counts with gamma rates of mean exp(eta)."""
    rate = eta.exp() * torch._standard_gamma(dispersion, generator=generator) / dispersion
    return _poisson(rate, generator)


def _poisson(rate: Tensor, generator: torch.Generator | None) -> Tensor:
    """Finite counts for any rate: PyTorch's own overflow a 64-bit integer, and come out negative."""
    rate = rate.clamp(max=torch.finfo(rate.dtype).max / 2)
    counts = torch.poisson(rate.clamp(max=_LARGE), generator=generator)
    if not bool((rate > _LARGE).any()):
        return counts
    noise = torch.randn(rate.shape, generator=generator, dtype=rate.dtype, device=rate.device)
    return torch.where(rate > _LARGE, (rate + rate.sqrt() * noise).round(), counts)
