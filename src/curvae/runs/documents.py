"""Small JSON documents of a run folder: each says what it is, and is checked when read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curvae.errors import InputError
from curvae.files import write_atomic


def write_document(path: Path, form: str, content: dict[str, Any]) -> None:
    """Write ``content`` as JSON, headed by its format name and version.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "config.json"
        >>> write_document(path, "curvae-run", {"config": {"beta": 0.2}})
        >>> read_document(path, "curvae-run", ("config",))["config"]
        {'beta': 0.2}
        >>> read_document(path, "curvae-model", ())
        Traceback (most recent call last):
        curvae.errors.InputError: ... is a 'curvae-run' document; expected 'curvae-model'
    """
    text = json.dumps({"format": form, "version": 1, **content}, indent=1, allow_nan=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_document(path: Path, form: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read back what :func:`write_document` wrote.

    Args:
        path: the file.
        form: the format name that it must carry.
        keys: the keys that it must have.

    Raises:
        InputError: the file is missing, is not JSON, is of another format or version, or lacks a key.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON; it may be truncated, restore it or start a new run") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != form:
        raise InputError(f"{path} is a {found!r} document; expected {form!r}")
    if document.get("version") != 1:
        raise InputError(f"{path} has format version {document.get('version')!r}; this version of curvae reads 1")
    missing = [key for key in keys if key not in document]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; restore it or start a new run")
    return document
