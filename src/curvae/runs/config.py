"""What a training run is made of: plain values, JSON both ways, checked before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curvae._checks import shown
from curvae.errors import InputError
from curvae.runs.fields import AUTO, checked_field, true_or_false


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
        labels: columns of a table that are kept beside the data and not trained on, with commas between them.
        drop: columns of a table that are left out, with commas between them.
        condition: what is known of each sample and given to the networks, with commas between: columns of a table,
            arrays of an ``.npz`` file, or ``"labels"``; each may end in ``:classes`` or ``:number``.
            ``"python"`` for conditions that were handed to :func:`curvae.fit`.
        condition_size: how many numbers these are coded as, which the data say (:class:`curvae.data.Coding`).
        objective: ``"beta-vae"`` (2), ``"taylor"`` (7), ``"grae"`` (12)-(14) or ``"rae"`` ((12) to first order).
        structure: covariance structure, such as ``"diagonal"``, ``"block:B"`` or ``"full"``; of ``"rae"`` for the
            evaluation only.
        curvature: for ``"taylor"`` and ``"grae"``: ``"gauss-newton"``, or ``"hessian"`` for (4) and (10).
        estimator: of the penalty of ``"grae"``, ``"rae"`` and ``"taylor"``, such as ``"exact"`` or ``"columns:K"``.
        likelihood: observation model, such as ``"gaussian"``, ``"gaussian:SIGMA"`` or ``"bernoulli-logits"``; of
            ``"mixed"`` the run's configuration says what the data's columns were taken for.
        network: ``"paper"`` (App. D), ``"paper-no-norm"`` (the same without batch normalisation), ``"mlp"`` or
            ``"linear"``; ``"auto"`` is the paper's where that fits the data, else ``"mlp"`` where they are not images.
            What was chosen stands in the run's configuration.
        model: where a model of one's own came from: ``"FILE.py:FUNCTION"`` or ``"package.module:function"`` as it was
            asked for by name, ``"python"`` for one that was handed to :func:`curvae.fit`, ``""`` for the named
            ``network``. A note for people: nothing is ever imported because a file says so.
        model_set: settings that were handed to that function.
        init_from: folder of a finished run of the same networks whose weights training starts from; ``""`` for weights
            drawn from the seed.
        width: factor on the network's hidden widths.
        beta: weight of the KL term, > 0. An objective that was handed over may have none, or 0: this is then what its
            run is measured with, the default.
        encoder_weight: of ½‖h‖², for ``"grae"`` and ``"rae"``; ``None`` is β.
        decoder_weight: of the decoder's ½ log-determinant, for ``"grae"``; ``None`` is β. For ``"rae"`` of its ½ trace;
            ``None`` is 1.
        orthogonality: weight of the orthogonality penalty on the decoder's Jacobian columns, for ``"grae"``.
        latents: number of latents d.
        steps: number of optimiser steps.
        epochs: passes over the training data in place of ``steps``, which a run's configuration then has instead.
        batch_size: data per step, and of each of several batches with ``accumulate``.
        accumulate: batches per step, whose gradients are averaged.
        lr: Adam's learning rate, the largest of its ``schedule``.
        schedule: ``"constant"``, or ``"cosine"``, which falls to 0.
        warmup: steps in which the rate rises to ``lr`` first.
        beta_warmup: steps in which β rises to ``beta`` first.
        clip: largest norm of a step's gradient, beyond which it is scaled down; ``None`` lets it be.
        ema: decay of an exponential moving average of the weights, in [0, 1), which is then the model that is measured
            and kept; 0 takes the weights as they are.
        early_stop: end after so many held-out values that are no better than the best one before, and keep the model of
            that; 0 goes on to the last step and keeps its model.
        samples: reparameterised draws per sample, for ``"beta-vae"``.
        antithetic: take them in pairs of opposite noise; ``samples`` is even then.
        seed: of the initialisation, the order of the data and the noise.
        precision: ``"32"``, ``"bf16"`` (networks under autocast) or ``"64"``.
        compile: compile the networks with PyTorch's compiler where that is possible.
        device: ``"auto"`` takes a GPU where there is one.
        devices: how many processes share each batch, with a GPU each or on the CPU; the same training, faster.
        logger: ``"tensorboard"`` or ``"csv"`` for curves that can be watched, beside ``metrics.jsonl``.
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
    labels: str = ""
    drop: str = ""
    condition: str = ""
    condition_size: int = 0
    objective: str = "grae"
    structure: str = "diagonal"
    curvature: str = "gauss-newton"
    estimator: str = "exact"
    likelihood: str = "gaussian"
    network: str = AUTO
    model: str = ""
    model_set: dict[str, str] = field(default_factory=dict, hash=False)
    init_from: str = ""
    width: float = 1.0
    beta: float = 0.2
    encoder_weight: float | None = None
    decoder_weight: float | None = None
    orthogonality: float = 0.0
    latents: int = 12
    steps: int = 20_000
    epochs: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: int = 0
    beta_warmup: int = 0
    clip: float | None = None
    ema: float = 0.0
    early_stop: int = 0
    samples: int = 1
    antithetic: bool = False
    seed: int = 0
    precision: str = "32"
    compile: bool = False
    device: str = "auto"
    devices: int = 1
    checkpoint_every: int = 1000
    log_every: int = 20
    logger: str = ""

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            object.__setattr__(self, one.name, checked_field(one.name, str(one.type), getattr(self, one.name)))
        for name in ("warmup", "beta_warmup") if self.epochs is None else ():
            if getattr(self, name) >= self.steps:
                raise InputError(
                    f"{name} is {getattr(self, name)} but steps is {self.steps}; expected a warm-up of fewer steps"
                )
        if self.model_set and not self.model:
            raise InputError("model_set is given without a model; it is for a model of your own")

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON-ready object."""
        return dataclasses.asdict(self)

    def chosen(self) -> dict[str, Any]:
        """The fields that are not at their defaults, and ``data``.

        Example:
            >>> RunConfig(data="mnist", beta=0.4).chosen()
            {'data': 'mnist', 'beta': 0.4}
        """
        return {name: value for name, value in dataclasses.asdict(self).items() if value != _default(name)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfig:
        """The configuration that :meth:`to_json` wrote; missing keys take their defaults.

        ``batch_fraction`` (``"1/4"``) and ``shared`` (``True``) may stand beside ``estimator`` and ``structure``; they
        are kept as ``fraction:1/4:ESTIMATOR`` and ``shared:STRUCTURE``.

        Raises:
            InputError: a key that does not exist, no ``data``, or a value out of its range.
        """
        values = _joined(values)
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
        found = [name for name in names if name != "network" or AUTO not in (self.network, other.network)]
        # what was not looked for yet differs from nothing
        return [
            name for name in found if name != "condition_size" or 0 not in (self.condition_size, other.condition_size)
        ]


def _joined(values: Mapping[str, Any]) -> dict[str, Any]:
    """Two options of their own in the texts that a run is known by."""
    joined = {"estimator": RunConfig.estimator, "structure": RunConfig.structure} | dict(values)
    fraction, shared = joined.pop("batch_fraction", None), joined.pop("shared", False)
    if fraction is not None:
        head, _, rest = str(joined["estimator"]).partition(":")
        inner = rest.partition(":")[2] if head == "fraction" else joined["estimator"]
        joined["estimator"] = f"fraction:{fraction}:{inner}"
    if true_or_false("shared", shared) and not str(joined["structure"]).startswith("shared"):
        joined["structure"] = f"shared:{joined['structure']}"
    return joined


def _default(name: str) -> Any:
    (found,) = (f for f in dataclasses.fields(RunConfig) if f.name == name)
    return found.default if found.default_factory is dataclasses.MISSING else found.default_factory()
