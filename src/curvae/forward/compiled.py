"""Decoders of which the compiler has made something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    layers = (layer for part in modules_of(fn) for layer in part.modules())
    return hasattr(fn, "_torchdynamo_orig_callable") or any(_is_compiled(layer) for layer in layers)


def modules_of(fn: Callable[..., Any]) -> Iterator[nn.Module]:
    """The modules of a decoder; of a model's own ``decode`` its decoder alone."""
    decoder = getattr(fn.__self__, "decoder", None) if isinstance(fn, MethodType) else None
    if isinstance(decoder, nn.Module):
        yield decoder
        return
    yield from (part for part in parts(fn) if isinstance(part, nn.Module))


def is_opaque(module: nn.Module) -> bool:
    """Whether one module, by itself, is compiled or scripted."""
    return isinstance(module, torch.jit.ScriptModule) or _is_compiled(module)


def _is_compiled(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
