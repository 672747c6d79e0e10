"""Decoders of which the compiler has made something else."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import nn

from curvae._transforms import uncompiled
from curvae._typing import Tensor
from curvae.forward.identity import parts


def as_written(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A decoder; if part of it is compiled, one that runs as it was written, which works in nested transforms.

    Example:
        >>> as_written(torch.sin) is torch.sin
        True
    """
    if not is_compiled(fn):
        return fn

    def run(point: Tensor) -> Tensor:
        with uncompiled():
            return fn(point)

    return run


def is_compiled(fn: Callable[..., Any]) -> bool:
    """Whether part of a decoder is compiled, so that its functions cannot be seen."""
    return any(map(_is_compiled, (fn, *layers_of(fn))))


def layers_of(fn: Callable[..., Any]) -> list[nn.Module]:
    """The modules of a decoder and what they consist of; of a model's own ``decode`` those of its decoder alone."""
    decoder = getattr(fn.__self__, "decoder", None) if isinstance(fn, MethodType) else None
    seen = [decoder] if isinstance(decoder, nn.Module) else parts(fn)
    return [layer for part in seen if isinstance(part, nn.Module) for layer in part.modules()]


def is_opaque(thing: object) -> bool:
    """Whether one module or function, by itself, is compiled or scripted."""
    return isinstance(thing, torch.jit.ScriptModule | torch.jit.ScriptFunction) or _is_compiled(thing)


def _is_compiled(thing: object) -> bool:
    marked = hasattr(thing, "_torchdynamo_orig_callable") or hasattr(thing, "_orig_mod")
    return marked or getattr(thing, "_compiled_call_impl", None) is not None
