"""Whether data go with a configuration: looked at once, before training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from curvae._checks import some
from curvae._typing import Tensor
from curvae.data import Dataset, as_float
from curvae.data.given import peeked
from curvae.data.samples import Samples
from curvae.errors import InputError
from curvae.likelihoods import Gaussian, Likelihood
from curvae.likelihoods.values import check_unit_interval
from curvae.runs.build import ends_in_sigmoid, network_of
from curvae.runs.config import RunConfig
from curvae.runs.fields import PYTHON
from curvae.runs.mixed import bare, check_kinds, columns_of, is_mixed, resolved, told
from curvae.runs.parts import build_likelihood

_UNIT_INTERVAL = ("bernoulli", "bernoulli-logits", "continuous-bernoulli")
_COUNTS = ("poisson", "negative-binomial")
# of pixels: a set that uses less of their range is likely to mean something else by white
_DIM = 0.25
# root mean square of a feature, from which on networks that are initialised for standardised data see too much of it
_LARGE = 10.0
# enough data to see a scale
_SEEN = 500
# of samples in memory as floating-point numbers
_AT_ONCE = 5000


def choose_network(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The configuration with what the data say: network and kinds of columns where left to them, a condition's size.

    Raises:
        InputError: the paper's networks are not made for these data.

    Example:
        >>> data = Dataset("toy", torch.rand(9, 3), torch.rand(2, 3), {})
        >>> choose_network(RunConfig(data="toy", network="auto"), data).network
        'mlp'
    """
    if dataset.coding is not None:
        config = replace(config, condition_size=dataset.coding.size)
    if is_mixed(config.likelihood):
        config = replace(config, likelihood=resolved(config.likelihood, dataset))
    if config.model:
        return config
    resizable = dataset.train.dtype == torch.uint8
    return replace(config, network=network_of(config, dataset.shape, resizable))


def check_data(config: RunConfig, dataset: Dataset, likelihood: Likelihood | None = None) -> None:
    """Refuse data that the configuration cannot be trained on; all are looked at unless they are read one by one.

    The observation model is given where it is one that the configuration does not name.

    Raises:
        InputError: too few data for a batch, or values that the decoder cannot give or the observation model cannot
            have made.

    Example:
        >>> data = Dataset("toy", torch.rand(9, 3), torch.rand(2, 3), {})
        >>> check_data(RunConfig(data="toy", network="mlp", batch_size=4, likelihood="poisson"), data)
        Traceback (most recent call last):
        curvae.errors.InputError: toy: the data have ..., but Poisson() is for counts 0, 1, 2, …; ...
    """
    config = choose_network(config, dataset)
    if config.batch_size * config.accumulate > len(dataset.train):
        times = f" and accumulate {config.accumulate}" if config.accumulate > 1 else ""
        raise InputError(
            f"batch_size is {config.batch_size}{times} but {dataset.name} has only "
            f"{len(dataset.train)} training samples; take a smaller batch_size"
        )
    if config.devices > config.batch_size:
        raise InputError(
            f"batch_size is {config.batch_size} but devices is {config.devices}; expected at least one sample of each "
            "batch for each device"
        )
    dataset = peeked(dataset)
    if config.network == "paper" and config.batch_size < 2:
        raise InputError("batch_size is 1 but the paper's networks normalise over the batch; expected at least 2")
    counts = bare(config.likelihood).partition(":")[0] in _COUNTS
    if is_mixed(config.likelihood):
        check_kinds(config.likelihood, dataset)
    if config.likelihood != PYTHON:
        likelihood = build_likelihood(config.likelihood)
        if dataset.train.dtype == torch.uint8:
            if counts:
                raise InputError(
                    f"likelihood is {config.likelihood} but {dataset.name} holds pixels; give counts as floating-point "
                    "data"
                )
            return  # pixels become numbers in [0, 1], which every other model takes
    ends = ends_in_sigmoid(config) and not counts
    sigmoid = f"network {config.network}, whose decoder ends in a sigmoid," if ends else None
    try:
        for x in _parts(dataset):
            if likelihood is not None:
                likelihood.check(x)
            if sigmoid is not None:
                check_unit_interval(sigmoid, x, instead="network mlp or linear")
    except InputError as error:
        raise InputError(f"{dataset.name}: {error}") from None


def _parts(dataset: Dataset) -> Iterator[Tensor]:
    """All the data, some thousands of samples at a time."""
    for half in (dataset.train, dataset.test):
        for start in range(0, len(half), _AT_ONCE):
            yield as_float(half[start : start + _AT_ONCE])


def remarks(config: RunConfig, dataset: Dataset) -> list[str]:
    """What can be trained on but is likely to be meant otherwise; a line for each thing found, with what to do.

    Example:
        >>> data = Dataset("toy", 1000 * torch.randn(9, 3), torch.rand(2, 3), {})
        >>> remarks(RunConfig(data="toy", network="mlp"), data)[0]
        'toy has features of root mean square up to ...; standardise them, for example (x - mean) / std of each'
    """
    empty = _empty(dataset)
    dataset = peeked(dataset)
    found, spread = [*_taken(config, dataset), *empty, *_stored(dataset)], _Spread.of(dataset)
    pixels = dataset.train.dtype == torch.uint8
    unit_interval = bare(config.likelihood).partition(":")[0] in _UNIT_INTERVAL or ends_in_sigmoid(config)
    if (pixels or unit_interval) and 0 < spread.high <= _DIM:
        of = f" (bytes up to {round(255 * spread.high)} of 255)" if pixels else ""
        found.append(
            f"{dataset.name} uses no more than {spread.high:.3g} of the values from 0 to 1{of}; if its white is less "
            "than that of pixels, scale the data by it"
        )
    standardised = is_mixed(config.likelihood) and not config.model
    if not pixels and spread.large and not standardised:
        found.append(f"{spread.told}; {spread.cure(config)}")
    likelihood = None if config.likelihood == PYTHON else build_likelihood(bare(config.likelihood))
    # a linear decoder uses a direction where the data's variance is more than this (probabilistic PCA)
    cost = config.beta * likelihood.sigma**2 if isinstance(likelihood, Gaussian) else 0.0
    if spread.variance < cost and config.objective != "rae" and not (config.encoder_weight or config.decoder_weight):
        found.append(
            f"{dataset.name} has variances of {spread.variance:.3g} in sum, less than β σ² = {cost:.3g}, below which "
            "no latent is worth its cost; scale the data up, or take a smaller gaussian:SIGMA or --beta"
        )
    return found


def has_scaled_latents(config: RunConfig) -> bool:
    """Whether the objective's prior gives the latents a scale, by which one says which of them are in use.

    Example:
        >>> [has_scaled_latents(RunConfig(data="toy", objective=name)) for name in ("grae", "rae")]
        [True, False]
    """
    scaled = config.objective in ("beta-vae", "taylor", "grae")
    return scaled and config.encoder_weight is None and config.decoder_weight is None


def cure(dataset: Dataset, config: RunConfig, otherwise: str = "lower --lr or raise --beta") -> str:
    """What to do where training on these data diverges; ``otherwise`` if it is not their scale.

    Example:
        >>> cure(Dataset("toy", torch.rand(9, 3), torch.rand(2, 3), {}), RunConfig(data="toy"))
        'lower --lr or raise --beta'
    """
    spread = _Spread.of(peeked(dataset))
    return f"{spread.told}: {spread.cure(config)}" if spread.large else otherwise


@dataclass(frozen=True)
class _Spread:
    """The scale of some training data, as a model sees them."""

    name: str
    high: float  # the largest value
    size: float  # the largest root mean square of a feature
    variance: float  # of all features, in sum
    counts: bool  # whether they are whole numbers ≥ 0

    @classmethod
    def of(cls, dataset: Dataset) -> _Spread:
        chosen = torch.arange(min(_SEEN, len(dataset.train))) * len(dataset.train) // min(_SEEN, len(dataset.train))
        x = as_float(dataset.train[chosen]).double().flatten(1)
        counts = bool((x.isnan() | (x >= 0) & (x == x.floor())).all())
        x = x.where(~x.isnan(), x.nanmean(0).nan_to_num(0))
        high, size = float(x.max()), float(x.square().mean(0).max().sqrt())
        return cls(dataset.name, high, size, float(x.var(0, correction=0).sum()), counts)

    @property
    def large(self) -> bool:
        """Whether the data are far from the scale that networks are made for."""
        return self.size > _LARGE

    @property
    def told(self) -> str:
        """In words."""
        return f"{self.name} has features of root mean square up to {self.size:.3g}"

    def cure(self, config: RunConfig) -> str:
        """What to do about a large scale; an observation model of counts takes nothing but counts."""
        if self.counts and bare(config.likelihood).partition(":")[0] in (*_COUNTS, PYTHON):
            if config.model:
                return "let the encoder take logarithms of them, log(1 + x)"
            return "--likelihood mixed shows the networks logarithms of counts, and learns a dispersion for each column"
        logarithm = "take logarithms of counts, log(1 + x), or " if self.counts else ""
        return f"{logarithm}standardise them, for example (x - mean) / std of each"


def _taken(config: RunConfig, dataset: Dataset) -> list[str]:
    """What conditions, columns and gaps were taken for."""
    found = [] if dataset.coding is None else [f"the networks are told {dataset.coding.told()}"]
    if is_mixed(config.likelihood):
        found.append(told(config.likelihood, dataset))
    halves = [half[:] for half in (dataset.train, dataset.test) if half.dtype != torch.uint8]
    gaps, count = sum(int(half.isnan().sum()) for half in halves), sum(half.numel() for half in halves)
    if gaps:
        found.append(
            f"{gaps} of {count} values ({100 * gaps / count:.2g} %) are missing; the likelihood leaves them out, and "
            f"the {'model' if config.model else 'encoder'} is given {'NaN' if config.model else 'where they are'}"
        )
    return found


def _empty(dataset: Dataset) -> list[str]:
    """Columns of which no training sample has a value; samples that are read one by one are not asked."""
    if isinstance(dataset.train, Samples) or len(dataset.shape) != 1:
        return []
    gone = dataset.train.isnan().all(0).tolist()
    names = [repr(name) for name, one in zip(columns_of(dataset), gone, strict=True) if one]
    told = f"no training sample of {dataset.name} has a value in {some(names, 6)}, of which nothing is learned"
    return [f"{told}; leave it out" if len(names) == 1 else f"{told}; leave them out"] if names else []


def _stored(dataset: Dataset) -> list[str]:
    """How stored whole numbers became values."""
    if dataset.white is None:
        return []
    found = []
    if dataset.white == 1:
        found.append(f"{dataset.name} holds bytes of 0 and 1: taken as masks, 0 and 1, and not as pixels up to 255")
    elif dataset.white not in (255, 65_535):
        found.append(f"{dataset.name} has images of 16 bits that use fewer: {dataset.white} is taken as white, 1")
    if len(dataset.shape) == 1 and dataset.white != 1:
        found.append(
            f"{dataset.name} holds bytes, which are pixels and divided by 255; save features or counts as float32"
        )
    return found
