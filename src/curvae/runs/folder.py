"""A run folder: what is in it, and how it is begun and opened."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from curvae._repr import OneLine
from curvae.autoencoder import Autoencoder
from curvae.data import Coding, Dataset, as_dataset, is_name
from curvae.errors import InputError
from curvae.files import alone
from curvae.likelihoods import Likelihood
from curvae.metrics import Evaluation
from curvae.objectives import Terms
from curvae.posteriors import Structure
from curvae.runs.builder import source_digest
from curvae.runs.commands import resume_command
from curvae.runs.config import RunConfig
from curvae.runs.described import unnamed
from curvae.runs.documents import read_document, write_document
from curvae.runs.evaluated import read_evaluation, write_evaluation
from curvae.runs.export import load_model, model_document
from curvae.runs.fields import PYTHON
from curvae.runs.handed import Handed, known, noise_of
from curvae.runs.lines import read_lines
from curvae.runs.own import Build
from curvae.runs.provenance import environment
from curvae.runs.schema import amount, anything, count, digest, listing, mapping, number, optional, record, text
from curvae.runs.source import load_data
from curvae.runs.taking import check_free, clear

_FORMAT = "curvae-run"
# what says nothing of the trained model; steps do: one of fewer is not yet that of a run that was lengthened
_ELSEWHERE = {"data", "device", "devices", "logger", "model"}
_COLUMN = record({"name": text, "classes": optional(listing(text)), "mean": number, "std": number})
_DATA = record(
    {"digest": digest, "shape": listing(count, at_least=1)},
    {
        "split": mapping(anything),
        "train": count,
        "test": count,
        "condition": listing(_COLUMN, at_least=1),
        "columns": listing(text),
    },
)
_ENVIRONMENT = mapping(optional(text))
_CHANGE = record(
    {"step": amount, "date": text, "from": mapping(anything), "to": mapping(anything), "environment": _ENVIRONMENT}
)
_NEEDED = {"config": mapping(anything), "data": _DATA, "environment": _ENVIRONMENT}

F = TypeVar("F", bound="Folder")


@dataclass(frozen=True, repr=False)
class Folder(OneLine):
    """A run's folder: begun, opened, read and written; :class:`curvae.runs.Run` says what is in it."""

    path: Path
    config: RunConfig
    data: dict[str, Any]
    environment: dict[str, str | None]
    history: tuple[dict[str, Any], ...] = ()
    handed: Handed = field(default=Handed(), repr=False, compare=False)

    @classmethod
    def create(
        cls: type[F],
        path: Path,
        config: RunConfig,
        dataset: Dataset,
        device: torch.device,
        handed: Handed | None = None,
    ) -> F:
        """Begin a run in a new or empty folder, or in one where a start was killed before this.

        Whoever shares the folder with other processes holds it (:func:`locked`). The digest of the file in which
        ``build`` stands, what makes a model of one's own, is kept under ``"model"`` of the environment, and what is
        known of an objective or a posterior of one's own under ``"objective"`` and ``"posterior"``.

        Raises:
            InputError: the path is in use, or cannot be written.
        """
        check_free(path)
        clear(path)
        data = {
            "digest": dataset.digest,
            "split": dataset.split,
            "shape": list(dataset.shape),
            "train": len(dataset.train),
            "test": len(dataset.test),
            "white": dataset.white,
        }
        if dataset.columns is not None:
            data["columns"] = list(dataset.columns)
        if dataset.coding is not None:
            data["condition"] = dataset.coding.to_json()
        build = None if handed is None else handed.model
        source = None if build is None or isinstance(build, Autoencoder) else source_digest(build)
        made = environment(device) | ({} if source is None else {"model": source}) | unnamed(config, handed or Handed())
        run = cls(path, config, data, made, handed=handed or Handed())
        try:
            run._write()
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}; choose another --out") from error
        return run

    @classmethod
    def open(
        cls: type[F],
        path: Path | str,
        *,
        model: Build | None = None,
        data: Any = None,
        objective: Callable[..., Terms] | None = None,
        condition: Any = None,
    ) -> F:
        """Open an existing run folder, finished or not.

        What the folder can only name is handed over again; nothing is imported because a file says so.

        Args:
            path: the folder.
            model: for a model of one's own, the function that makes it, or one to put the weights into.
            data: for data that were handed to :func:`curvae.fit`: the same, or a :class:`curvae.data.Dataset`.
            objective: one of one's own.
            condition: beside ``data``, the conditions that were handed to :func:`curvae.fit`.

        Raises:
            InputError: the folder is missing or holds no run, or its ``config.json`` is damaged or foreign.
        """
        path = Path(path)
        if not path.is_dir():
            raise InputError(f"{path} is not a folder; expected a run folder that curvae train wrote")
        if not (path / "config.json").exists():
            raise InputError(f"{path} holds no run (no config.json); expected a folder that curvae train wrote")
        document = read_document(path / "config.json", _FORMAT, _NEEDED, {"history": listing(_CHANGE)})
        config = RunConfig.from_json(document["config"])
        history = tuple(document.get("history", ()))
        given = (
            None
            if data is None
            else as_dataset(data, split=document["data"].get("split"), missing=True, condition=condition)
        )
        handed = Handed(model, given, objective)
        return cls(path, config, document["data"], document["environment"], history, handed)

    def changed(self: F, config: RunConfig, step: int, device: torch.device) -> F:
        """Go on with another configuration after so many steps of the present one, and say so in ``config.json``."""
        names = self.config.differences(config)
        entry = {
            "step": step,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "from": {name: getattr(self.config, name) for name in names},
            "to": {name: getattr(config, name) for name in names},
            "environment": environment(device),
        }
        run = replace(self, config=config, history=(*self.history, entry))
        run._write()
        return run

    def _write(self) -> None:
        content = {"config": self.config.to_json(), "data": self.data, "environment": self.environment}
        history = {"history": list(self.history)} if self.history else {}
        write_document(self.path / "config.json", _FORMAT, {**content, **history})

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

    def model(self, model: Build | None = None, trust: bool = False) -> Autoencoder:
        """The trained model, in eval mode on the CPU.

        Args:
            model: what made a model of one's own, see :func:`curvae.load`.
            trust: run the code that the folder names, in place of ``model``.

        Raises:
            InputError: the run is not finished, the exported model is damaged, or it is one of one's own and was not
                handed over.
        """
        if not self.finished:
            again = resume_command(self.path, self.config)
            raise InputError(f"{self.path} is not finished; continue with: {again}")
        exported = model_document(self.path)[0]
        other = sorted(set(self.config.differences(exported)) - _ELSEWHERE)
        if other and not set(Folder.open(self.path).config.differences(exported)) - _ELSEWHERE:
            raise InputError(
                f"{self.path} was trained on after it was opened here (it differs in {', '.join(other)}); open it "
                "again with Run.open, or use the run that curvae.fit returned last"
            )
        if other:
            raise InputError(
                f"{self.path}: config.json and model.json belong to different runs (they differ in "
                f"{', '.join(other)}); "
                "restore them or train again"
            )
        return load_model(self.path, self.handed.model if model is None and not trust else model, trust)

    def noise(self, model: Autoencoder) -> tuple[Likelihood, Structure]:
        """Observation model and covariance structure that the run's model is measured with.

        Raises:
            InputError: an objective of one's own says no observation model, or its structure is not at hand.
        """
        likelihood, structure = noise_of(self.config, model, self.handed.objective)
        return likelihood, known(structure)

    @property
    def coding(self) -> Coding | None:
        """How conditions were coded; None where there are none, or they were numbers that were handed over."""
        return Coding.from_json(self.data["condition"]) if "condition" in self.data else None

    def dataset(self) -> Dataset:
        """The run's data, the same split.

        Raises:
            InputError: the data is gone, or is not what the run was trained on.
        """
        return self.dataset_of(self.config)

    def dataset_of(self, config: RunConfig) -> Dataset:
        """The run's data, from where ``config`` says that they lie now.

        Raises:
            InputError: they cannot be read there, or are others.
        """
        if self.handed.data is not None:
            return self._same(self.handed.data)
        if config.data == PYTHON:
            raise InputError(
                f"the data of {self.path} were handed to curvae.fit; hand them over again, in Python: "
                "Run.open(…, data=…)"
            )
        # version 0.1 knew no masks, and took the largest number of 16 bits for white
        kept, old = {"white": 65_535, **self.data}, "white" not in self.data
        try:
            dataset = load_data(config, kept, self.coding).in_shape(tuple(self.data["shape"]))
        except InputError as error:
            if config.data != self.config.data or is_name(config.data) or Path(config.data).exists():
                raise
            again = resume_command(self.path, self.config, data="PLACE")
            raise InputError(f"{error}; if they were moved, say where they are with: {again}") from error
        return self._same(dataset, config.data, old)

    def _same(self, dataset: Dataset, place: str = "hand", old: bool = False) -> Dataset:
        """The data, if they are those of the run."""
        if dataset.digest != self.data["digest"]:
            otherwise = ", or is read otherwise since version 0.2 (it follows links, and parts train from test folders)"
            raise InputError(
                f"the data at {place} has changed since {self.path} was trained, or is different data"
                f"{otherwise if old else ''}: its digest is {dataset.digest[:12]}, was {self.data['digest'][:12]}; "
                "restore it or train a new run"
            )
        return dataset

    @property
    def evaluation(self) -> Evaluation | None:
        """What ``curvae evaluate`` found, or None if it was not run.

        Raises:
            InputError: ``evaluation.json`` is damaged.
        """
        return read_evaluation(self.path)

    def save_evaluation(self, evaluation: Evaluation, beside: Mapping[str, Any] | None = None) -> None:
        """Keep an evaluation in the folder, in place of an earlier one, and what is ``beside``, ready for JSON.

        Raises:
            InputError: the run was trained on since it was opened, so that this is not of its model; or it is gone.
        """
        with alone(self.path):
            now = Folder.open(self.path)
            if not now.finished or set(now.config.differences(self.config)) - _ELSEWHERE:
                raise InputError(f"{self.path} was trained on after it was opened here; evaluate it again")
            write_evaluation(self.path, evaluation, beside or {})
