"""Missing values."""

from __future__ import annotations

import torch
from torch import nn

from curvae._typing import Bool, Float, Tensor
from curvae.errors import InputError
from curvae.likelihoods.base import Likelihood, per_sample

# a value that every model has probabilities for: a mean, a logit, a log-mean and a probability
_OUTPUT, _OBSERVED = 0.5, 0


def takes_missing(likelihood: object) -> bool:
    """Whether NaN in the data means to an observation model that something was not observed.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> takes_missing(Masked(Gaussian())), takes_missing(Gaussian())
        (True, False)
    """
    return isinstance(likelihood, nn.Module) and any(isinstance(part, Masked) for part in likelihood.modules())


def unmasked(likelihood: Likelihood) -> Likelihood:
    """What is behind a mask, if there is one."""
    return likelihood.likelihood if isinstance(likelihood, Masked) else likelihood


class Masked(nn.Module, Likelihood):
    r"""Another observation model where some numbers were not observed: those are **NaN** in ``x``.

    $\log p(x\mid z)$ is the sum over what was observed, which is the marginal likelihood if values are missing at
    random; a missing number has no curvature and no gradient. An encoder sees ``x`` as it is, so that it has to put
    something in the place of NaN itself.

    Args:
        likelihood: any that scores each observed number by itself: elementwise ones, ``Categorical`` and ``Mixed``.

    Raises:
        InputError: a likelihood that is masked already, or (when used) one that cannot be.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> x = torch.tensor([[1.0, torch.nan], [1.0, 2.0]])
        >>> Masked(Gaussian()).nll(torch.zeros(2, 2), x)
        tensor([0.5000, 2.5000])
    """

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        if isinstance(likelihood, Masked):
            raise InputError(f"{likelihood} is masked already; use it as it is")
        self.likelihood = likelihood
        self.smooth = likelihood.smooth

    def nll(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Float[Tensor, " B"]:
        """The inner nll of what was observed."""
        return per_sample(self.nll_each(eta, x))

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Float[Tensor, " B"]:
        """The log-probability of what was observed."""
        return per_sample(self.log_prob_each(eta, x))

    def nll_each(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Tensor:
        """The inner nll of each observed number, 0 of the others."""
        at, data, seen, _ = self._filled(eta, x)
        return self.likelihood.nll_each(at, data).where(seen, 0)

    def log_prob_each(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Tensor:
        """The log-probability of each observed number, 0 of the others."""
        at, data, seen, _ = self._filled(eta, x)
        return self.likelihood.log_prob_each(at, data).where(seen, 0)

    def at_outputs(self, mask: Bool[Tensor, "B *S"], eta: Float[Tensor, "B *D"]) -> Bool[Tensor, "B *D"]:
        """As the inner model has it."""
        return self.likelihood.at_outputs(mask, eta)

    def mean(self, eta: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        """The mean of all, observed or not."""
        return self.likelihood.mean(eta)

    def squared_error(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Tensor:
        """The inner model's, NaN where nothing was observed."""
        at, data, _, outputs = self._filled(eta, x)
        return self.likelihood.squared_error(at, data).where(outputs, torch.nan)

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Tensor:
        """One draw without missing values."""
        return self.likelihood.sample(eta, generator)

    def whiten(
        self, eta: Float[Tensor, "B *D"], x: Tensor, tangents: Float[Tensor, "B *D K"]
    ) -> Float[Tensor, "B *D K"]:
        r"""$L\,t$, zero where nothing was observed."""
        at, data, _, outputs = self._filled(eta, x)
        return self.likelihood.whiten(at, data, tangents).where(outputs.unsqueeze(-1), 0)

    def _filled(
        self, eta: Float[Tensor, "B *D"], x: Tensor
    ) -> tuple[Float[Tensor, "B *D"], Tensor, Bool[Tensor, "B *S"], Bool[Tensor, "B *D"]]:
        """Outputs and data with harmless numbers in place of the missing ones, and where the others are."""
        seen = ~x.isnan()
        outputs = self.likelihood.at_outputs(seen, eta)
        return eta.where(outputs, _OUTPUT), x.where(seen, _OBSERVED), seen, outputs

    def check(self, x: Tensor) -> None:
        """As the inner model has it."""
        self.likelihood.check(x)

    def __repr__(self) -> str:
        return f"Masked({self.likelihood})"
