"""Messages that the command and ``curvae.fit`` share, in the words of whoever called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields

from curvae.errors import InputError
from curvae.runs import RunConfig
from curvae.training.errors import TrainingError

_OPTIONS = {one.name for one in fields(RunConfig)} | {"out", "resume"}
_from_python: ContextVar[bool] = ContextVar("from_python", default=False)


@contextmanager
def with_arguments() -> Iterator[None]:
    """Inside this context errors and notes name the arguments of a call, ``lr``, in the place of options, ``--lr``."""
    token = _from_python.set(True)
    try:
        yield
    except (InputError, TrainingError) as error:
        error.args = tuple(named(text) if isinstance(text, str) else text for text in error.args)
        raise
    finally:
        _from_python.reset(token)


def named(text: str) -> str:
    """A message in the caller's words; "curvae train …" is itself one to be typed.

    Example:
        >>> with with_arguments():
        ...     named("lower --lr, or --batch-size, and see --help")
        'lower lr, or batch_size, and see --help'
        >>> named("lower --lr")
        'lower --lr'
    """

    def argument(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_")
        return name if name in _OPTIONS else found[0]

    if not _from_python.get() or "curvae train" in text:
        return text
    return re.sub(r"(?<!\S)--([a-z-]+)", argument, text)
