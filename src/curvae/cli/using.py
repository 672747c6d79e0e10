"""What the commands share that use a trained model: opening it, and reading samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curvae._checks import is_whole, positive_int
from curvae.cli.own import Code
from curvae.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Shaped

    from curvae._typing import Tensor
    from curvae.data import Dataset
    from curvae.runs import Run

_PARTS = ("all", "train", "test")


def open_run(place: Path, named: list[str] | None, trust: bool) -> tuple[Run, Code]:
    """The run in a folder, with the code that makes its model where that is a person's own.

    All commands that use a trained model open it here.
    """
    from curvae.runs import Run

    run, code = Run.open(place), Code.of(named, trust)
    code.check([run])
    return replace(run, handed=replace(run.handed, model=code.builder(run))), code


@dataclass(frozen=True)
class SampleSet:
    """Samples in their order, and what their source says of them."""

    values: Tensor  # [N, *D], uint8 or float32
    labels: dict[str, Shaped[np.ndarray, " N"]]  # by their columns' names
    conditions: Tensor | None = None  # [N, C], as the networks take them

    def first(self, limit: int | None) -> SampleSet:
        """At most ``limit`` of them."""
        if limit is None:
            return self
        return self._some(slice(min(positive_int("--limit", limit), len(self.values))))

    def at(self, option: str, positions: list[int]) -> SampleSet:
        """Those at some positions, which an option gave."""
        count = len(self.values)
        if bad := [position for position in positions if position >= count]:
            raise InputError(f"{option} has {bad[0]}; expected positions from 0 to {count - 1} in the data")
        return self._some(positions)

    def _some(self, which: Any) -> SampleSet:
        labels = {name: values[which] for name, values in self.labels.items()}
        return SampleSet(self.values[which], labels, None if self.conditions is None else self.conditions[which])


def read(run: Run, data: str | None, part: str, condition: str | None = None, *, labelled: bool = False) -> SampleSet:
    """The samples that a command is to use: all of ``data`` or of the run's own, or one part of them.

    Their conditions are those that ``condition`` says, or the data. Labels are looked for if they are to be written:
    those of class folders are found by another walk through the images.
    """
    from curvae.data import in_order, load, load_whole
    from curvae.data.columns import check_names
    from curvae.data.labels import NoConditionsError, beside
    from curvae.data.names import is_table, suffix
    from curvae.data.order import conditions_in_order
    from curvae.runs.mixed import check_kinds, is_mixed
    from curvae.runs.source import reading, reading_others

    if part not in _PARTS:
        raise InputError(f"--part is {part!r}; expected {', '.join(_PARTS[:-1])} or {_PARTS[-1]}")
    config = run.config
    source = config.data if data is None else data
    options = reading(config, run.data) if data is None else reading_others(config, run.data, source)
    told = told_of(run, condition)
    if run.coding is not None and told is None:
        options["condition"] = run.coding
    elif run.coding is not None and is_table(source) and suffix(Path(source)) != ".h5ad":
        # columns of a table are no features, whoever says the condition
        options["drop"] = (*options["drop"], *run.coding.names)
    try:
        if data is None:
            found = run.dataset()
        elif part == "all":
            found = load_whole(source, **options)
        else:
            found = load(source, split_seed=config.split_seed, **options)
    except NoConditionsError as error:
        if data is None:
            raise
        raise InputError(f"{error}; or say one for all samples with --condition-value") from error
    check_names(run.data.get("columns"), found.columns, source)
    found = found.in_shape(tuple(run.data["shape"]))
    _check_shape(run, found, source)
    if is_mixed(config.likelihood):
        check_kinds(config.likelihood, found, training=False)
    values = in_order(found) if part == "all" else (found.train if part == "train" else found.test)[:]
    if told is not None:
        told = told.expand(len(values), -1)
    elif found.conditions is not None:
        told = conditions_in_order(found) if part == "all" else found.conditions[part == "test"]
    return SampleSet(values, _of_part(beside(found, source), found, part) if labelled else {}, told)


def told_of(run: Run, condition: str | None, several: bool = False) -> Tensor | None:
    """What ``--condition-value`` says to a conditional run; None where it is not given.

    Raises:
        InputError: it is given to another run, or says not what this one expects.
    """
    if run.config.condition == "":
        if condition is not None:
            raise InputError(f"--condition-value is given but {run.path} has no conditions; leave it out")
        return None
    if run.coding is None:
        raise InputError(f"the conditions of {run.path} were handed to curvae.fit; use the run in Python")
    if condition is None:
        return None
    try:
        found = run.coding.parse(condition)
    except InputError as error:
        raise InputError(f"--condition-value: {error}") from error
    if len(found) > 1 and not several:
        raise InputError(f"--condition-value is {condition[:60]!r}; expected one condition for all samples")
    return found


def _of_part(labels: dict[str, tuple[Any, Any]], found: Dataset, part: str) -> dict[str, Shaped[np.ndarray, " N"]]:
    """Each column of labels in the order of the samples."""
    import numpy as np
    import torch

    from curvae.data.order import joined

    if part != "all":
        return {name: np.asarray(pair[part == "test"]) for name, pair in labels.items()}
    train, test = torch.arange(len(found.train) + len(found.test)).tensor_split([len(found.train)])
    order = joined(found, train, test).numpy()
    return {name: np.concatenate([np.asarray(half) for half in pair])[order] for name, pair in labels.items()}


def _check_shape(run: Run, found: Dataset, source: str) -> None:
    shape = tuple(run.data["shape"])
    if found.shape != shape:
        raise InputError(f"--data is {source}, whose samples have shape {found.shape}; {run.path} takes {shape}")


def numbers(option: str, text: str) -> list[int]:
    """Whole numbers ≥ 0 with commas between them.

    Example:
        >>> numbers("--index", "0,12")
        [0, 12]
    """
    parts = text.split(",")
    if not all(is_whole(part.strip()) for part in parts):
        raise InputError(
            f"{option} is {text[:60]!r}; expected whole numbers >= 0 with commas between them, as in 0,3,7"
        )
    return [int(part) for part in parts]
