"""How much of what noise costs the expansion (7) leaves out."""

from __future__ import annotations

import torch

from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.metrics.codes import deployed
from curvae.metrics.objectives import objective_values
from curvae.objectives import GRAE

SEEN = 16
"""Samples that tell a factor of two."""
# draws for each, and latents whose curvature is small
_DRAWS, _MOST_LATENTS = 8, 64


@torch.no_grad()
def flat_at_codes(model: Model, x: Float[Tensor, "B *D"], objective: GRAE) -> str | None:
    r"""In words, that a GRAE's decoder is flat at the codes and steep between them; None where it is not surely so.

    There the noise of the best posterior (11) costs, by (2), surely more than twice what (7) says. The deterministic
    objective is at a point and does not see it; training exploits that where data are few or outputs say little, and
    standard deviations come out too wide.

    Args:
        model: without a posterior of its own.
        x: some of the data, :data:`SEEN` say, on the model's device and in its type.
        objective: that it was trained with.

    Raises:
        InputError: outputs that are not finite, or a decoder that forward mode cannot follow.

    Example:
        >>> from curvae import Autoencoder
        >>> flat_at_codes(Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), 2), torch.rand(9, 3), GRAE(0.2))
    """
    ordinary = objective.encoder_weight == objective.decoder_weight == objective.beta
    if not ordinary or objective.curvature != "gauss-newton":
        return None
    with deployed(model):
        if model.encode(x)[0].numel() > _MOST_LATENTS:
            return None
        found = objective_values(
            model,
            x,
            objective.beta,
            objective.likelihood,
            objective.structure,
            generator=torch.Generator(x.device).manual_seed(0),
            samples=_DRAWS,
            paired=True,
        )
    apart = found.values["beta_vae"] - found.values["taylor"]
    penalty = 0.5 * objective.beta * float(objective.structure.penalty(found.curvature, objective.beta).mean())
    if len(apart) < 2 or not float(apart.mean() - 2 * apart.std() / len(apart) ** 0.5) > penalty:
        return None
    return (
        f"noise of the standard deviations (11) costs {float(apart.mean()):.3g} more than the expansion (7) says, and "
        f"the penalty is {penalty:.3g}: the decoder is flat at the codes and steep between them, so they are too wide"
    )
