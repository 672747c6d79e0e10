"""Whether data go with a configuration."""

from __future__ import annotations

from dataclasses import replace

import torch

from curvae.data import Dataset
from curvae.errors import InputError
from curvae.runs.build import network_of
from curvae.runs.config import RunConfig

_UNIT_INTERVAL = ("bernoulli", "bernoulli-logits", "continuous-bernoulli")
_COUNTS = ("poisson", "negative-binomial")


def choose_network(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The configuration with a network: one that was left to the data is chosen, see ``build.network_of``.

    Raises:
        InputError: the paper's networks are not made for these data.

    Example:
        >>> data = Dataset("toy", torch.rand(9, 3), torch.rand(2, 3), {})
        >>> choose_network(RunConfig(data="toy", network="auto"), data).network
        'mlp'
    """
    resizable = dataset.train.dtype == torch.uint8
    return replace(config, network=network_of(config, dataset.shape, resizable))


def check_data(config: RunConfig, dataset: Dataset) -> None:
    """Refuse data that the configuration cannot be trained on.

    Raises:
        InputError: too few data for a batch, or values that the observation model cannot have made.

    Example:
        >>> data = Dataset("toy", torch.rand(9, 3), torch.rand(2, 3), {})
        >>> check_data(RunConfig(data="toy", network="mlp", batch_size=4, likelihood="poisson"), data)
        Traceback (most recent call last):
        curvae.errors.InputError: likelihood is poisson but toy has values that are no counts 0, 1, 2, …
    """
    config = choose_network(config, dataset)
    if config.batch_size > len(dataset.train):
        raise InputError(
            f"batch_size is {config.batch_size} but {dataset.name} has only {len(dataset.train)} training data"
        )
    if config.network == "paper" and config.batch_size < 2:
        raise InputError("batch_size is 1 but the paper's networks normalise over the batch; expected at least 2")
    kind = config.likelihood.partition(":")[0]
    if dataset.train.dtype == torch.uint8:
        if kind in _COUNTS:
            raise InputError(
                f"likelihood is {config.likelihood} but {dataset.name} holds pixels; give counts as floating-point data"
            )
        return  # pixels become numbers in [0, 1], which every other model takes
    for values in (dataset.train, dataset.test):
        if kind in _UNIT_INTERVAL and not bool(((values >= 0) & (values <= 1)).all()):
            raise InputError(f"likelihood is {config.likelihood} but {dataset.name} has values outside [0, 1]")
        if kind in _COUNTS and not bool(((values >= 0) & (values == values.floor())).all()):
            raise InputError(
                f"likelihood is {config.likelihood} but {dataset.name} has values that are no counts 0, 1, 2, …"
            )
