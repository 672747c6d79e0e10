"""Whether the latents of a trained model say anything of the data."""

from __future__ import annotations

import torch

from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.metrics import active_units
from curvae.runs import RunConfig
from curvae.runs.checks import has_scaled_latents
from curvae.runs.lines import HELD_OUT
from curvae.runs.mixed import bare
from curvae.training.trial import typed

# before that nobody expects anything of a model
_EARLY = 100
# fewer held-out samples may happen to be alike
_FEW = 5
# of numbers of any scale, with a noise of a fixed one
_SCALABLE = ("gaussian", "laplace", "student-t")


def remark(model: Autoencoder, dataset: Dataset, config: RunConfig) -> str | None:
    """What to do where no latent is in use; None where one is, or where the latents have no scale to tell by.

    Args:
        model: at the end of its training.
        dataset: whose held-out half is encoded.
        config: of the run.

    Example:
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2)
        >>> data = Dataset("toy", torch.zeros(9, 3), torch.zeros(20, 3), {})
        >>> remark(model, data, RunConfig(data="toy", network="mlp"))
        "no latent is in use: the codes of held-out data are all the same, to 1 % of the prior...
    """
    if not has_scaled_latents(config) or config.steps < _EARLY or len(dataset.test) < _FEW:
        return None
    held_out = typed(dataset.half(test=True)[:HELD_OUT], config)
    if active_units(model, iter(held_out.split(100))).count:
        return None
    kind, _, scale = bare(config.likelihood).partition(":")
    scalable = kind in _SCALABLE and scale != "learned" and dataset.train.dtype != torch.uint8
    return (
        "no latent is in use: the codes of held-out data are all the same, to 1 % of the prior's variance; train "
        + ("longer, take a smaller --beta, or scale the data up" if scalable else "longer, or take a smaller --beta")
    )
