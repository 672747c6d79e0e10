"""Primals and tangents as rows of one batch: a layer that is linear in its input is called once for both."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch.nn import functional

from curvae._typing import Float, Int, Tensor
from curvae.cpu.switch import Switch
from curvae.cpu.weight_gradients import MatrixWeightGradients
from curvae.forward import row_arithmetic, row_attention, row_rules
from curvae.forward.arrangement import Arrangement
from curvae.forward.checkpoints import without_checkpoints
from curvae.forward.compiled import uncompiled
from curvae.forward.identity import identity
from curvae.forward.row_attention import multi_head_attention
from curvae.forward.row_rules import Call, CannotFollow
from curvae.forward.row_views import VIEWS, view
from curvae.forward.statistics import Counters, FixedStatistics

_RULES = {**row_rules.RULES, **row_arithmetic.RULES, **row_attention.RULES}
_HEADS = functional.multi_head_attention_forward
ROWS = Switch()
"""Whether passes go by rows where they can; without, PyTorch's forward mode gives the same."""


class Rows(torch.Tensor):
    """One layer's output for all data, as the decoder sees it: B data and no more.

    Behind it are :attr:`rows`, the primals and the tangents as one tensor, so that a convolution takes all of them in
    one call and a sample without tangents costs nothing beyond its primal. Only functions with a rule
    (:mod:`~curvae.forward.row_rules`) can be applied to it; the rest raise :class:`CannotFollow`. It has no values of
    its own that anything could read by mistake, and its shape is the plain one, so that nothing that the decoder
    derives from a shape can differ.

    Attributes:
        rows: primals, then tangents.
        arrangement: of these.
        axis: where the decoder sees the batch, which is the first axis of :attr:`rows`.
    """

    rows: Tensor
    arrangement: Arrangement
    axis: int
    asks_by_products = True

    @staticmethod
    def __new__(cls, rows: Float[Tensor, "R *S"], arrangement: Arrangement, axis: int = 0) -> Rows:
        """Stand in for ``rows``."""
        shape = (*rows.shape[1 : axis + 1], arrangement.data, *rows.shape[axis + 1 :])
        made = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=rows.dtype, device=rows.device, requires_grad=rows.requires_grad
        )
        made.rows, made.arrangement, made.axis = rows, arrangement, axis
        return made

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The rule of one function."""
        options = kwargs or {}
        if func in _ABOUT:
            with torch._C.DisableTorchFunction():
                return func(*args, **options)
        options = dict(options)
        several = bool(args) and isinstance(args[0], list | tuple)  # as of torch.cat
        inputs = [*args[0], *args[1:]] if several else list(args)
        places = [place for place, value in enumerate(inputs) if isinstance(value, Rows)]
        if (
            not (func in _RULES or func in VIEWS or func is _HEADS)
            or not places
            or any(isinstance(value, Rows) for value in options.values())
        ):
            raise CannotFollow(getattr(func, "__name__", str(func)))
        # push_rows has switched this on; it is off inside an autograd.Function, which has a derivative of its own
        if not torch.is_grad_enabled():
            raise CannotFollow("a function with a derivative of its own")
        arrangement = inputs[places[0]].arrangement
        if any(inputs[place].arrangement is not arrangement for place in places):
            raise CannotFollow("rows of two passes")
        plain = [value.rows if isinstance(value, Rows) else value for value in inputs]
        # modes have seen the call; what a rule does is no business of theirs
        with torch._C.DisableTorchFunction(), torch.set_grad_enabled(arrangement.grad):
            if func in VIEWS and places == [0]:
                found = view(func, plain[0], inputs[0].axis, plain[1:], options)
                if isinstance(found, list):
                    return tuple(cls(rows, arrangement, axis) for rows, axis in found)
                return cls(found[0], arrangement, found[1])
            axes = {inputs[place].axis for place in places}
            call = Call(func, plain, places, options, arrangement)
            if func is _HEADS and axes == {1}:  # gives its weights too, which nobody asks for
                return cls(multi_head_attention(call), arrangement, 1), None
            if func not in _RULES or axes != {0}:
                raise CannotFollow("a batch that is not the first axis")
            return cls(_RULES[func](call), arrangement)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # PyTorch calls it with or without what may be empty
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Whatever got past the functions, as scripted code does."""
        raise CannotFollow(str(func))


# questions about a tensor that say nothing of its values
_ABOUT = frozenset(
    {
        torch.Tensor.__len__,
        torch.Tensor.dim,
        torch.Tensor.size,
        torch.Tensor.numel,
        torch.Tensor.is_floating_point,
        torch.Tensor.shape.__get__,  # type: ignore[attr-defined]
        torch.Tensor.dtype.__get__,  # type: ignore[attr-defined]
        torch.Tensor.device.__get__,
        torch.Tensor.ndim.__get__,  # type: ignore[attr-defined]
        torch.Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
        torch.Tensor.is_nested.__get__,  # type: ignore[attr-defined]
    }
)


class _Watch(Counters):
    """Sees to it that nothing has happened where the rows cannot be followed to the end."""

    def __init__(self) -> None:
        super().__init__()
        # modes of others have to see what is done to rows; ours has nothing to add, and each takes its time
        others = torch.overrides._get_current_function_mode_stack()
        self._alone = all(type(mode) is MatrixWeightGradients for mode in others)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Stop before a batch normalisation of something else than rows, which moves statistics that stay moved."""
        if func is functional.batch_norm and not (args and isinstance(args[0], Rows)):
            raise CannotFollow("batch_norm")
        if self._alone and args and isinstance(args[0], Rows):
            return Rows.__torch_function__(func, types, args, kwargs)
        return super().__torch_function__(func, types, args, kwargs)


# decoders that rows could not follow: where all data have tangents, the way there would be for nothing every time
_left: dict[Hashable, weakref.ref[Any]] = {}


def push_rows(
    fn: Callable[[Tensor], Tensor],
    z: Float[Tensor, "B *L"],
    tangents: Float[Tensor, "K m *L"],
    chosen: Int[Tensor, " m"] | None,
    statistics: FixedStatistics,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "K m *D"]]:
    r"""The decoder's output for all data and $J_g(z)\,v$ for the tangents of the chosen ones (``None``: all).

    Raises:
        CannotFollow: the decoder does something without a rule; nothing has happened then but that random numbers may
            have been drawn.
    """
    everyone = chosen is None
    owner, key = identity(fn) if everyone else (None, ())
    known = _left.get(key)
    if not len(z) or torch.compiler.is_compiling() or (owner is not None and known is not None and known() is owner):
        raise CannotFollow("no data, a graph that is traced, or what was met before")
    moved = torch.arange(len(z), device=z.device) if chosen is None else chosen
    arrangement = Arrangement(len(z), moved, len(tangents), statistics, torch.is_grad_enabled(), everyone)
    watch = _Watch()
    try:
        with watch, torch.enable_grad(), uncompiled(), without_checkpoints():
            output = fn(Rows(arrangement.join(z, tangents), arrangement))
        if not isinstance(output, Rows):
            raise CannotFollow("its output does not depend on its input")
    except Exception as error:  # if it is the decoder's own, the plain pass meets it again
        watch.undo()
        if owner is not None and isinstance(error, CannotFollow):
            _left[key] = weakref.ref(owner, lambda _: _left.pop(key, None))
        raise CannotFollow(str(error)) from error
    if statistics.reuses:  # an earlier pass has counted this batch
        watch.undo()
    return arrangement.split(output.rows)
