"""Bernoulli observations, on probabilities and on logits."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, logsigmoid

from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.likelihoods.base import UnitInterval, check_same_shape, per_sample
from curvae.likelihoods.values import check_unit_interval


class Bernoulli(UnitInterval):
    r"""Bernoulli on **probabilities** $\eta=g\in(0,1)$: a sigmoid belongs to the decoder $g$.

    The diagonal of $-H_{p_x}$ is $x/g^2+(1-x)/(1-g)^2$, which for $x\in\{0,1\}$ is the paper's $1/(1-x-g)^2$. Because
    the sigmoid is inside $g$, (6) is not exact here even for a relu decoder; use :class:`BernoulliLogits` for that.
    The curvature is 1 where $g$ has reached $x$ and grows without bound as $g$ nears the other end, so that a grey
    pixel under a saturated sigmoid ($g$ exactly 0 or 1 in floating point) has no finite curvature: a further reason for
    logits. Grey $x\in[0,1]$ is allowed; then :meth:`log_prob` is the cross-entropy that practitioners use, which is not
    the log of a density in $x$.

    Raises:
        InputError: (when used) outputs that are no probabilities, or data outside [0, 1].

    Example:
        >>> Bernoulli().nll(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]))
        tensor([1.3863])
    """

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$-x\log g-(1-x)\log(1-g)$; a log below −100 counts as −100 and has slope 0, as in PyTorch under a sigmoid.

        Raises:
            InputError: on a CPU, for outputs that are no probabilities (on a GPU PyTorch stops the process).
        """
        check_same_shape(eta, x)
        x = x.to(eta.dtype)
        # autocast refuses binary_cross_entropy on CUDA although eta is float32 here
        with torch.autocast(eta.device.type, enabled=False):
            # only to refuse what is no probability, except NaN, which has to reach whoever watches the loss: its slopes
            # stay where they are within 1e-12 of 0 and 1, and its second derivatives cancel long before
            known = eta.detach().where(~eta.isnan(), 0.5)
            try:
                binary_cross_entropy(known, x, reduction="none")
            except RuntimeError as error:
                if "between 0 and 1" not in str(error):
                    raise
                raise InputError(
                    f"the decoder's outputs go from {float(known.min()):.3g} to {float(known.max()):.3g}; Bernoulli() "
                    "expects probabilities: end the decoder in a sigmoid, or use BernoulliLogits()"
                ) from None
        # a log of 0 is left out, and so is one with weight 0: 0 times its infinite slope would be NaN
        on = eta.where((x > 0) & (eta != 0), 1).log().clamp(min=-100).where(eta != 0, -100)
        off = torch.log1p(-eta.where((x < 1) & (eta != 1), 0)).clamp(min=-100).where(eta != 1, -100)
        return -per_sample(x * on + (1 - x) * off)

    def mean(self, eta: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        """The probabilities themselves."""
        return eta

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        """Zeros and ones."""
        return torch.bernoulli(eta, generator=generator)

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$x/g^2+(1-x)/(1-g)^2$."""
        # the root has no square of g, which may underflow
        return self._root_curvature(eta, x).square()

    def _root_curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        x = x.to(eta.dtype)
        # a term with weight 0 is 0 even where its denominator is: 0/0 would be NaN, in the gradient too
        on = x.sqrt() / eta.where(x > 0, 1)
        off = (1 - x).sqrt() / (1 - eta).where(x < 1, 1)
        # in the derivatives of hypot one infinity would meet another
        grey = (x > 0) & (x < 1)
        return torch.hypot(on.where(grey, 1), off.where(grey, 1)).where(grey, on + off)

    def check(self, x: Tensor) -> None:
        """Values outside [0, 1] are refused, by rounding too: √(1 − x) is among the curvature's terms."""
        check_unit_interval(self, x, rounding=0.0)


class BernoulliLogits(UnitInterval):
    r"""Bernoulli on **logits**: $\eta=g$ and $p(x{=}1)=s(\eta)$; the sigmoid $s$ belongs to the observation model.

    $-H_{p_x}=s(1-s)$, independent of $x$, so that (6) is exact for piecewise-linear decoders. Grey $x\in[0,1]$ as in
    :class:`Bernoulli`.

    Example:
        >>> BernoulliLogits().nll(torch.zeros(1, 2), torch.tensor([[1.0, 0.3]]))
        tensor([1.3863])
    """

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$\log(1+e^{\eta})-x\eta$."""
        check_same_shape(eta, x)
        return per_sample(binary_cross_entropy_with_logits(eta, x.to(eta.dtype), reduction="none"))

    def mean(self, eta: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$s(\eta)$."""
        return eta.sigmoid()

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        """Zeros and ones."""
        return torch.bernoulli(eta.sigmoid(), generator=generator)

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$s(\eta)\,s(-\eta)$."""
        return eta.sigmoid() * (-eta).sigmoid()

    def _root_curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        return root_of_slope(eta)


def root_of_slope(logit: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
    r"""$\sqrt{s(1-s)}$ of a sigmoid, by logarithms: the square root of an underflowed product has no gradient."""
    return (0.5 * (logsigmoid(logit) + logsigmoid(-logit))).exp()
