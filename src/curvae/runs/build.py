"""The model of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from curvae import memory
from curvae import nn as networks
from curvae.autoencoder import Autoencoder
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.nn.columns import Placed, Standardised
from curvae.posteriors import Banded, BlockDiagonal, Shared, Structure
from curvae.runs.config import RunConfig
from curvae.runs.fields import AUTO, PYTHON
from curvae.runs.mixed import MASKED, bare, is_mixed
from curvae.runs.parts import build_likelihood, build_structure
from curvae.runs.placing import counted

_HIDDEN = (512, 256)
_Make = Callable[[RunConfig, tuple[int, ...], tuple[int, ...]], tuple[nn.Module, nn.Module]]
_PAPER_SHAPES = ((1, 28, 28), (3, 64, 64), (1, 64, 64))
_PAPER = ("paper", "paper-no-norm")
DETERMINISTIC = ("grae", "rae")
"""Objectives whose encoder gives the mean alone."""
# what these models take of the decoder may be any number: logits, log-rates, log-means
_UNBOUNDED = ("bernoulli-logits", "continuous-bernoulli", "poisson", "negative-binomial")


def build_model(config: RunConfig, shape: tuple[int, ...]) -> Autoencoder:
    """The autoencoder of a run, initialised from its seed; PyTorch's global generator stays as it was.

    For ``"grae"`` and ``"rae"`` the encoder is deterministic (the structure belongs to the objective, or to the
    evaluation alone); for ``"beta-vae"`` and ``"taylor"`` the model has a posterior of the run's structure. An
    observation model that learns is a submodule, so that it is trained, saved and loaded with the rest.

    Args:
        config: the run's.
        shape: of one sample.

    Returns:
        The model on the CPU, float64 for precision ``"64"`` and float32 else.

    Raises:
        InputError: the settings do not go with each other or with the data's shape.

    Example:
        >>> build_model(RunConfig(data="toy.npy", network="mlp", latents=2), (5,)).encode(torch.zeros(3, 5)).shape
        torch.Size([3, 2])
    """
    config = replace(config, network=network_of(config, shape))
    check_buildable(config, shape)
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed, which would also reseed every GPU
        torch.default_generator.manual_seed(config.seed)
        model = _assembled(config, shape)
    likelihood = build_likelihood(config.likelihood)
    if isinstance(likelihood, nn.Module):
        model.add_module("likelihood", likelihood)
    return model.double() if config.precision == "64" else model


def network_of(config: RunConfig, shape: tuple[int, ...], resizable: bool = False) -> str:
    """The network of a run; ``"auto"`` is the paper's for shapes that it is made for, and ``"mlp"`` for no images.

    Raises:
        InputError: the network, or every network for images, is made for other shapes.

    Example:
        >>> config = RunConfig(data="toy.npy", network="auto")
        >>> network_of(config, (5,)), network_of(config, (1, 28, 28))
        ('mlp', 'paper')
    """
    if config.model or config.network not in (AUTO, *_PAPER):
        return config.network
    if shape in _PAPER_SHAPES:
        return _PAPER[0] if config.network == AUTO else config.network
    is_image = len(shape) == 3 and shape[0] in (1, 3)
    if config.network == AUTO and not is_image:
        return "mlp"
    chosen = f"network is {config.network}, which is"
    who = "no network was chosen and the paper's are" if config.network == AUTO else chosen
    size = f"--size {'28 or 64' if shape[0] == 1 else 64}, or " if is_image and resizable else ""
    raise InputError(
        f"{who} made for data of shape {' or '.join(map(str, _PAPER_SHAPES))}, but the data has {shape}; use {size}"
        "--network mlp or linear (of a figure --set)"
    )


def check_buildable(config: RunConfig, shape: tuple[int, ...]) -> None:
    """Refuse what :func:`build_model` cannot build, before any of its memory is taken.

    Raises:
        InputError: the settings do not go with each other or with the data's shape, or the networks are too large.

    Example:
        >>> check_buildable(RunConfig(data="toy.npy", network="mlp", latents=2, width=1000.0), (5,))
        Traceback (most recent call last):
        curvae.errors.InputError: width is 1000.0, which makes networks of 262 billion weights; training takes ...
    """
    config = replace(config, network=network_of(config, shape))
    outputs = math.prod(shape)
    if config.latents > outputs:
        raise InputError(
            f"latents is {config.latents} but a sample has only {outputs} numbers; expected at most that many"
        )
    if not config.objective == config.structure == PYTHON:  # else it is that of an object
        structure = build_structure(config.structure)
        if _reach(structure) > config.latents:
            raise InputError(f"structure is {config.structure} but there are only {config.latents} latents")
        structure.num_parameters(config.latents)  # of latents with axes it is for one number of them
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        weights = sum(weight.numel() for weight in _assembled(config, shape).parameters())
    # each weight has a gradient and Adam's two averages
    needed = 4 * weights * (8 if config.precision == "64" else 4)
    if needed > memory.total():
        raise InputError(
            f"width is {config.width}, which makes networks of {weights / 1e9:.3g} billion weights; training takes "
            f"{needed / 2**30:.3g} GB and this machine has {memory.total() / 2**30:.3g} GB: use a smaller width"
        )


def likelihood_of(config: RunConfig, model: Autoencoder) -> Likelihood:
    """The observation model of a run: the one that its model has learned, or the configuration's.

    Args:
        config: the run's.
        model: made by :func:`build_model` or loaded.

    Example:
        >>> config = RunConfig(data="toy.npy", network="mlp", latents=2, likelihood="gaussian:learned")
        >>> likelihood_of(config, build_model(config, (5,)))
        LearnedGaussian(sigma=1)
    """
    own = dict(model.named_children()).get("likelihood")
    return own if isinstance(own, Likelihood) else build_likelihood(config.likelihood)


def ends_in_sigmoid(config: RunConfig) -> bool:
    """Whether a run's decoder gives values in (0, 1) alone: the paper's own networks do, for most observation models.

    Example:
        >>> [ends_in_sigmoid(RunConfig(data="toy", network=name)) for name in ("paper", "mlp")]
        [True, False]
    """
    if config.model:
        return False
    if config.network in _PAPER:
        return bare(config.likelihood).partition(":")[0] not in _UNBOUNDED
    return config.network == "mlp" and bare(config.likelihood) == "bernoulli"


def _reach(structure: Structure) -> int:
    """How many latents a structure needs to be what its name says."""
    match structure:
        case Shared():
            return _reach(structure.structure)
        case BlockDiagonal():
            return structure.size
        case Banded():
            return structure.bandwidth + 1
    return 1


def structure_to_build(config: RunConfig) -> Structure | None:
    """That of the posterior which a run's model is built with; None is a model without one.

    A structure that was handed over is that of an objective, which optimises the posterior away, or one that a model
    of one's own brings.

    Example:
        >>> structure_to_build(RunConfig(data="toy", objective="beta-vae", structure="block:2"))
        BlockDiagonal(2)
    """
    deterministic = config.objective in DETERMINISTIC or config.structure == PYTHON
    return None if deterministic else build_structure(config.structure)


def _assembled(config: RunConfig, shape: tuple[int, ...]) -> Autoencoder:
    structure = structure_to_build(config)
    conditional = config.condition_size > 0
    encoder, decoder = _of_columns(config, shape, _conditional if conditional else _networks)
    if config.network != "linear" and encoder.out_features == config.latents:
        # the autoencoder would take the features, which an activation has bounded, for the means
        raise InputError(f"width {config.width} gives the encoder as many features as latents; choose another width")
    return Autoencoder(encoder, decoder, config.latents, structure, condition="both" if conditional else None)


def _of_columns(config: RunConfig, shape: tuple[int, ...], make: _Make) -> tuple[nn.Module, nn.Module]:
    """Networks that know of gaps in the data, and of mixed columns with scales of their own."""
    masked = config.likelihood.startswith(MASKED)
    if masked and config.network in _PAPER:
        raise InputError(
            f"likelihood is {config.likelihood} but network is {config.network}, which cannot be told what is missing; "
            "use --network mlp or linear"
        )
    encoder, decoder = make(config, shape, (2 * math.prod(shape),) if masked else shape)
    if masked:
        encoder = networks.Observed(encoder)
    if is_mixed(config.likelihood):
        counts = counted(build_likelihood(config.likelihood), math.prod(shape))
        encoder, decoder = Standardised(encoder, counts), Placed(decoder, math.prod(shape))
    return encoder, decoder


def _conditional(config: RunConfig, shape: tuple[int, ...], seen: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """The same networks with a condition beside the latents, and beside the data or the features of convolutions."""
    size = config.condition_size
    wider = replace(config, latents=config.latents + size)
    _, decoder = _networks(wider, shape, seen)
    if config.network in _PAPER:
        encoder, _ = _networks(config, shape, seen)
        return networks.Beside(encoder, "features", size), networks.Beside(decoder)
    flat = (math.prod(seen) + size,)
    if config.network == "linear":
        return networks.Beside(networks.linear_encoder(flat, config.latents)), networks.Beside(decoder)
    encoder, _ = _networks(config, flat, flat)
    return networks.Beside(encoder), networks.Beside(decoder)


def _networks(config: RunConfig, shape: tuple[int, ...], seen: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder: of what the encoder sees, and of a sample."""
    if config.network == "linear":
        if bare(config.likelihood) == "bernoulli":
            raise InputError(
                "likelihood is bernoulli but a linear decoder gives no probabilities; use bernoulli-logits"
            )
        return networks.linear_encoder(seen, config.latents), networks.linear_decoder(config.latents, shape)
    return _paper(config, shape) if config.network in _PAPER else _mlp(config, shape, seen)


def _paper(
    config: RunConfig, shape: tuple[int, ...]
) -> tuple[networks.MNISTEncoder | networks.CelebAEncoder, nn.Module]:
    width, latents = config.width, config.latents
    sigmoid = ends_in_sigmoid(config)
    normalise = config.network == _PAPER[0]
    if shape == _PAPER_SHAPES[0]:
        return networks.MNISTEncoder(width, normalise), networks.MNISTDecoder(latents, width, sigmoid, normalise)
    encoder = networks.CelebAEncoder(width, shape[0], normalise)
    return encoder, networks.CelebADecoder(latents, width, sigmoid, shape[0], normalise)


def _mlp(config: RunConfig, shape: tuple[int, ...], seen: tuple[int, ...]) -> tuple[networks.MLPEncoder, nn.Module]:
    hidden = [max(1, round(size * config.width)) for size in _HIDDEN]
    output = nn.Sigmoid() if ends_in_sigmoid(config) else None
    decoder = networks.MLPDecoder(config.latents, shape, hidden[::-1], output=output)
    return networks.MLPEncoder(seen, hidden), decoder
