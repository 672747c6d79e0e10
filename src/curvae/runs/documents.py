"""Small JSON documents of a run folder: each says what it is, and is checked when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from curvae._checks import shown
from curvae.errors import InputError
from curvae.files import read_regular, write_atomic
from curvae.runs.schema import Check, record

_CURE = "restore it or start a new run"


def write_document(path: Path, form: str, content: dict[str, Any]) -> None:
    """Write ``content`` as JSON, headed by its format name and version.

    Example:
        >>> import tempfile
        >>> from curvae.runs.schema import anything
        >>> path = Path(tempfile.mkdtemp()) / "config.json"
        >>> write_document(path, "curvae-run", {"config": {"beta": 0.2}})
        >>> read_document(path, "curvae-run", {"config": anything})["config"]
        {'beta': 0.2}
        >>> read_document(path, "curvae-model", {})
        Traceback (most recent call last):
        curvae.errors.InputError: ... is a 'curvae-run' document; expected 'curvae-model'
    """
    text = json.dumps({"format": form, "version": 1, **content}, indent=1, allow_nan=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_document(
    path: Path, form: str, needed: Mapping[str, Check], more: Mapping[str, Check] | None = None, cure: str = _CURE
) -> dict[str, Any]:
    """Read back what :func:`write_document` wrote, with the keys that it must have and those that it may have.

    ``cure`` says what to do with a damaged one.

    Raises:
        InputError: the file is missing, is not JSON, is of another format or version, or a value is missing or not
            what it must be.
    """
    document = read_json(path, cure)
    found = document.get("format") if isinstance(document, dict) else None
    if found != form:
        kind = "no document of curvae's" if found is None else f"a {shown(found)} document"
        raise InputError(f"{path} is {kind}; expected {form!r}")
    if document.get("version") != 1:
        raise InputError(f"{path} has format version {shown(document.get('version'))}; this version of curvae reads 1")
    missing = [key for key in needed if key not in document]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; {cure}")
    try:
        record(needed, more)("", document)
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}; {cure}") from error
    return document


def read_json(path: Path, cure: str = _CURE) -> Any:
    """The value in a JSON file that somebody else may have written; ``cure`` says what to do with a damaged one.

    Raises:
        InputError: the file is missing, cannot be read, or is not JSON.
    """
    try:
        content = read_regular(path)
        if content is None:
            raise InputError(f"{path} does not exist")
        return parse(content.decode("utf-8"))
    except MemoryError as error:
        raise InputError(f"{path} does not fit in memory") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON; it may be truncated, {cure}") from error


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON: NaN and the infinities are not, and neither is what no writer of ours makes, such
            as thousands of digits or of nested lists.

    Example:
        >>> parse('{"step": 3}')
        {'step': 3}
        >>> parse("[" * 100_000)
        Traceback (most recent call last):
        ValueError: nested too deeply
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")
