"""A run folder: what is in it, and how it is begun and opened."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.errors import InputError
from curvae.files import write_atomic
from curvae.metrics import Evaluation, Examples
from curvae.runs.config import RunConfig
from curvae.runs.documents import read_document, write_document
from curvae.runs.export import load_model
from curvae.runs.lines import read_lines
from curvae.runs.provenance import environment
from curvae.runs.source import load_data
from curvae.terminal import quoted

_FORMAT = "curvae-run"
_EVALUATION = "curvae-evaluation"
_ARRAYS = ("x", "precision", "implied")


@dataclass(frozen=True)
class Run:
    """One training run on disk.

    ==========================  ==========================================================
    ``config.json``             the configuration, the data's digest and split, versions
    ``metrics.jsonl``           one line per logged step
    ``checkpoints/last.ckpt``   all that training needs to go on
    ``model.safetensors``,      the finished model
    ``model.json``
    ``evaluation.json``,        what ``curvae evaluate`` measured
    ``evaluation.npz``
    ==========================  ==========================================================

    Attributes:
        path: the folder.
        config: what was asked for.
        data: what the data was: ``digest``, ``split``, ``shape``, the sizes ``train`` and ``test``, and ``white``, the
            stored number that means 1 (``Dataset.white``).
        environment: versions, device and commit at the start.
    """

    path: Path
    config: RunConfig
    data: dict[str, Any]
    environment: dict[str, str | None]

    @classmethod
    def create(cls, path: Path, config: RunConfig, dataset: Dataset, device: torch.device) -> Run:
        """Begin a run in a new or empty folder.

        Raises:
            InputError: the path is in use, or cannot be written.
        """
        check_free(path)
        data = {
            "digest": dataset.digest,
            "split": dataset.split,
            "shape": list(dataset.shape),
            "train": len(dataset.train),
            "test": len(dataset.test),
            "white": dataset.white,
        }
        run = cls(path, config, data, environment(device))
        content = {"config": config.to_json(), "data": data, "environment": run.environment}
        try:
            write_document(path / "config.json", _FORMAT, content)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}; choose another --out") from error
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open an existing run folder, finished or not.

        Raises:
            InputError: the folder is missing or holds no run, or its ``config.json`` is damaged or foreign.
        """
        path = Path(path)
        if not path.is_dir():
            raise InputError(f"{path} is not a folder; expected a run folder that curvae train wrote")
        if not (path / "config.json").exists():
            raise InputError(f"{path} holds no run (no config.json); expected a folder that curvae train wrote")
        document = read_document(path / "config.json", _FORMAT, ("config", "data", "environment"))
        _check_parts(path / "config.json", document)
        return cls(path, RunConfig.from_json(document["config"]), document["data"], document["environment"])

    @property
    def checkpoint(self) -> Path:
        """Where training keeps its last checkpoint."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The logged steps, in order.

        Each is ``{"step", "seconds", "total", "parts"}``: the step's number (from 1), the training time so far, the
        batch's mean of the objective and of the named parts that it sums. Some have ``"held_out"`` as well: the same
        ``{"total", "parts"}`` for a fixed set of held-out data, in eval mode.
        """
        return read_lines(self.path / "metrics.jsonl")

    @property
    def finished(self) -> bool:
        """Whether training went to its end and exported the model."""
        return (self.path / "model.json").exists()

    def model(self) -> Autoencoder:
        """The trained model, in eval mode on the CPU.

        Raises:
            InputError: the run is not finished, or the exported model is damaged.
        """
        if not self.finished:
            resume = f"curvae train --resume --out {quoted(self.path)}"
            raise InputError(f"{self.path} is not finished; go on with: {resume}")
        return load_model(self.path)

    def dataset(self) -> Dataset:
        """The run's data, the same split.

        Raises:
            InputError: the data is gone, or is not what the run was trained on.
        """
        dataset = load_data(self.config, self.data.get("white")).in_shape(tuple(self.data["shape"]))
        if dataset.digest != self.data["digest"]:
            raise InputError(
                f"the data at {self.config.data} has changed since {self.path} was trained "
                f"(digest {dataset.digest[:12]}, was {self.data['digest'][:12]}); restore it or train a new run"
            )
        return dataset

    @property
    def evaluation(self) -> Evaluation | None:
        """What ``curvae evaluate`` found, or None if it was not run.

        Raises:
            InputError: ``evaluation.json`` is damaged.
        """
        path = self.path / "evaluation.json"
        if not path.exists():
            return None
        document = read_document(path, _EVALUATION, ("evaluation",))
        return Evaluation.from_json(document["evaluation"], _examples(self.path / "evaluation.npz"))

    def save_evaluation(self, evaluation: Evaluation, beside: Mapping[str, Any] | None = None) -> None:
        """Keep an evaluation in the folder, in place of an earlier one.

        Args:
            evaluation: the numbers.
            beside: more of them, ready for JSON, kept in the same document.
        """
        examples = evaluation.examples
        arrays = self.path / "evaluation.npz"
        if examples is not None:
            kept = {name: getattr(examples, name).astype(np.float32) for name in _ARRAYS}
            write_atomic(arrays, lambda temporary: np.savez_compressed(temporary, **kept))
        write_document(
            self.path / "evaluation.json", _EVALUATION, {"evaluation": evaluation.to_json(), **(beside or {})}
        )


def check_free(path: Path) -> None:
    """Refuse a path that a new run cannot have.

    Raises:
        InputError: it holds a run, is not empty, is not a folder, or its name is not UTF-8.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> check_free(folder / "new")
        >>> _ = (folder / "config.json").write_text("{}")
        >>> check_free(folder)
        Traceback (most recent call last):
        curvae.errors.InputError: ... already holds a run; use --resume to go on with it, or another --out
    """
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in str(path)):  # safetensors reads no such path
        raise InputError(f"{str(path)!r} is not UTF-8; expected a name that is")
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; expected a new or empty folder for the run")
    if (path / "config.json").exists():
        raise InputError(f"{path} already holds a run; use --resume to go on with it, or another --out")
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"{path} is not empty and holds no run; expected a new or empty folder")


def _check_parts(path: Path, document: dict[str, Any]) -> None:
    if not all(isinstance(document[key], dict) for key in ("config", "data", "environment")):
        raise InputError(f"{path} is damaged: config, data and environment must be objects; start a new run")
    if not isinstance(document["data"].get("digest"), str) or not isinstance(document["data"].get("shape"), list):
        raise InputError(f"{path} is damaged: data has no digest or no shape; start a new run")


def _examples(path: Path) -> Examples | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Examples(*(arrays[name] for name in _ARRAYS))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged; run curvae evaluate again") from error
