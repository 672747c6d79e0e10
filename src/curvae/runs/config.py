"""What a training run is made of: plain values, JSON both ways, checked before anything is built."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curvae._checks import shown
from curvae.data.loading import DAMAGED
from curvae.errors import InputError
from curvae.runs.schema import is_number

OBJECTIVES = ("beta-vae", "taylor", "grae", "rae")
CURVATURES = ("gauss-newton", "hessian")
AUTO = "auto"
NETWORKS = (AUTO, "paper", "paper-no-norm", "mlp", "linear")
PRECISIONS = ("32", "bf16", "64")
SCHEDULES = ("constant", "cosine")
DEVICES = ("auto", "cpu", "cuda")

_CHOICES: dict[str, tuple[str, ...]] = {
    "objective": OBJECTIVES,
    "curvature": CURVATURES,
    "damaged": DAMAGED,
    "network": NETWORKS,
    "precision": PRECISIONS,
    "schedule": SCHEDULES,
    "device": DEVICES,
}
_POSITIVE = ("beta", "lr", "width")
_AT_LEAST_ZERO = ("encoder_weight", "decoder_weight", "orthogonality", "seed", "split_seed", "warmup")
# beyond these a person has mistyped: years of training, and more draws than a step can hold
_AT_MOST = {"steps": 10**9, "samples": 10_000, "latents": 10**6, "width": 1000.0}
_AT_LEAST_ONE = ("latents", "steps", "batch_size", "samples", "checkpoint_every", "log_every", "size")
# characters of a text, and of a path
_LONGEST = (200, 4096)


@dataclass(frozen=True)
class RunConfig:
    """All choices of one training run, as plain values.

    Strings such as ``"block:2"`` or ``"columns:1"`` are turned into objects by :mod:`curvae.runs.parts`, and nowhere
    else; they are described there.

    Attributes:
        data: a named data set (``"mnist"``, ``"fashion-mnist"``, ``"avatars"``, ``"sprites"``, ``"orl"``) or a path.
        size: side in pixels to which images of an image folder are resized; ``None`` keeps the data's own.
        split_seed: seed of the split for data without a standard one.
        damaged: ``"stop"`` at images that cannot be read, or ``"skip"`` them.
        objective: ``"beta-vae"`` (2), ``"taylor"`` (7), ``"grae"`` (12)-(14) or ``"rae"`` ((12) to first order).
        structure: covariance structure, such as ``"diagonal"``, ``"block:B"`` or ``"full"``; of ``"rae"`` for the
            evaluation only.
        curvature: for ``"taylor"`` and ``"grae"``: ``"gauss-newton"``, or ``"hessian"`` for (4) and (10).
        estimator: of the penalty of ``"grae"`` and ``"rae"``, such as ``"exact"`` or ``"columns:K"``.
        likelihood: observation model, such as ``"gaussian"``, ``"gaussian:SIGMA"`` or ``"bernoulli-logits"``.
        network: ``"paper"`` (App. D), ``"paper-no-norm"`` (the same without batch normalisation), ``"mlp"`` or
            ``"linear"``; ``"auto"`` is the paper's where that fits the data, and ``"mlp"`` for data that are no images.
            What was chosen stands in the run's configuration.
        width: factor on the network's hidden widths.
        beta: weight of the KL term, > 0.
        encoder_weight: of ½‖h‖², for ``"grae"`` and ``"rae"``; ``None`` is β.
        decoder_weight: of the decoder's ½ log-determinant, for ``"grae"``; ``None`` is β. For ``"rae"`` of its ½ trace;
            ``None`` is 1.
        orthogonality: weight of the orthogonality penalty on the decoder's Jacobian columns, for ``"grae"``.
        latents: number of latents d.
        steps: number of optimiser steps.
        batch_size: data per step.
        lr: Adam's learning rate, the largest of its ``schedule``.
        schedule: ``"constant"``, or ``"cosine"``, which falls to 0.
        warmup: steps in which the rate rises to ``lr`` first.
        samples: reparameterised samples per datum, for ``"beta-vae"``.
        seed: of the initialisation, the order of the data and the noise.
        precision: ``"32"``, ``"bf16"`` (networks under autocast) or ``"64"``.
        compile: compile the networks with PyTorch's compiler where that is possible.
        device: ``"auto"`` takes a GPU where there is one.
        checkpoint_every: steps between checkpoints (and held-out values).
        log_every: steps between lines of metrics.

    Raises:
        InputError: a value of the wrong type or out of its range.

    Example:
        >>> config = RunConfig(data="mnist", objective="grae", estimator="columns:1", beta=0.2)
        >>> RunConfig.from_json(config.to_json()) == config
        True
        >>> RunConfig(data="mnist", beta=-1.0)
        Traceback (most recent call last):
        curvae.errors.InputError: beta is -1.0; expected a finite number > 0
    """

    data: str
    size: int | None = None
    split_seed: int = 0
    damaged: str = "stop"
    objective: str = "grae"
    structure: str = "diagonal"
    curvature: str = "gauss-newton"
    estimator: str = "exact"
    likelihood: str = "gaussian"
    network: str = AUTO
    width: float = 1.0
    beta: float = 0.2
    encoder_weight: float | None = None
    decoder_weight: float | None = None
    orthogonality: float = 0.0
    latents: int = 12
    steps: int = 20_000
    batch_size: int = 64
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: int = 0
    samples: int = 1
    seed: int = 0
    precision: str = "32"
    compile: bool = False
    device: str = "auto"
    checkpoint_every: int = 1000
    log_every: int = 20

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field.name, str(field.type), getattr(self, field.name)))
        if self.warmup >= self.steps:
            raise InputError(f"warmup is {self.warmup} but steps is {self.steps}; expected a warm-up of fewer steps")

    def to_json(self) -> dict[str, Any]:
        """All fields as a JSON-ready object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfig:
        """The configuration that :meth:`to_json` wrote; missing keys take their defaults.

        Raises:
            InputError: a key that does not exist, no ``data``, or a value out of its range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            names = ", ".join(key if key.isidentifier() else shown(key) for key in unknown[:5])
            raise InputError(f"unknown configuration key {names}; the keys are {', '.join(known)}")
        if "data" not in values:
            raise InputError("the configuration has no data; expected a named data set or a path")
        return cls(**values)

    def differences(self, other: RunConfig) -> list[str]:
        """Names of the fields in which two configurations differ; a network left to the data differs from none.

        Example:
            >>> RunConfig(data="mnist").differences(RunConfig(data="mnist", beta=0.4, seed=1))
            ['beta', 'seed']
        """
        names = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != getattr(other, f.name)]
        return [name for name in names if name != "network" or AUTO not in (self.network, other.network)]


def _checked(name: str, kind: str, value: Any) -> Any:
    """The value in its field's type, or an error that names the field."""
    if kind == "str":
        return _text(name, value)
    if kind == "bool":
        return _flag(name, value)
    if value is None and kind.endswith("| None"):
        return None
    number = _integer(name, value) if kind.startswith("int") else _real(name, value)
    if name in _POSITIVE and not number > 0:
        raise InputError(f"{name} is {number}; expected a finite number > 0")
    if name in _AT_LEAST_ZERO and number < 0:
        sort = "whole" if isinstance(number, int) else "finite"
        raise InputError(f"{name} is {number}; expected a {sort} number >= 0")
    if name in _AT_LEAST_ONE and number < 1:
        raise InputError(f"{name} is {number}; expected a whole number >= 1")
    if name in _AT_MOST and number > _AT_MOST[name]:
        raise InputError(f"{name} is {number}; expected at most {_AT_MOST[name]}")
    return number


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{name} is {shown(value)}; expected a text that is not empty")
    choices = _CHOICES.get(name)
    if choices and value not in choices:
        raise InputError(f"{name} is {shown(value)}; expected one of {', '.join(choices)}")
    if len(value) > _LONGEST[name == "data"] or not _is_name(value):
        raise InputError(f"{name} is {shown(value)}; expected a text of at most {_LONGEST[name == 'data']} characters")
    return value


def _is_name(value: str) -> bool:
    """Whether the system takes a text: no half of a surrogate pair, which JSON can say."""
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} is {shown(value)}; expected true or false")
    return value


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} is {shown(value)}; expected a whole number")
    if not -(2**63) <= value < 2**63:
        raise InputError(f"{name} is {shown(value)}; expected a whole number below 2^63")
    return value


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} is {shown(value)}; expected a number")
    if not is_number(value):
        raise InputError(f"{name} is {shown(value)}; expected a finite number")
    return float(value)
