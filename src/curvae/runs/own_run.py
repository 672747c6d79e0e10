"""A model of one's own in a run: made by its builder, and held against what the run says of it."""

from __future__ import annotations

import sys
from collections.abc import Collection
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from curvae._checks import a_kind
from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.posteriors import Along, Banded, BlockDiagonal, Diagonal, Full, Shared, Structure
from curvae.runs.build import DETERMINISTIC, build_model, structure_to_build
from curvae.runs.builder import find_builder, name_of, own_code
from curvae.runs.config import RunConfig
from curvae.runs.fields import PYTHON
from curvae.runs.own import Build, build_own
from curvae.runs.parts import build_likelihood, build_structure
from curvae.runs.settings import has_default, takes

_NAMED = (Shared, BlockDiagonal, Banded, Along, Diagonal, Full)


def build_for_run(
    build: Build, config: RunConfig, shape: tuple[int, ...], free: Collection[str] = ()
) -> tuple[Autoencoder, RunConfig]:
    """The model that a builder makes for a run, initialised from the run's seed, and the run as the model has it.

    The builder is given the shape of a sample, the run's settings for it, and of ``latents``, ``structure`` (None for
    the objectives whose encoder is deterministic) and ``likelihood`` those that it has parameters for, and the size of
    a condition as ``conditions``. Of ``"latents"`` and ``"structure"`` the model decides those that nobody chose, which
    are ``free``.

    Returns:
        The model on the CPU, in the run's precision, and the configuration with the model's latents and structure.

    Raises:
        InputError: a setting that the builder does not take, an error that it raises, or a model that is no
            ``Autoencoder`` or is another than the run says.

    Example:
        >>> def build(shape, width: int = 4):
        ...     return Autoencoder(nn.Linear(*shape, width), nn.Linear(3, *shape), latents=3)
        >>> config = RunConfig(data="toy.npy", model="toy.py:build", model_set={"width": "8"})
        >>> model, config = build_for_run(build, config, (5,), free=["latents"])
        >>> model.features, config.latents
        (8, 3)
    """
    name = name_of(build)
    code = own_code(getattr(build, "__module__", None) or name)
    with torch.random.fork_rng(devices=[]), code, redirect_stdout(sys.stderr):
        torch.default_generator.manual_seed(config.seed)
        model = build_own(build, shape, config.model_set, _options(build, config, free))
    if not any(weight.requires_grad for weight in model.parameters()):
        raise InputError(f"{name} returned a model without weights to train")
    _check_tensors(name, model)
    _check_likelihood(name, model, config)
    config = _with_structure(name, model, _with_latents(name, build, model, config, free), free)
    # what is trained is of one precision; a builder in float64 is one for a run in float64
    return model.to("cpu", torch.float64 if config.precision == "64" else torch.float32), config


def _options(build: Build, config: RunConfig, free: Collection[str]) -> dict[str, Any]:
    """What the builder has parameters for, of the run."""
    if isinstance(build, Autoencoder):
        return {}
    options: dict[str, Any] = {}
    if takes(build, "latents") and not ("latents" in free and has_default(build, "latents")):
        options["latents"] = config.latents
    own = config.structure == PYTHON != config.objective  # that of a posterior, which the builder brings
    if takes(build, "structure") and not (own and has_default(build, "structure")):
        options["structure"] = structure_to_build(config)
    if takes(build, "conditions"):
        options["conditions"] = config.condition_size
    if takes(build, "likelihood") and config.likelihood != PYTHON:
        options["likelihood"] = build_likelihood(config.likelihood)
    elif takes(build, "likelihood") and not has_default(build, "likelihood"):
        raise InputError(
            f"{name_of(build)} takes a likelihood, but that of the run was handed to curvae.fit and has no name in its "
            "folder; give a function that brings it, such as lambda shape: build(shape, likelihood=…)"
        )
    return options


def check_finite(model: Autoencoder) -> None:
    """See that a new model holds numbers, as one whose training has diverged does not.

    Raises:
        InputError: it does not; the line names the first tensor.

    Example:
        >>> model = Autoencoder(nn.Linear(5, 4), nn.Linear(2, 5), latents=2)
        >>> model.decoder.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        >>> check_finite(model)
        Traceback (most recent call last):
        curvae.errors.InputError: decoder.mask of the model has values that are not finite before any training; ...
    """
    for name, value in model.state_dict().items():
        if not is_lazy(value) and not bool(value.isfinite().all()):
            raise InputError(
                f"{name} of the model has values that are not finite before any training; a constant, such as a mask "
                "of -inf, is a buffer with persistent=False"
            )


def rebuilt(
    config: RunConfig,
    shape: tuple[int, ...],
    build: Build | None = None,
    trust: bool = False,
    folder: object = "it",
    weights: Collection[str] | None = None,
) -> Autoencoder:
    """The model of a run that is there, without its weights.

    ``build`` makes a model of one's own and is named by the caller; with ``trust`` the code that the configuration
    names is run in its place. ``weights`` are the names of those that the model is to be given, where they are known:
    they tell whether it has a posterior where the objective is one of one's own, which does not.

    Raises:
        InputError: the run has a model of one's own and the caller names none, or the other way round; or what
            ``build`` makes is another model than the run's.

    Example:
        >>> rebuilt(RunConfig(data="toy.npy", model="toy.py:build"), (5,), folder="runs/a")
        Traceback (most recent call last):
        curvae.errors.InputError: runs/a holds a model of one's own, made by 'toy.py:build', and no code is run ...
    """
    if not config.model:
        if build is not None:
            raise InputError(f"{folder} holds the network {config.network} and no model of one's own; leave model out")
        return build_model(config, shape)
    if build is None and trust and config.model != PYTHON:
        build = find_builder(config.model)
    if build is None:
        maker = "made in Python" if config.model == PYTHON else f"made by {config.model!r}"
        raise InputError(
            f"{folder} holds a model of one's own, {maker}, and no code is run because a file names it; name it again, "
            "with --model FILE.py:FUNCTION or curvae.load(…, model=function)"
            + ("" if config.model == PYTHON else ", or trust the folder with --trust or trust=True")
        )
    found = _built_again(build, config, shape)
    heads = [name for name in found.state_dict() if name.startswith("factor_head.")]
    if config.objective == PYTHON and weights is not None and heads and not set(heads) & set(weights):
        # the structure was that of the objective: the model had none
        found = _built_again(build, replace(config, structure=PYTHON), shape)
    return found


def _built_again(build: Build, config: RunConfig, shape: tuple[int, ...]) -> Autoencoder:
    """The model of a run, whose builder may have been left its own ``latents``: a shape, or a number of channels."""
    if not isinstance(build, Autoencoder) and takes(build, "latents") and has_default(build, "latents"):
        with suppress(InputError):
            found, told = build_for_run(build, config, shape, ["latents"])
            if told.latents == config.latents:
                return found
    return build_for_run(build, config, shape)[0]


def check_outputs(model: Model, x: Float[Tensor, "B *D"], alike: bool = True) -> None:
    """See that a model takes a few samples and decodes what it encodes of them; ``alike``: in their shape.

    Raises:
        InputError: it does not; an error of its own code is told with its line.

    Example:
        >>> model = Autoencoder(nn.Linear(5, 4), nn.Linear(2, 4), latents=2)
        >>> check_outputs(model, torch.zeros(3, 5))
        Traceback (most recent call last):
        curvae.errors.InputError: the model decodes to (4,), but a sample has the shape (5,); let its decoder end in ...
    """
    try:
        with own_code("the model"), torch.no_grad():
            shape = tuple(model.decode(model.encode(x)).shape[1:])
    except InputError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # of PyTorch's layers, with no line of one's own
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"the model cannot encode and decode samples of shape {tuple(x.shape[1:])} ({type(error).__name__}: "
            f"{said}); build its networks for that shape and for as many latents as it says"
        ) from error
    if alike and shape != tuple(x.shape[1:]):
        raise InputError(
            f"the model decodes to {shape}, but a sample has the shape {tuple(x.shape[1:])}; "
            "let its decoder end in that shape"
        )


def structure_name(structure: Structure) -> str:
    """What a run calls a structure: :func:`curvae.runs.build_structure` the other way round.

    Raises:
        InputError: it has no name.

    Example:
        >>> structure_name(Shared(BlockDiagonal(2)))
        'shared:block:2'
    """
    if type(structure) not in _NAMED:  # a class derived from one of them may be another structure
        raise InputError(
            f"the structure is {a_kind(structure)}, which has no name in a run; expected one of curvae.posteriors, and "
            "no class derived from it"
        )
    match structure:
        case Shared():
            return f"shared:{structure_name(structure.structure)}"
        case BlockDiagonal():
            return f"block:{structure.size}"
        case Banded():
            return f"banded:{structure.bandwidth}"
        case Along():
            return ":".join(map(str, ("along", structure.axis, *structure.shape)))
        case Diagonal():
            return "diagonal"
    return "full"


def name_or_python(structure: Structure) -> str:
    """The same, and ``"python"`` for a structure without a name.

    Example:
        >>> name_or_python(Full()), name_or_python(type("Mine", (Full,), {})())
        ('full', 'python')
    """
    with suppress(InputError):
        return structure_name(structure)
    return PYTHON


def _with_latents(name: str, build: Build, model: Autoencoder, config: RunConfig, free: Collection[str]) -> RunConfig:
    if model.latents == config.latents or "latents" in free:
        return replace(config, latents=model.latents)
    cure = (
        "use it"
        if not isinstance(build, Autoencoder) and takes(build, "latents")
        else f"give {name} a parameter latents, or leave the option out"
    )
    raise InputError(f"latents is {config.latents} but the model of {name} has {model.latents}; {cure}")


def _with_structure(name: str, model: Autoencoder, config: RunConfig, free: Collection[str]) -> RunConfig:
    if config.objective == PYTHON:  # whose needs nobody knows but itself
        return config
    if config.objective in DETERMINISTIC:
        if model.structure is not None:
            raise InputError(
                f"objective is {config.objective}, which trains the mean alone, but the model of {name} has a "
                f"posterior, {model.structure}, that would stay as it is initialised; build it without a structure"
                + " (a parameter structure of the function is None here)"
                * (config.model != PYTHON)
            )
        return config
    if model.structure is None:
        raise InputError(
            f"objective is {config.objective}, which needs a posterior, but the model of {name} has none; build it as "
            "Autoencoder(…, structure=Diagonal()), of curvae.posteriors (for --model the function may have a parameter "
            "structure)"
        )
    found, known = name_or_python(model.structure), config.structure
    if found not in (known, known if known == PYTHON else structure_name(build_structure(known))):
        if "structure" not in free:
            has = a_kind(model.structure) if found == PYTHON else found
            raise InputError(
                f"structure is {known} but the model of {name} has {has}; leave the option out, or give the function a "
                "parameter structure and use it"
            )
        return replace(config, structure=found)
    return config


def _check_likelihood(name: str, model: Autoencoder, config: RunConfig) -> None:
    """A learned observation model is a part of the model; one that the builder brings is that of the run."""
    if config.likelihood == PYTHON:  # handed over with its objective
        return
    given = build_likelihood(config.likelihood)
    own = dict(model.named_children()).get("likelihood")
    if not isinstance(own, Likelihood):
        if isinstance(given, nn.Module):
            model.add_module("likelihood", given)
    elif type(own) is not type(given):
        raise InputError(
            f"likelihood is {config.likelihood} but the model of {name} brings {own}; name that with --likelihood, or "
            "build the model without it"
        )


def _check_tensors(name: str, model: Autoencoder) -> None:
    """What a run folder can keep."""
    for key, value in model.state_dict().items():
        if not isinstance(value, Tensor) or value.is_complex() or value.is_quantized or value.layout != torch.strided:
            raise InputError(f"{key} in the model of {name} is not a plain tensor of numbers; a run cannot keep it")
