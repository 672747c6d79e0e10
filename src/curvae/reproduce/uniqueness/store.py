"""The tables of per-trial results: plain columns in a compressed file, written whole, read back to resume exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curvae.errors import InputError
from curvae.files import write_atomic
from curvae.reproduce.uniqueness.config import Config, Panel
from curvae.reproduce.uniqueness.engine import FIELDS, Row

Table = dict[str, NDArray[Any]]
"""One array a column, one entry a trial, ordered by index. The columns are those of ``engine.Row``."""

FORMAT = 1


def to_table(rows: Iterable[Row]) -> Table:
    """Rows to columns, ordered by index."""
    ordered = sorted(rows, key=lambda row: row.index)
    return {name: np.array([getattr(row, name) for row in ordered]) for name in FIELDS}


def to_rows(table: Table) -> list[Row]:
    """Columns back to rows."""
    columns = [table[name].tolist() for name in FIELDS]
    rows: list[Any] = [[tuple(v) if isinstance(v, list) else v for v in row] for row in zip(*columns, strict=True)]
    return [Row(*values) for values in rows]


@dataclass(frozen=True)
class PanelStore:
    """The table of one panel in a folder; refuses a table that another experiment wrote.

    Attributes:
        folder: where tables lie.
        config: gives schedule and seed.
        panel: which panel.
        name: the table's name.
    """

    folder: Path
    config: Config
    panel: Panel
    name: str

    @property
    def path(self) -> Path:
        """The table's file."""
        return self.folder / f"{self.name}.npz"

    @property
    def _fingerprint(self) -> str:
        model = self.panel.model
        return json.dumps(
            {
                "format": FORMAT,
                "panel": self.name,
                "points": model.points,
                "sigma": model.sigma,
                "norms": list(model.norms),
                "schedule": [list(pair) for pair in self.config.schedule],
                "seed": self.config.seed,
            }
        )

    def load(self) -> list[Row]:
        """The rows stored so far; none if there is no file.

        Raises:
            InputError: the file is damaged, or belongs to another experiment.
        """
        if not self.path.exists():
            return []
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                fingerprint, rows = str(stored["fingerprint"]), to_rows({name: stored[name] for name in FIELDS})
        except Exception as error:  # zip, zlib, header and memory errors have no common ancestor
            raise InputError(f"{self.path} is not a table of trials ({error}); move it away to start afresh") from error
        if fingerprint != self._fingerprint:
            raise InputError(
                f"{self.path} holds {fingerprint} but this experiment is {self._fingerprint}; use another folder"
            )
        return rows

    def save(self, rows: Iterable[Row]) -> None:
        """Replace the table."""
        table: dict[str, Any] = {**to_table(rows), "fingerprint": np.array(self._fingerprint)}
        write_atomic(self.path, lambda path: np.savez_compressed(path, allow_pickle=False, **table))
