"""What an object prints: one line that says what it is, never its numbers or its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from html import escape
from typing import Any

import numpy as np
from torch import nn

from curvae._checks import shown
from curvae._typing import Tensor


class OneLine:
    """Gives a class a line with its name and its parts; of a dataclass made with ``repr=False`` these are its fields.

    Example:
        >>> from dataclasses import dataclass
        >>> import torch
        >>> @dataclass(frozen=True, repr=False)
        ... class Pair(OneLine):
        ...     mean: Tensor
        ...     count: int
        >>> Pair(torch.zeros(5, 2), 3)
        Pair(mean=float32 [5, 2], count=3)
    """

    def _told(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.repr}  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return line(type(self).__name__, **self._told())

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


def line(name: str, /, *words: str, **values: Any) -> str:
    """A name with words and named values behind it.

    Example:
        >>> line("Dataset", "'toy'", train=np.zeros((3, 2)), kinds={"a": 1, "b": 2})
        "Dataset('toy', train=float64 [3, 2], kinds=a, b)"
    """
    return f"{name}({', '.join([*words, *(f'{key}={brief(value)}' for key, value in values.items())])})"


def brief(value: Any) -> str:
    """A value in a few words: of arrays type and shape, of mappings the keys, of networks the class.

    Example:
        >>> brief(nn.Linear(2, 3)), brief(0.5)
        ('Linear', '0.5')
    """
    if isinstance(value, Tensor | np.ndarray):
        kind = str(value.dtype).removeprefix("torch.")
        return f"{kind} {list(value.shape)}" if value.ndim else shown(value.item())
    if isinstance(value, nn.Module) and not isinstance(value, OneLine):
        text = repr(value)
        return type(value).__name__ if "\n" in text or type(value).__module__.startswith("torch.") else shown(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__)
    if isinstance(value, Mapping):
        return shown(", ".join(map(str, value))).strip("'\"")
    return shown(value)


def weights(module: nn.Module) -> str:
    """How many numbers a module learns, in words.

    Example:
        >>> weights(nn.Linear(2, 3))
        '9 weights'
    """
    count = sum(0 if nn.parameter.is_lazy(weight) else weight.numel() for weight in module.parameters())
    return f"{count:,} weights"
