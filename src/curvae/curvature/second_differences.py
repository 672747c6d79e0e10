"""Curvature of the energy at a distance: second differences along each latent."""

from __future__ import annotations

import torch

from curvae._precision import full_precision
from curvae._typing import Float, Tensor
from curvae.forward.pushforward import Decoder
from curvae.forward.secants import Differences
from curvae.likelihoods import Likelihood


def second_differences(
    fn: Decoder, z: Float[Tensor, "B *L"], x: Tensor, likelihood: Likelihood, widths: Float[Tensor, "B d"]
) -> Float[Tensor, "B d"]:
    r"""$[f(z+s_ce_c)+f(z-s_ce_c)-2f(z)]/s_c^2$ for each latent c, $f=-\log p(x\mid\cdot)$ and s the widths.

    As s → 0 the diagonal of $-H_{f_x}$, with both terms of (5). At $s_c=\sqrt d\,\sigma_c$ the $2d$ points are those of
    the cubature rule of degree 3 for $\mathcal N(z,\mathrm{diag}\,\sigma^2)$, whose weights are equal, and half of the
    sum of $\sigma_c^2$ times these numbers is what that noise costs.
    $2d$ forward passes more, as :class:`~curvae.forward.secants.Differences` makes them.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 2)
        >>> second_differences(lambda z: 3 * z, z, z, Gaussian(), torch.ones(1, 2))
        tensor([[9., 9.]])
    """
    move = Differences(fn, z)
    steps = torch.diag_embed(widths).unflatten(1, z.shape[1:])
    with full_precision(z):
        here = likelihood.nll(move.eta, x)
        found = []
        for step in steps.unbind(-1):
            ends = [likelihood.nll(move.moved(way), x) - here for way in (step, -step)]
            found.append(ends[0] + ends[1])
        return torch.stack(found, -1) / widths.square()
