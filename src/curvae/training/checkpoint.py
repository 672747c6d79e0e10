"""All that training needs to go on: read without unpickling anything but tensors and plain values, written whole."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import nn

from curvae._checks import shown
from curvae._typing import Tensor
from curvae.errors import InputError
from curvae.files import open_regular, write_atomic
from curvae.runs import RunConfig
from curvae.runs.export import check_tensors
from curvae.runs.schema import amount, anything, count, digest, listing, mapping, optional, record
from curvae.training.average import WeightAverage
from curvae.training.stopping import BEST, EarlyStop

_FORMAT = "curvae-checkpoint"
_NEEDED = {
    "config": mapping(anything),
    "digest": digest,
    "step": count,
    "seconds": amount,
    "model": mapping(anything),
    "optimizer": record({"state": anything, "param_groups": listing(mapping(anything))}),
}
_MORE = {"start": optional(amount), "average": mapping(anything), "best": BEST}
# what follows the archive: a line with the digest of all before it
_MARK = b"\ncurvae-sha256 "
_FOOTER = len(_MARK) + 64 + 1
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Checkpoint:
    """The state after a step.

    Attributes:
        config: of the run.
        digest: of its data.
        step: steps done.
        seconds: training time so far.
        model: the autoencoder's state.
        optimizer: Adam's state.
        start: size of the objective at the first step, None if that is not known.
        average: of the weights, for a run that keeps one.
        best: the best held-out value so far and its model, for a run that stops by it.
    """

    config: RunConfig
    digest: str
    step: int
    seconds: float
    model: dict[str, Any]
    optimizer: dict[str, Any]
    start: float | None = None
    average: dict[str, Any] | None = None
    best: dict[str, Any] | None = None

    def save(self, path: Path) -> None:
        """Replace ``path`` by this state, with its digest.

        Raises:
            OSError: the system refuses, for want of space for one; ``path`` stays as it was.
        """
        content = {"format": _FORMAT, "version": 1, **vars(self), "config": self.config.to_json()}
        content = {name: value for name, value in content.items() if value is not None or name == "start"}
        write_atomic(path, lambda temporary: _write(content, temporary))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a state back, onto the CPU.

        Raises:
            InputError: the file has changed since it was written, holds anything but tensors and plain values, or is
                not curvae's.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
            >>> model = nn.Linear(1, 1)
            >>> adam = torch.optim.Adam(model.parameters()).state_dict()
            >>> Checkpoint(RunConfig(data="mnist"), "0f" * 32, 3, 1.5, model.state_dict(), adam).save(path)
            >>> Checkpoint.load(path).step
            3
        """
        try:
            with open_regular(path) as file, warnings.catch_warnings(action="ignore"):
                whole, signed = _is_whole(file)
                # the warnings are about foreign formats, which are refused anyway
                content = torch.load(file, map_location="cpu", weights_only=True) if whole else None
        except Exception as error:  # garbage makes the reader fail in any way, with an IndexError for one
            raise InputError(
                f"{path} is not a checkpoint that can be read safely: it is damaged or foreign; "
                "restore it, or delete it to start this run again from step 0"
            ) from error
        if not whole:
            raise InputError(
                f"{path} is damaged: its digest is not the one stored in it; restore it, or delete it to "
                "start this run again from step 0"
            )
        if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != 1:
            raise InputError(f"{path} is not a checkpoint of this version of curvae; delete it to start from step 0")
        if not signed and "start" in content:  # which files of version 0.1 lack, as they lack the digest
            raise InputError(f"{path} is truncated; restore it, or delete it to start from step 0")
        try:
            record(_NEEDED, _MORE)("", content)
            config = RunConfig.from_json(content["config"])
        except InputError as error:
            raise InputError(f"{path} is damaged: {error}; restore it, or delete it to start from step 0") from error
        values = {key: content[key] for key in _NEEDED}
        more = {key: content.get(key) for key in _MORE}
        return cls(**(values | more | {"config": config}))

    def restore(
        self,
        path: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None = None,
        stop: EarlyStop | None = None,
    ) -> None:
        """Put the state, read from ``path``, into a model of the same configuration and its optimiser.

        The optimiser's settings stay as they are.

        Raises:
            InputError: the state is not one of this model.
        """
        try:
            check_tensors(self.model, model.state_dict())
            state = self._optimizer_state(optimizer)
            if average is not None:
                check_tensors(self.average or {}, dict(model.named_parameters()))
            if stop is not None and self.best is not None:
                stop.restore(self.best, model)
        except InputError as error:
            raise InputError(f"{path} does not fit this run's model ({error}); delete it to start from 0") from error
        model.load_state_dict(self.model)
        if average is not None and self.average is not None:
            average.weights = {name: self.average[name].to(value.device) for name, value in model.named_parameters()}
        # the settings are the configuration's, so that only the moments come from the file
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def _optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
        """Adam's moments, each that of its parameter."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state, groups = self.optimizer["state"], self.optimizer["param_groups"]
        own = [group["params"] for group in optimizer.state_dict()["param_groups"]]
        known = isinstance(state, dict) and bool(state) and set(state) <= set(range(len(parameters)))
        if not known or [group.get("params") for group in groups] != own:
            raise InputError("the optimiser's state is not that of this model's parameters")
        for number, moments in state.items():
            if not isinstance(moments, dict):
                raise InputError(f"the optimiser's state of parameter {number} is {shown(moments)}")
            wanted = {"step": torch.zeros(()), **dict.fromkeys(_MOMENTS, parameters[number])}
            try:
                check_tensors(moments, wanted)
            except InputError as error:
                raise InputError(f"of the optimiser's state of parameter {number}, {error}") from error
            if not 0 <= float(moments["step"]) <= self.step or bool((moments["exp_avg_sq"] < 0).any()):
                raise InputError(f"the optimiser's state of parameter {number} has a value out of range")
        # copies, as the optimiser writes to them in place
        return {number: {name: value.clone() for name, value in one.items()} for number, one in state.items()}


def all_finite(model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
    """Whether every weight, every running statistic and every moment of the optimiser is a finite number."""
    moments = [value for one in optimizer.state.values() for value in one.values() if isinstance(value, Tensor)]
    tensors = [tensor for tensor in (*model.state_dict().values(), *moments) if tensor.is_floating_point()]
    # one number to wait for, whatever the device
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


class _Hashed(io.RawIOBase):
    """A file that is written through a digest, and that keeps the system's error, which PyTorch's writer hides."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256 = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            written = self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.sha256.update(data)
        return written


def _write(content: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        hashed = _Hashed(file)
        try:
            torch.save(content, cast(BinaryIO, hashed))
        except RuntimeError:
            if hashed.error is None:
                raise
            raise hashed.error from None
        file.write(_MARK + hashed.sha256.hexdigest().encode() + b"\n")


def _is_whole(file: BinaryIO) -> tuple[bool, bool]:
    """Whether a file is what was written, and whether it has a digest at its end; it is left at its beginning."""
    length = max(file.seek(0, io.SEEK_END) - _FOOTER, 0)
    file.seek(length)
    footer = file.read()
    file.seek(0)
    signed = footer.startswith(_MARK)
    if signed:
        sha256, left = hashlib.sha256(), length
        while chunk := file.read(min(left, 2**20)):
            sha256.update(chunk)
            left -= len(chunk)
        whole = footer == _MARK + sha256.hexdigest().encode() + b"\n"
    else:  # of curvae 0.1: held against the check sums that PyTorch puts into its archives
        with zipfile.ZipFile(file) as archive:
            whole = archive.testzip() is None
    file.seek(0)
    return whole, signed
