"""Networks that see a part of a batch and normalise by all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.nn.functional import batch_norm

from curvae._part import Part, part_of
from curvae.forward.checkpoints import without_checkpoints
from curvae.forward.rows import Rows
from curvae.forward.statistics import FixedStatistics


class _WholeBatch(FixedStatistics):
    """Batch normalisation by what :func:`~curvae.forward.statistics.batch_statistics` sees, outside derivatives too."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Leave rows of primals and tangents to their own rules."""
        if func is batch_norm and isinstance(args[0], Rows):
            return func(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


@contextmanager
def whole_batch(part: Part | None) -> Iterator[None]:
    """Inside this context a batch is a part of one that several processes share.

    Random numbers are this part's of those for the whole batch (:func:`~curvae._part.drawn`), and train-mode batch
    normalisation, inside derivatives and outside, takes the statistics of all parts, through which gradients flow to
    all of them. Running statistics move at the end. Gradients of the sum over processes of their losses are the sums
    of the gradients that each of them gets. With None the batch is whole, and nothing is done.
    """
    if part is None:
        yield
        return
    statistics = _WholeBatch(derivatives=False)
    # a layer that runs again in the backward pass would do so outside of this
    with part_of(part), without_checkpoints(), statistics:
        yield
    statistics.update_running(statistics.seen)
