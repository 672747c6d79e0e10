"""Views of rows, in which the batch may stand at another axis for a while, as between the heads of an attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from curvae._typing import Float, Tensor
from curvae.forward.row_rules import CannotFollow

_tensor = torch.Tensor
VIEWS: frozenset[Callable[..., Any]] = frozenset(
    {
        *(_tensor.__getitem__, torch.select, _tensor.select, torch.narrow, _tensor.narrow),
        *(torch.permute, _tensor.permute, torch.transpose, _tensor.transpose, torch.swapaxes, _tensor.swapaxes),
        *(torch.movedim, _tensor.movedim, _tensor.mT.__get__),  # type: ignore[attr-defined]
        *(torch.unbind, _tensor.unbind, torch.chunk, _tensor.chunk, torch.split, _tensor.split),
    }
)
"""Functions that only say in which order memory is read, and give one tensor or several."""


def view(
    func: Callable[..., Any], rows: Float[Tensor, "R *S"], axis: int, rest: list[Any], options: dict[str, Any]
) -> list[tuple[Float[Tensor, "R *T"], int]] | tuple[Float[Tensor, "R *T"], int]:
    """Rows by one of :data:`VIEWS`: in another order of their axes, or parts of each, and where the batch is then.

    That is where the decoder sees it, as ``axis`` says for what is given; in memory it is the first axis.

    Raises:
        CannotFollow: not every row of what comes out is of one row alone.
    """
    if func is _tensor.__getitem__:
        parts = rest[0] if isinstance(rest[0], tuple) else (rest[0],)
        if not all(part is None or isinstance(part, int | slice | type(...)) for part in parts):
            raise CannotFollow("an index that copies")
        if axis == 0 and parts[0] is ... and len(parts) <= rows.dim():  # nothing of it is about the batch
            return rows[rest[0]], 0
    before = torch.empty(rows.shape, device="meta").movedim(0, axis)
    places, outputs = func(before, *rest, **options), func(rows.movedim(0, axis), *rest, **options)
    if isinstance(outputs, torch.Tensor):
        return _batch_first(func, rows, places, outputs)
    return [_batch_first(func, rows, *pair) for pair in zip(places, outputs, strict=True)]


def _batch_first(
    func: Callable[..., Any], rows: Tensor, place: Tensor, output: Tensor
) -> tuple[Float[Tensor, "R *T"], int]:
    """Where in memory a view looks shows whether row i of the output is of row i alone."""
    size = rows[:1].numel()
    axes = [k for k in range(place.dim()) if place.stride(k) == size and place.shape[k] == len(rows)]
    if len(axes) == 1 and 0 not in place.shape:
        within = [k for k in range(place.dim()) if k != axes[0]]
        reach = place.storage_offset() + sum((place.shape[k] - 1) * place.stride(k) for k in within)
        if reach < size:
            return output.movedim(axes[0], 0), axes[0]
    raise CannotFollow(getattr(func, "__name__", str(func)))
