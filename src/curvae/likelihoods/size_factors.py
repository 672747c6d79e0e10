"""Counts of samples of different depth."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from curvae._checks import non_negative, positive
from curvae._transforms import in_transform
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.likelihoods.base import Likelihood, LogMean, check_same_shape
from curvae.likelihoods.masked import unmasked


class SizeFactors(nn.Module, Likelihood):
    r"""Counts with the mean $s_n e^{\eta}$: a size factor $s_n>0$ for each sample, beside what the decoder says.

    The factor is depth, exposure or library size: what makes one sample count more than another without saying
    anything of its latents. It comes with the sample itself, so that it goes wherever the sample goes:

    - without ``typical``, as the **last column** of ``x``: ``[B, D + 1]`` for outputs ``[B, D]``;
    - with ``typical``, as the sample's own total over that number. The model is then one of the counts given their
      total's size, as usual for single cells, and a sample without any counts says nothing.

    :meth:`mean` and :meth:`sample` are those at $s=1$.

    Args:
        likelihood: ``Poisson``, ``NegativeBinomial``, ``LearnedNegativeBinomial``, or :class:`Masked` of one.
        typical: the total at which $s=1$, > 0; for instance the median over the data. Or what each of D columns has
            there, ``[D]``, so that missing counts are missing from both totals.

    Raises:
        InputError: another likelihood, a ``typical`` that is not > 0, or (when used) that is of other columns, or a
            size factor that is not > 0.

    Example:
        >>> from curvae.likelihoods import Poisson
        >>> eta, counts = torch.zeros(1, 2), torch.tensor([[6.0, 2.0]])
        >>> SizeFactors(Poisson(), typical=2.0).log_prob(eta, counts)  # s = 4
        tensor([-4.1820])
        >>> x = torch.cat([counts, torch.full((1, 1), 4.0)], 1)
        >>> SizeFactors(Poisson()).log_prob(eta, x)
        tensor([-4.1820])
    """

    typical: Tensor | float | None

    def __init__(self, likelihood: Likelihood, typical: float | Float[Tensor, " D"] | None = None) -> None:
        super().__init__()
        if not isinstance(unmasked(likelihood), LogMean):
            raise InputError(
                f"size factors are for Poisson, NegativeBinomial and LearnedNegativeBinomial, whose outputs are "
                f"logarithms of means; got {likelihood}"
            )
        self.likelihood = likelihood
        if isinstance(typical, Tensor) and typical.dim() == 1:
            positive("the sum of typical", float(typical.sum()))
            non_negative("the least of typical", float(typical.min()))
            self.register_buffer("typical", typical, persistent=False)
        else:
            one: Any = typical  # a tensor of another shape is refused
            self.typical = None if one is None else positive("typical", one)

    def nll(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Float[Tensor, " B"]:
        r"""The inner nll at $\eta+\log s$."""
        return self.likelihood.nll(*self.parted(eta, x))

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Float[Tensor, " B"]:
        r"""The inner log-probability at $\eta+\log s$."""
        return self.likelihood.log_prob(*self.parted(eta, x))

    def mean(self, eta: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""The mean counts at $s=1$."""
        return self.likelihood.mean(eta)

    def squared_error(self, eta: Float[Tensor, "B *D"], x: Tensor) -> Float[Tensor, "B *D"]:
        r"""Of the mean counts at the sample's own s."""
        return self.likelihood.squared_error(*self.parted(eta, x))

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Tensor:
        r"""Counts at $s=1$, with that column where ``x`` has one."""
        counts = self.likelihood.sample(eta, generator)
        return counts if self.typical is not None else torch.cat([counts, counts.new_ones(len(counts), 1)], 1)

    def whiten(
        self, eta: Float[Tensor, "B *D"], x: Tensor, tangents: Float[Tensor, "B *D K"]
    ) -> Float[Tensor, "B *D K"]:
        r"""The inner $L\,t$ at $\eta+\log s$."""
        return self.likelihood.whiten(*self.parted(eta, x), tangents)

    def parted(self, eta: Float[Tensor, "B *D"], x: Tensor) -> tuple[Float[Tensor, "B *D"], Tensor]:
        r"""$\eta+\log s$ and the counts.

        Raises:
            InputError: shapes that do not go together, or a size factor that is not > 0.
        """
        if self.typical is not None:
            check_same_shape(eta, x)
            if isinstance(self.typical, Tensor) and x.shape[1:].numel() != len(self.typical):
                raise InputError(f"the data have shape {tuple(x.shape)}; expected [B, {len(self.typical)}], as typical")
            # a total of zero leaves means of zero, whose logarithm would meet counts of zero
            factors = of_totals(x.flatten(1), self.typical).clamp(min=torch.finfo(eta.dtype).tiny)
            return eta + factors.to(eta.dtype).log().view(-1, *[1] * (eta.dim() - 1)), x
        if eta.dim() != 2 or x.shape != (len(eta), eta.shape[1] + 1):
            raise InputError(
                f"the decoder's output has shape {tuple(eta.shape)} but the data has {tuple(x.shape)}; expected [B, D] "
                "and [B, D + 1] with the size factor in the last column (or give typical=…, a total)"
            )
        factors = x[:, -1:]
        if not in_transform() and not bool((factors > 0).all()):
            raise InputError("a size factor, the last column of the data, is not > 0; expected finite numbers > 0")
        return eta + factors.to(eta.dtype).log(), x[:, :-1]

    def check(self, x: Tensor) -> None:
        """What are no counts, beside the size factors, is refused."""
        self.likelihood.check(x if self.typical is not None else x[..., :-1])

    def __repr__(self) -> str:
        total = self.typical.sum().item() if isinstance(self.typical, Tensor) else self.typical
        typical = "" if total is None else f", typical={total:g}"
        return f"SizeFactors({self.likelihood}{typical})"


def of_totals(x: Tensor, typical: Float[Tensor, " D"] | float) -> Float[Tensor, " B"]:
    """Each sample's total in that of a typical sample; what is missing in ``x`` is left out of both.

    Where a typical sample has nothing in the columns that are left, all of it is taken.

    Example:
        >>> of_totals(torch.tensor([[6.0, 2.0], [6.0, torch.nan]]), torch.tensor([3.0, 1.0]))
        tensor([2., 2.])
    """
    if isinstance(typical, Tensor):
        typical = typical.to(x.device)
        left = (~x.isnan() * typical).sum(1)
        typical = left.where(left > 0, typical.sum())
    return x.nansum(1) / typical
