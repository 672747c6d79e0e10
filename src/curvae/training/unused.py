"""Whether the latents of a trained model say anything of the data."""

from __future__ import annotations

from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.metrics import active_units
from curvae.runs import RunConfig
from curvae.runs.lines import HELD_OUT
from curvae.training.trial import typed

# whose prior gives the latents a scale
_WITH_PRIOR = ("beta-vae", "taylor", "grae")
# before that nobody expects anything of a model
_EARLY = 100


def remark(model: Autoencoder, dataset: Dataset, config: RunConfig) -> str | None:
    """What to do where no latent is in use; None where one is, or where the latents have no scale to tell by.

    Args:
        model: at the end of its training.
        dataset: whose held-out half is encoded.
        config: of the run.

    Example:
        >>> import torch
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2)
        >>> data = Dataset("toy", torch.zeros(9, 3), torch.zeros(4, 3), {})
        >>> remark(model, data, RunConfig(data="toy", network="mlp"))
        "no latent is in use: the codes of held-out data are all the same, to 1 % of the prior...
    """
    scaled = config.objective in _WITH_PRIOR and config.encoder_weight is None and config.decoder_weight is None
    held_out = typed(dataset.half(test=True)[:HELD_OUT], config)
    if not scaled or config.steps < _EARLY or len(dataset.test) < 2:
        return None
    if active_units(model, iter(held_out.split(100))).count:
        return None
    return (
        "no latent is in use: the codes of held-out data are all the same, to 1 % of the prior's variance; train "
        "longer, take a smaller --beta, or scale the data up"
    )
