"""Which decoder a function stands for."""

from __future__ import annotations

import dis
import functools
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from types import CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn


def identity(fn: Callable[..., Any]) -> tuple[Any, Hashable]:
    """What lives as long as a decoder does, and a key for it in its mode; nothing where there is no such thing.

    The same for each of the functions or methods that a loop makes anew at every step of the same modules and code.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> made = [lambda z, scale=scale: scale * layer(z) for scale in (1.0, 2.0)]
        >>> identity(made[0]) == identity(made[1])
        True
    """
    found = list(parts(fn)) or [fn]
    modules = [part for part in found if isinstance(part, nn.Module)]
    modes = tuple(module.training for module in modules)
    owner = modules[0] if modules else found[0]
    try:
        weakref.ref(owner)
    except TypeError:
        return None, ()
    return owner, (tuple(map(id, found)), modes)


def parts(thing: object, depth: int = 4) -> Iterator[object]:
    """The modules and the code that a function is made of, as far as can be seen without calling it."""
    if isinstance(thing, nn.Module):
        yield thing
    elif isinstance(thing, MethodType):
        yield getattr(thing.__func__, "__code__", thing.__func__)
        yield from parts(thing.__self__, depth)
    elif isinstance(thing, functools.partial):
        for part in (thing.func, *thing.args, *thing.keywords.values()):
            yield from parts(part, depth)
    elif isinstance(thing, FunctionType):
        yield thing.__code__
        if depth:
            used = (thing.__globals__.get(name) for name in _global_names(thing.__code__))
            for part in (*_closed_over(thing), *used):
                yield from parts(part, depth - 1)
    elif depth and not isinstance(thing, torch.Tensor | type) and hasattr(thing, "__dict__"):
        yield from (part for value in vars(thing).values() if isinstance(value, nn.Module) for part in parts(value))


@functools.lru_cache(1024)  # reading the code takes longer than all else here
def _global_names(code: CodeType) -> tuple[str, ...]:
    """What code and the functions and comprehensions in it load as globals; ``co_names`` has attributes, too."""
    own = (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    inside = (name for part in code.co_consts if isinstance(part, CodeType) for name in _global_names(part))
    return tuple(dict.fromkeys((*own, *inside)))


def _closed_over(fn: FunctionType) -> Iterator[object]:
    """The values of a function's free variables, but for those without one yet: a branch has not been taken."""
    for cell in fn.__closure__ or ():
        with suppress(ValueError):
            yield cell.cell_contents
