"""What stands beside the pictures: numbers rounded to what they are worth, as JSON, and tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from curvae._checks import shown
from curvae.errors import InputError
from curvae.files import write_atomic
from curvae.report.grids import number
from curvae.runs.documents import read_json


def rounded(value: Any) -> Any:
    """Five significant digits for every float in a tree of plain values.

    Example:
        >>> rounded({"a": (0.123456789, 3)})
        {'a': [0.12346, 3]}
    """
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list | tuple) else value


def as_json(values: Mapping[str, Any]) -> str:
    """A summary as text, its floats rounded.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    return json.dumps(rounded(values), indent=1, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """As JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(value))


def write_text(path: Path, text: str) -> None:
    """A file of text, whole or not at all, with a line's end."""
    # a file's name need not be UTF-8; what it becomes then is JSON's own way to write it
    write_atomic(path, lambda to: to.write_text(text + "\n", encoding="utf-8", errors="backslashreplace"))


def stored(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no file.

    Raises:
        InputError: it is damaged.
    """
    if not path.exists():
        return {}
    value = read_json(path, "move it away to start afresh")
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object; move it away to start afresh")
    return value


def check_folder(
    out: Path,
    figure: str,
    scale: str,
    changes: Mapping[str, str] | None = None,
    read: Callable[[Mapping[str, str]], Any] = dict,
) -> dict[str, Any]:
    """Refuse a folder in which something else, a summary or a person's own file, would be replaced.

    Args:
        out: the folder.
        figure: what is to be made.
        scale: at which scale.
        changes: of the scale's settings, as the summary names them.
        read: what they come to: ``04`` is ``4``.

    Returns:
        The summary that is there; empty if there is none.

    Raises:
        InputError: so it is, or its summary is damaged.
    """
    path = out / "summary.json"
    asked: dict[str, Any] = {"figure": figure, "scale": scale, "changes": dict(changes or {})}
    there = stored(path)
    check_own_files(out, figure)
    alike = (there.get("figure"), there.get("scale")) == (figure, scale) and _alike(
        there.get("changes", {}), asked["changes"], read
    )
    if path.exists() and not alike:
        raise InputError(f"{path} is of {_about(there)} but this is {_about(asked)}; use another folder")
    return there


def check_own_files(out: Path, figure: str) -> None:
    """Refuse a folder whose files have the names of results and are none: those of an earlier call have a summary.

    Raises:
        InputError: so it is.
    """
    if (out / "summary.json").exists() or (out / "tables").is_dir():  # the latter of a call that was stopped
        return
    for pattern in (f"{figure}*.png", "beyond.png", "table.md"):
        for path in sorted(out.glob(pattern)):
            raise InputError(
                f"{path} has the name of a result, but no summary.json says that it is one; use another folder, or "
                "move it away"
            )


def _alike(one: Any, other: Mapping[str, str], read: Callable[[Mapping[str, str]], Any]) -> bool:
    if one == other:
        return True
    try:
        return bool(read(one) == read(other))
    except (InputError, AttributeError, TypeError, ValueError):  # of another version, or by another hand
        return False


def _about(summary: Mapping[str, Any]) -> str:
    if "figure" not in summary:
        return "no figure"
    scale = f" at scale {shown(summary['scale'])}" if "scale" in summary else ""
    changes = f" with {json.dumps(summary['changes'], ensure_ascii=False)}" if summary.get("changes") else ""
    return f"{shown(summary['figure'])}{scale}{changes}"


def text(found: Mapping[str, Any]) -> str:
    """An estimate with its interval, as a summary has it."""
    if None in (found["value"], found["low"], found["high"]):
        return "–"
    return f"{found['value']:.3g} [{found['low']:.3g}, {found['high']:.3g}]"


def span(values: Sequence[float]) -> str:
    """The least and the greatest.

    Example:
        >>> span([1.1, 0.95]), span([2.0, 2.0])
        ('0.95 to 1.1', '2')
    """
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are numbers.

    Example:
        >>> print(table_of(("a", "b"), [("x", "1")]))
        | a | b |
        |---|---:|
        | x | 1 |
    """
    rule = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])
