"""What all models of a sweep have in common, and how a person changes a scale's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from curvae.errors import InputError
from curvae.runs import RunConfig

# the paper's ten values, for figure 3, figure 4 and table 1
BETAS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
# an ordinary autoencoder has no β; its runs carry this one, so that all experiments share them
_NO_BETA = 1.0


@dataclass(frozen=True)
class TrainingSettings:
    """What all models of an experiment have in common.

    Attributes:
        steps: optimiser steps; the paper's are 20,000 for MNIST and 50,000 for CelebA.
        width: factor on the paper's networks; 1 is the paper's.
        seeds: one model of each kind for each; initial weights, order of the data and noise.
        data: what :func:`curvae.data.load` takes.
        network: ``"paper"``, or another of :class:`~curvae.runs.RunConfig` for data of another shape.
        batch_size: data of one step (the paper does not say).
        lr: Adam's learning rate (the paper does not say).
        schedule: of the learning rate, ``"constant"`` or ``"cosine"``.
        precision: ``"32"`` or ``"bf16"``.
        device: ``"auto"`` takes a GPU where there is one.
        size: side in pixels that images are brought to; 0 keeps the data's own.
        damaged: ``"stop"`` at images that cannot be read, or ``"skip"`` them.
    """

    steps: int
    width: float
    seeds: tuple[int, ...]
    data: str = "mnist"
    network: str = "paper"
    batch_size: int = 64
    lr: float = 1e-3
    schedule: str = "constant"
    precision: str = "32"
    device: str = "auto"
    size: int = 0
    damaged: str = "stop"

    def run(self, seed: int, **choices: Any) -> RunConfig:
        """One model's configuration.

        Example:
            >>> run = TrainingSettings(600, 0.125, seeds=(0,)).run(0, objective="beta-vae", structure="block:2")
            >>> run.steps, run.structure, run.likelihood
            (600, 'block:2', 'gaussian')
        """
        shared = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "seeds"}
        every = min(1000, max(1, self.steps // 4))
        shared["size"] = self.size or None
        return RunConfig.from_json({**shared, "seed": seed, "checkpoint_every": every, **choices})

    def beta_vae(self, seed: int, beta: float, latents: int, block: int) -> RunConfig:
        """A β-VAE with blocks of a size; 1 is a diagonal Σ."""
        structure = "diagonal" if block == 1 else f"block:{block}"
        return self.run(seed, objective="beta-vae", structure=structure, beta=beta, latents=latents)

    def autoencoder(self, seed: int, latents: int) -> RunConfig:
        """An ordinary autoencoder: a GRAE whose two regularisers have weight 0, which leaves ½‖x − g(h(x))‖²."""
        nothing = {"encoder_weight": 0.0, "decoder_weight": 0.0, "estimator": "columns:1"}
        return self.run(seed, objective="grae", beta=_NO_BETA, latents=latents, **nothing)


@runtime_checkable
class Configuration(Protocol):
    """A frozen dataclass of a figure's settings, one of which is the training."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def training(self) -> TrainingSettings:
        """Of every model."""


AnyConfig = TypeVar("AnyConfig", bound=Configuration)

# every other whole number counts something of which there has to be one
_MAY_BE_ZERO = ("seeds", "size")
# images, resamples and the like: beyond it a person has mistyped; the configuration of a run bounds the others
_LARGEST = 10**6
_MAY_BE_LARGE = ("seeds", "steps")


def overridden(config: AnyConfig, changes: Mapping[str, str]) -> AnyConfig:
    """A configuration with some fields changed, its own or those of its training, from text as a person types it.

    Raises:
        InputError: no such field, or a text that is not of its kind.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Points:
        ...     training: TrainingSettings
        ...     points: int
        >>> config = Points(TrainingSettings(600, 0.125, seeds=(0,)), points=100)
        >>> changed = overridden(config, {"width": "0.25", "seeds": "0,1", "points": "50"})
        >>> changed.training.width, changed.training.seeds, changed.points
        (0.25, (0, 1), 50)
    """
    inner, outer = vars(config.training), {key: value for key, value in vars(config).items() if _can_be_said(value)}
    for name in changes:
        if name not in inner and name not in outer:
            raise InputError(f"--set {name} is not known here; expected one of {', '.join((*inner, *outer))}")
    training = {name: _read(name, inner[name], text) for name, text in changes.items() if name in inner}
    own: dict[str, Any] = {name: _read(name, outer[name], text) for name, text in changes.items() if name in outer}
    return replace(config, training=replace(config.training, **training), **own)


def _can_be_said(value: Any) -> bool:
    """Whether a line of text can say such a value: numbers, texts, and what reads itself."""
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, int | float | str) or hasattr(part, "read") for part in parts)


def _read(name: str, old: Any, text: str) -> Any:
    """``text`` in the type of the value that it replaces."""
    kind: type[Any] = type(old[0]) if isinstance(old, tuple) else type(old)
    read: Callable[[str], Any] = getattr(kind, "read", kind)
    try:
        value = tuple(map(read, text.split(","))) if isinstance(old, tuple) else read(text)
    except ValueError:
        expected = f"{kind.__name__}s with commas" if isinstance(old, tuple) else kind.__name__
        if read is not kind:
            expected = f"each as {kind.form}, like {','.join(map(str, old))}"
        raise InputError(f"--set {name} is {text!r}; expected {expected}") from None
    numbers, least = value if isinstance(value, tuple) else (value,), int(name not in _MAY_BE_ZERO)
    if len(set(numbers)) < len(numbers):
        raise InputError(f"--set {name} is {text!r}; expected each {name.removesuffix('s')} once")
    if any(isinstance(number, int) and number < least for number in numbers):
        raise InputError(f"--set {name} is {text!r}; expected no number below {least}")
    if name not in _MAY_BE_LARGE and any(isinstance(number, int) and number > _LARGEST for number in numbers):
        raise InputError(f"--set {name} is {text!r}; expected no number above {_LARGEST}")
    return value
