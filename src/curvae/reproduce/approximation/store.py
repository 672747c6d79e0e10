"""The rows on disk: one JSON document, written whole after every model, read back to go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from curvae.errors import InputError
from curvae.metrics import Estimate
from curvae.reproduce.approximation.config import Config
from curvae.reproduce.approximation.numbers import Row
from curvae.runs.documents import read_document, write_document
from curvae.runs.schema import anything, listing, mapping

_FORM = "curvae-approximation"


@dataclass(frozen=True)
class Store:
    """The document of one experiment.

    Attributes:
        path: the JSON file.
        config: what the rows must have been made with.
    """

    path: Path
    config: Config

    def load(self) -> tuple[Row, ...]:
        """The rows that are there; none if there is no file.

        Raises:
            InputError: the file is damaged, or of another configuration.
        """
        if not self.path.exists():
            return ()
        document = read_document(self.path, _FORM, {"config": mapping(anything), "rows": listing(mapping(anything))})
        if document["config"] != _plain(asdict(self.config)):
            raise InputError(f"{self.path} holds another experiment; choose another folder, or remove it")
        try:
            return tuple(_row(values) for values in document["rows"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.path} is damaged at {error}; remove it to start again") from error

    def save(self, rows: tuple[Row, ...], made_under: Mapping[str, str | None]) -> None:
        """Write all rows, with the environment of the latest."""
        content = {"config": asdict(self.config), "environment": dict(made_under), "rows": [asdict(r) for r in rows]}
        write_document(self.path, _FORM, content)


def _plain(values: dict[str, Any]) -> Any:
    return json.loads(json.dumps(values))


def _row(values: dict[str, Any]) -> Row:
    nested = {name: Estimate(**value) for name, value in values.items() if isinstance(value, dict)}
    return Row(**{field.name: {**values, **nested}[field.name] for field in fields(Row)})
