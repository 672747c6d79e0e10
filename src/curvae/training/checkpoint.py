"""All that training needs to go on: read without unpickling anything but tensors and plain values, written whole."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from curvae.errors import InputError
from curvae.files import write_atomic
from curvae.runs import RunConfig

_FORMAT = "curvae-checkpoint"
_KEYS = {"config": dict, "digest": str, "step": int, "seconds": float, "model": dict, "optimizer": dict}


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
    """

    config: RunConfig
    digest: str
    step: int
    seconds: float
    model: dict[str, Any]
    optimizer: dict[str, Any]

    def save(self, path: Path) -> None:
        """Replace ``path`` by this state."""
        content = {
            "format": _FORMAT,
            "version": 1,
            "config": self.config.to_json(),
            "digest": self.digest,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model,
            "optimizer": self.optimizer,
        }
        write_atomic(path, lambda temporary: torch.save(content, temporary))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a state back, onto the CPU.

        Raises:
            InputError: the file is damaged, holds anything but tensors and plain values, or is not curvae's.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
            >>> Checkpoint(RunConfig(data="mnist"), "0f", 3, 1.5, {"w": torch.ones(1)}, {}).save(path)
            >>> Checkpoint.load(path).step
            3
        """
        try:
            with warnings.catch_warnings(action="ignore"):  # about foreign formats, which are refused anyway
                content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # garbage makes the reader fail in any way, with an IndexError for one
            raise InputError(
                f"{path} is not a checkpoint that can be read safely: it is damaged or foreign; "
                "restore it, or delete it to start this run again from step 0"
            ) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != 1:
            raise InputError(f"{path} is not a checkpoint of this version of curvae; delete it to start from step 0")
        wrong = [key for key, kind in _KEYS.items() if not isinstance(content.get(key), kind)]
        if wrong:
            raise InputError(f"{path} is damaged: {', '.join(wrong)} missing; delete it to start from step 0")
        values = {key: content[key] for key in _KEYS}
        return cls(**(values | {"config": RunConfig.from_json(content["config"])}))

    def restore(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the state into a model and its optimiser.

        Args:
            path: where this was read, for the error.
            model: built from the same configuration.
            optimizer: of the model's parameters.

        Raises:
            InputError: the state is not one of this model.
        """
        try:
            model.load_state_dict(self.model)
            optimizer.load_state_dict(self.optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path} does not fit this run's model ({reason}); delete it to start from 0") from error


def all_finite(model: nn.Module) -> bool:
    """Whether every weight and every running statistic is a finite number."""
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    # one number to wait for, whatever the device
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())
