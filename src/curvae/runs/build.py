"""From a configuration's strings to objects: here and nowhere else."""

from __future__ import annotations

import math

import torch
from torch import nn

from curvae import nn as networks
from curvae.autoencoder import Autoencoder
from curvae.curvature import Columns, Estimator, Exact
from curvae.data import Dataset
from curvae.errors import InputError
from curvae.likelihoods import Bernoulli, BernoulliLogits, Gaussian, Likelihood, Poisson
from curvae.objectives import GRAE, BetaVAE, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure
from curvae.runs.config import RunConfig

_HIDDEN = (512, 256)
_PAPER_SHAPE = (1, 28, 28)


def build_structure(text: str) -> Structure:
    """``"diagonal"``, ``"block:B"`` or ``"full"``.

    Raises:
        InputError: anything else.

    Example:
        >>> build_structure("block:2")
        BlockDiagonal(2)
    """
    if text == "diagonal":
        return Diagonal()
    if text == "full":
        return Full()
    if text.startswith("block:"):
        return BlockDiagonal(_count(text, "structure", "block:2"))
    raise InputError(f"structure is {text!r}; expected diagonal, block:B (for example block:2) or full")


def build_estimator(text: str) -> Estimator:
    """``"exact"`` or ``"columns:K"``.

    Raises:
        InputError: anything else.

    Example:
        >>> build_estimator("columns:1")
        Columns(1)
    """
    if text == "exact":
        return Exact()
    if text.startswith("columns:"):
        return Columns(_count(text, "estimator", "columns:1"))
    raise InputError(f"estimator is {text!r}; expected exact or columns:K (for example columns:1)")


def build_likelihood(text: str) -> Likelihood:
    """``"gaussian"``, ``"gaussian:SIGMA"``, ``"bernoulli"``, ``"bernoulli-logits"`` or ``"poisson"``.

    Raises:
        InputError: anything else.

    Example:
        >>> build_likelihood("gaussian:0.1")
        Gaussian(sigma=0.1)
    """
    if text.startswith("gaussian:"):
        return Gaussian(_sigma(text))
    plain = {"gaussian": Gaussian, "bernoulli": Bernoulli, "bernoulli-logits": BernoulliLogits, "poisson": Poisson}
    if text not in plain:
        raise InputError(
            f"likelihood is {text!r}; expected gaussian, gaussian:SIGMA, bernoulli, bernoulli-logits or poisson"
        )
    return plain[text]()


def build_objective(config: RunConfig) -> BetaVAE | Taylor | GRAE:
    """The objective of a run.

    Raises:
        InputError: a setting that the objective has no use for, or that does not go with another.

    Example:
        >>> objective = build_objective(RunConfig(data="mnist", objective="grae", estimator="columns:1", beta=0.4))
        >>> objective.beta, objective.structure, objective.estimator
        (0.4, Diagonal(), Columns(1))
    """
    likelihood = build_likelihood(config.likelihood)
    if config.objective != "beta-vae" and config.samples != 1:
        raise InputError(f"samples is {config.samples} but {config.objective} draws none; leave it at 1")
    if config.objective == "grae":
        structure, estimator = build_structure(config.structure), build_estimator(config.estimator)
        return GRAE(config.beta, likelihood, structure, estimator, config.encoder_weight, config.decoder_weight)
    for name, default in (("estimator", "exact"), ("encoder_weight", None), ("decoder_weight", None)):
        if getattr(config, name) != default:
            raise InputError(f"{name} is {getattr(config, name)} but only the objective grae has one; leave it out")
    if config.objective == "beta-vae":
        return BetaVAE(config.beta, likelihood, config.samples)
    return Taylor(config.beta, likelihood)


def build_model(config: RunConfig, shape: tuple[int, ...]) -> Autoencoder:
    """The autoencoder of a run, initialised from its seed; PyTorch's global generator stays as it was.

    For ``"grae"`` the encoder is deterministic (the structure belongs to the objective); for ``"beta-vae"`` and
    ``"taylor"`` the model has a posterior of the run's structure.

    Args:
        config: the run's.
        shape: of one datum.

    Returns:
        The model on the CPU, float64 for precision ``"64"`` and float32 else.

    Raises:
        InputError: the settings do not go with each other or with the data's shape.

    Example:
        >>> build_model(RunConfig(data="toy.npy", network="mlp", latents=2), (5,)).encode(torch.zeros(3, 5)).shape
        torch.Size([3, 2])
    """
    structure = build_structure(config.structure)
    outputs = math.prod(shape)
    if config.latents > outputs:
        raise InputError(f"latents is {config.latents} but a datum has only {outputs} numbers; expected at most those")
    if isinstance(structure, BlockDiagonal) and structure.size > config.latents:
        raise InputError(f"structure is {config.structure} but there are only {config.latents} latents")
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed, which would also reseed every GPU
        torch.default_generator.manual_seed(config.seed)
        encoder, decoder = _networks(config, shape)
        model = Autoencoder(encoder, decoder, config.latents, None if config.objective == "grae" else structure)
    return model.double() if config.precision == "64" else model


def check_data(config: RunConfig, dataset: Dataset) -> None:
    """Refuse data that the configuration cannot be trained on.

    Raises:
        InputError: too few data for a batch, or values that the observation model cannot have made.
    """
    if config.batch_size > len(dataset.train):
        raise InputError(
            f"batch_size is {config.batch_size} but {dataset.name} has only {len(dataset.train)} training data"
        )
    if config.network == "paper" and config.batch_size < 2:
        raise InputError("batch_size is 1 but the paper's networks normalise over the batch; expected at least 2")
    if dataset.train.dtype == torch.uint8:
        if config.likelihood == "poisson":
            raise InputError(
                f"likelihood is poisson but {dataset.name} holds pixels; give counts as floating-point data"
            )
        return  # pixels become numbers in [0, 1], which every other model takes
    for values in (dataset.train, dataset.test):
        if config.likelihood.startswith("bernoulli") and not bool(((values >= 0) & (values <= 1)).all()):
            raise InputError(f"likelihood is {config.likelihood} but {dataset.name} has values outside [0, 1]")
        if config.likelihood == "poisson" and not bool(((values >= 0) & (values == values.floor())).all()):
            raise InputError(f"likelihood is poisson but {dataset.name} has values that are no counts 0, 1, 2, …")


def _networks(config: RunConfig, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    if config.network == "linear":
        if config.likelihood == "bernoulli":
            raise InputError(
                "likelihood is bernoulli but a linear decoder gives no probabilities; use bernoulli-logits"
            )
        return networks.linear_encoder(shape, config.latents), networks.linear_decoder(config.latents, shape)
    encoder, decoder = _paper(config, shape) if config.network == "paper" else _mlp(config, shape)
    if encoder.out_features == config.latents:
        # the autoencoder would take the features, which an activation has bounded, for the means
        raise InputError(f"width {config.width} gives the encoder as many features as latents; choose another width")
    return encoder, decoder


def _paper(config: RunConfig, shape: tuple[int, ...]) -> tuple[networks.MNISTEncoder, nn.Module]:
    if shape != _PAPER_SHAPE:
        raise InputError(
            f"network is paper, which is made for data of shape {_PAPER_SHAPE}, but the data has {shape}; "
            "use mlp or linear"
        )
    # the paper ends in a sigmoid, but logits and log-rates may be any number
    sigmoid = config.likelihood not in ("bernoulli-logits", "poisson")
    return networks.MNISTEncoder(config.width), networks.MNISTDecoder(config.latents, config.width, sigmoid)


def _mlp(config: RunConfig, shape: tuple[int, ...]) -> tuple[networks.MLPEncoder, nn.Module]:
    hidden = [max(1, round(size * config.width)) for size in _HIDDEN]
    output = nn.Sigmoid() if config.likelihood == "bernoulli" else None
    decoder = networks.MLPDecoder(config.latents, shape, hidden[::-1], output=output)
    return networks.MLPEncoder(shape, hidden), decoder


def _count(text: str, name: str, example: str) -> int:
    number = text.partition(":")[2]
    if not (number.isascii() and number.isdigit()) or int(number) < 1:
        raise InputError(f"{name} is {text!r}; expected a whole number >= 1 after the colon, for example {example}")
    return int(number)


def _sigma(text: str) -> float:
    try:
        return float(text.partition(":")[2])
    except ValueError:
        raise InputError(
            f"likelihood is {text!r}; expected a number after the colon, for example gaussian:0.1"
        ) from None
