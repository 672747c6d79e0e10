"""What a person should know of a model that has just been trained."""

from __future__ import annotations

import torch

from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.data.paired import Batch
from curvae.errors import InputError
from curvae.metrics import active_units
from curvae.metrics.left_out import SEEN, flat_at_codes
from curvae.objectives import GRAE, Objective
from curvae.runs import RunConfig
from curvae.runs.checks import has_scaled_latents
from curvae.runs.lines import HELD_OUT
from curvae.runs.mixed import bare
from curvae.training.module import at_its_conditions
from curvae.training.trial import typed

# before that nobody expects anything of a model
_EARLY = 100
# fewer held-out samples may happen to be alike
_FEW = 5
# of numbers of any scale, with a noise of a fixed one
_SCALABLE = ("gaussian", "laplace", "student-t")


def remark(model: Autoencoder, objective: Objective, dataset: Dataset, config: RunConfig) -> str | None:
    """What to do where no latent is in use, or where a GRAE's decoder is flat at the codes; None where all is well.

    Args:
        model: at the end of its training.
        objective: that it was trained with.
        dataset: whose held-out half is encoded.
        config: of the run.

    Example:
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2)
        >>> data = Dataset("toy", torch.zeros(9, 3), torch.zeros(20, 3), {})
        >>> remark(model, GRAE(0.2), data, RunConfig(data="toy", network="mlp"))
        "no latent is in use: the codes of held-out data are all the same, to 1 % of the prior...
    """
    if not has_scaled_latents(config) or config.steps < _EARLY or len(dataset.test) < _FEW:
        return None
    held_out = typed(dataset.half(test=True)[:HELD_OUT], config)
    try:
        if active_units(model, iter(held_out.split(100))).count:
            return _flat(model, objective, held_out)
    except InputError:  # not finite on these data, or a decoder that forward mode cannot follow: the run is finished
        return None
    kind, _, scale = bare(config.likelihood).partition(":")
    scalable = kind in _SCALABLE and scale != "learned" and dataset.train.dtype != torch.uint8
    return (
        "no latent is in use: the codes of held-out data are all the same, to 1 % of the prior's variance; train "
        + ("longer, take a smaller --beta, or scale the data up" if scalable else "longer, or take a smaller --beta")
    )


def _flat(model: Autoencoder, objective: Objective, held_out: Tensor | Batch) -> str | None:
    if not isinstance(objective, GRAE):
        return None
    told = flat_at_codes(*at_its_conditions(model, next(iter(held_out.split(SEEN)))), objective)
    return told and f"{told}; go on as a beta-vae (--init-from), or train with --objective beta-vae"
