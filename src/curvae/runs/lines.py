"""metrics.jsonl: one JSON object a line, appended whole, cut back on resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curvae.errors import InputError
from curvae.files import write_atomic

HELD_OUT = 256
"""How many held-out data the lines look at, the first ones: the whole set would cost more than the training."""


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Add one record at the end of the file, in one write.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> for step in (1, 2, 3):
        ...     append_line(path, {"step": step})
        >>> read_lines(path)
        [{'step': 1}, {'step': 2}, {'step': 3}]
        >>> cut_lines(path, 2)
        >>> read_lines(path)
        [{'step': 1}, {'step': 2}]
    """
    # NaN has no place in JSON: a run with a loss that is not finite stops before it is written
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, allow_nan=False) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All records of the file, in order; none if there is no file.

    A last line without its line end (a killed run) is left out.

    Raises:
        InputError: a whole line is not a JSON object with a step.
    """
    if not path.exists():
        return []
    records = []
    *whole, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(whole, start=1):
        record = _parsed(line)
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise InputError(f"line {number} of {path} is not a JSON object with a step; restore or delete the file")
        records.append(record)
    return records


def cut_lines(path: Path, last_step: int) -> None:
    """Keep the records up to and including ``last_step``; the file is replaced whole."""
    if not path.exists():
        return
    kept = [record for record in read_lines(path) if record["step"] <= last_step]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
