"""metrics.jsonl: one JSON object a line, appended whole, cut back on resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curvae.errors import InputError
from curvae.files import read_regular, write_atomic
from curvae.runs.documents import parse
from curvae.runs.schema import amount, count, mapping, number, record

_TERMS = {"total": number, "parts": mapping(number)}
_LINE = record({}, {"seconds": amount, **_TERMS, "held_out": record({}, {"samples": count, **_TERMS})})

Points = tuple[list[int], list[float]]
"""Steps and the values there."""

HELD_OUT = 256
"""How many held-out data the lines look at, the first ones: the whole set would cost more than the training."""


def append_line(path: Path, values: dict[str, Any]) -> None:
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
        file.write(json.dumps(values, allow_nan=False) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All records of the file, in order; none if there is no file.

    A last line without its line end (a killed run) is left out.

    Raises:
        InputError: a whole line is not a JSON object with a step, or a value in it is not what it must be.
    """
    *whole, _ = (read_regular(path) or b"").decode("utf-8", errors="replace").split("\n")
    return [_checked(line, path, position) for position, line in enumerate(whole, start=1)]


def cut_lines(path: Path, last_step: int) -> None:
    """Keep the records up to and including ``last_step``; the file is replaced whole."""
    if not path.exists():
        return
    kept = [line for line in read_lines(path) if line["step"] <= last_step]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def by_term(records: list[dict[str, Any]]) -> dict[str, tuple[Points, Points]]:
    """The total, then its named parts: each one's means over batches, and those over held-out data.

    Example:
        >>> by_term([{"step": 1, "total": 3.0, "parts": {"nll": 2.0}}])
        {'total': (([1], [3.0]), ([], [])), 'nll': (([1], [2.0]), ([], []))}
    """
    names = ["total", *dict.fromkeys(name for line in records for name in line["parts"])]
    held_out = [{"step": line["step"], **line["held_out"]} for line in records if "held_out" in line]
    return {name: (_points(records, name), _points(held_out, name)) for name in names}


def _points(records: list[dict[str, Any]], name: str) -> Points:
    having = [line for line in records if name == "total" or name in line["parts"]]
    values = [float(line["total"] if name == "total" else line["parts"][name]) for line in having]
    return [line["step"] for line in having], values


def _checked(line: str, path: Path, position: int) -> dict[str, Any]:
    try:
        values = parse(line)
        record({"step": count})("", values)
    except ValueError as error:
        raise InputError(
            f"line {position} of {path} is not a JSON object with a step; restore or delete the file"
        ) from error
    try:
        _LINE("", values)
    except InputError as error:
        raise InputError(f"{path} is damaged at line {position}: {error}; restore or delete the file") from error
    return {name: _renamed(value) if name in ("parts", "held_out") else value for name, value in values.items()}


def _renamed(values: Any) -> Any:
    """Terms under their present names: curvae 0.1 called the nll ``energy``."""
    if "parts" in values:
        return {**values, "parts": _renamed(values["parts"])}
    return {"nll" if name == "energy" else name: value for name, value in values.items()}
