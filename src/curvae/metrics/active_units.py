"""Which latents a model uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from curvae._checks import non_negative
from curvae._repr import OneLine
from curvae._typing import Bool, Float, Tensor
from curvae.autoencoder import Model
from curvae.errors import InputError
from curvae.metrics.codes import codes, conditioned_batches, deployed, in_double

ACTIVE = 0.01
"""In units of the prior's variance, as Burda et al. have it."""


@dataclass(frozen=True, eq=False, repr=False)
class ActiveUnits(OneLine):
    r"""How much each latent varies over the data.

    Attributes:
        variance: $\mathrm{Var}_x\,h_i(x)$, of each latent, ``[*L]``.
        threshold: above which a latent counts as active.
    """

    variance: Float[Tensor, "*L"]
    threshold: float = ACTIVE

    @property
    def active(self) -> Bool[Tensor, "*L"]:
        """Which latents."""
        return self.variance > self.threshold

    @property
    def count(self) -> int:
        """How many."""
        return int(self.active.sum())


def active_units(model: Model, data: Any, threshold: float = ACTIVE, batch_size: int = 100) -> ActiveUnits:
    r"""Latents whose posterior mean has a variance above ``threshold`` over the data.

    The threshold is meant for a standard normal prior, under which β-VAE and GRAE both keep the scale of the latents.

    Args:
        model: its ``encode``, in eval mode.
        data: arrays ``[N, *D]`` or batches, as :func:`curvae.metrics.codes` takes them; N ≥ 2.
        threshold: in units of the prior's variance, ≥ 0; Burda et al. take 0.01.
        batch_size: samples at a time.

    Raises:
        InputError: an argument out of range, fewer than two samples, or codes that are not finite.

    Source: Burda, Grosse & Salakhutdinov, ICLR 2016.

    Example:
        >>> from curvae import Autoencoder
        >>> encoder = torch.nn.Linear(2, 2, bias=False)
        >>> encoder.weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.05]])
        >>> found = active_units(Autoencoder(encoder, torch.nn.Linear(2, 2), latents=2), torch.randn(500, 2))
        >>> found.active, found.count
        (tensor([ True, False]), 1)
    """
    non_negative("threshold", threshold)
    found = codes(model, data, batch_size)
    if len(found) < 2:
        raise InputError(f"there are {len(found)} samples; expected at least 2 to have a variance")
    return ActiveUnits(found.var(0), threshold)


@torch.no_grad()
def unit_divergence(model: Model, data: Any, batch_size: int = 100) -> Float[Tensor, "*L"]:
    r"""$\mathbb E_x\,\mathrm{KL}(q(z_i\mid x)\,\|\,\mathcal N(0,1))$ of each latent's marginal, in nats.

    Where :func:`active_units` looks at means alone, this counts what the posterior says of a latent; near 0 for an
    unused one. The sum is at most the KL divergence of (8), with equality for a diagonal Σ. For a GRAE give
    :class:`~curvae.metrics.Implied` of it.

    Args:
        model: its posterior, in eval mode.
        data: arrays ``[N, *D]`` or batches, as :func:`curvae.metrics.codes` takes them.
        batch_size: samples at a time.

    Returns:
        Float64 on the CPU.

    Raises:
        InputError: no data, or a model without a posterior.

    Example:
        >>> from curvae import Autoencoder
        >>> from curvae.metrics import Implied
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2)
        >>> bool((unit_divergence(Implied(model, beta=0.2), torch.randn(9, 3)) > 0).all())
        True
    """
    total, count = torch.zeros(()), 0
    with deployed(model):
        for at, x in conditioned_batches(model, data, batch_size):
            q = in_double(at.posterior(x))
            variance = q.factor.variance().view(q.mean.shape)
            divergence = 0.5 * (q.mean.square() + variance - variance.log() - 1)
            total, count = total + divergence.sum(0).cpu(), count + len(x)
    return total / count
