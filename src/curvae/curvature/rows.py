"""Primals and tangents as rows of one batch: a layer that is linear in its input is called once for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.func import jvp, vmap
from torch.nn import functional

from curvae._precision import at_least_float32
from curvae._transforms import in_transform
from curvae._typing import Float, Tensor
from curvae.curvature.batch_norm import normalise
from curvae.curvature.elementwise import ELEMENTWISE
from curvae.curvature.linear import LINEAR_IN_INPUT
from curvae.curvature.normalisation import PER_DATUM
from curvae.curvature.statistics import BatchNorm, BatchStatistics, Counters, FixedStatistics

Layer = Callable[..., Any]

# linear in the first argument, each row by itself, whatever the other arguments are
_ROW_WISE = frozenset(
    {
        functional.avg_pool2d,
        functional.adaptive_avg_pool2d,
        functional.pixel_shuffle,
        torch.pixel_shuffle,
        functional.fold,
        functional.upsample,
        functional.interpolate,
        torch.flatten,
        torch.Tensor.flatten,
        torch.unflatten,
        torch.Tensor.unflatten,
        torch.Tensor.float,
        torch.Tensor.contiguous,
        torch.Tensor.reshape,
        torch.Tensor.view,
    }
)
# of rows, numbers, and tensors that are the same for all data
_ARITHMETIC = frozenset(
    {torch.Tensor.add, torch.Tensor.sub, torch.Tensor.mul, torch.Tensor.div, torch.add, torch.sub, torch.mul, torch.div}
)


class CannotFollow(Exception):
    """A decoder does something that rows of one batch cannot stand for; another way has to be taken."""


class Rows(torch.Tensor):
    """The rows of one layer's output: primals of B data, then tangents 1 … K of the first m of them.

    A convolution takes all rows in one call, and a datum without tangents costs nothing beyond its primal. Only layers
    whose rule is known pass (linear ones, elementwise ones, normalisations); the rest raise :class:`CannotFollow`.
    """

    arrangement: Arrangement

    @classmethod
    def __torch_function__(
        cls, func: Layer, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The rule of one layer."""
        options = dict(kwargs or {})
        if func in _ABOUT:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **options)
        found = [arg.arrangement for arg in args if isinstance(arg, Rows)]
        if not found or any(isinstance(option, Rows) for option in options.values()) or options.get("inplace"):
            raise CannotFollow(_name(func))
        if torch.is_grad_enabled() != found[0].grad:
            raise CannotFollow("a function with a derivative of its own")
        with torch._C.DisableTorchFunctionSubclass():
            plain = [arg.as_subclass(torch.Tensor) if isinstance(arg, Rows) else arg for arg in args]
            places = [place for place, arg in enumerate(args) if isinstance(arg, Rows)]
            return found[0].rule(func, plain, places, options)


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
    }
)


class Arrangement(NamedTuple):
    """How the rows are arranged.

    Attributes:
        data: B, primal rows.
        moved: m, the first data, which have tangents.
        directions: K, tangents of each of them.
        statistics: of the batch normalisations, which it observes.
        grad: whether gradients were recorded at the start; they are not inside an ``autograd.Function``, whose backward
            knows nothing of tangents.
    """

    data: int
    moved: int
    directions: int
    statistics: FixedStatistics
    grad: bool

    def join(self, primal: Float[Tensor, "B *S"], tangents: Float[Tensor, "R *S"]) -> Rows:
        """One tensor of primal and tangent rows."""
        return self._stamped(torch.cat([primal, tangents.to(primal.dtype)]))

    def split(self, rows: Tensor) -> tuple[Float[Tensor, "B *S"], Float[Tensor, "R *S"]]:
        """Primal rows and tangent rows."""
        # one split, whose derivative is one concatenation; that of a slice is a tensor of zeros for each half
        primal, tangents = rows.split([self.data, self.directions * self.moved])
        return primal, tangents

    def rule(self, func: Layer, args: list[Any], places: list[int], options: dict[str, Any]) -> Rows:
        """Apply a layer to all rows; ``places`` are those of its arguments that consist of rows.

        Raises:
            CannotFollow: its rule is not known.
        """
        if func in _ARITHMETIC and _same_for_all(args, places):
            return self._per_datum(func, args, places, options)
        if places == [0]:
            rows, *rest = args
            if func in LINEAR_IN_INPUT:
                return self._linear(func, rows, rest, options)
            if func in _ROW_WISE or _leaves_rows(func, rows.dim(), rest, options):
                return self._row_wise(func(rows, *rest, **options), len(rows), func)
            if func is functional.batch_norm:
                return self._batch_norm(at_least_float32(rows), BatchNorm(*rest, **options))
            if func in ELEMENTWISE:
                return self._elementwise(lambda x: func(x, *rest, **options), rows)
            if func in PER_DATUM:
                return self._per_datum(PER_DATUM[func], args, places, options)
        raise CannotFollow(_name(func))

    def _row_wise(self, output: Tensor, rows: int, func: Layer) -> Rows:
        if len(output) != rows:  # a view that mixes the rows
            raise CannotFollow(_name(func))
        return self._stamped(output)

    def _linear(self, func: Layer, rows: Tensor, rest: list[Any], options: dict[str, Any]) -> Rows:
        weight, *rest = rest or [options.pop("weight")]
        bias = rest.pop(0) if rest else options.pop("bias", None)
        # without its bias the layer is the same map for primal and tangent
        output = func(rows, weight, None, *rest, **options)
        if bias is not None:
            output = output + self._for_primals(bias, 0 if func is functional.linear else output.dim() - 2)
        return self._stamped(output)

    def _batch_norm(self, rows: Tensor, layer: BatchNorm) -> Rows:
        primals = self.split(rows)[0]
        # functorch's own transforms cannot see into a function with a backward pass of its own
        if layer.stored is not None or in_transform():
            return self._affine(rows, *self.statistics.affine(primals, layer))
        weight, bias = (None if vector is None else vector.to(rows.dtype) for vector in (layer.weight, layer.bias))
        output, mean, variance = normalise(rows, weight, bias, self.data, layer.eps)
        self.statistics.note(primals, BatchStatistics(mean, variance), layer)
        return self._stamped(output)

    def _affine(self, rows: Tensor, scale: Float[Tensor, " C"], shift: Float[Tensor, " C"]) -> Rows:
        trailing = rows.dim() - 2
        return self._stamped(torch.addcmul(self._for_primals(shift, trailing), rows, scale.view(-1, *[1] * trailing)))

    def _for_primals(self, vector: Float[Tensor, " C"], trailing: int) -> Float[Tensor, "R C *S"]:
        """The vector in every primal row and zero in the others: small, where a second copy of all rows is large."""
        tangents = vector.new_zeros(self.directions * self.moved, len(vector))
        return torch.cat([vector.expand(self.data, -1), tangents]).view(-1, len(vector), *[1] * trailing)

    def _elementwise(self, func: Layer, rows: Tensor) -> Rows:
        primal, tangents = self.split(rows)
        point = self._points(primal)
        slope = jvp(func, (point,), (torch.ones_like(point),))[1]
        pushed = tangents.unflatten(0, (self.directions, self.moved)) * slope
        return self.join(func(primal), pushed.flatten(0, 1))

    def _per_datum(self, func: Layer, args: list[Any], places: list[int], options: dict[str, Any]) -> Rows:
        """Any function of each datum by itself, differentiated as a whole."""

        def on(*values: Tensor) -> Tensor:
            inner = list(args)
            for place, value in zip(places, values, strict=True):
                inner[place] = value
            return func(*inner, **options)

        halves = [self.split(args[place]) for place in places]
        points = tuple(self._points(primal) for primal, _ in halves)
        tangents = tuple(half.unflatten(0, (self.directions, self.moved)) for _, half in halves)
        pushed = vmap(lambda *tangent: jvp(on, points, tangent)[1])(*tangents)
        return self.join(on(*(primal for primal, _ in halves)), pushed.flatten(0, 1))

    def _points(self, primal: Float[Tensor, "B *S"]) -> Float[Tensor, "m *S"]:
        # in memory of its own: for a view, forward mode fills zeros of the size of all the memory that it lies in
        return primal[: self.moved].clone()

    def _stamped(self, rows: Tensor) -> Rows:
        stamped = rows.as_subclass(Rows)
        stamped.arrangement = self
        return stamped


def push_rows(
    fn: Callable[[Tensor], Tensor],
    z: Float[Tensor, "B d"],
    tangents: Float[Tensor, "K m d"],
    statistics: FixedStatistics,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "K m *D"]]:
    r"""The decoder's output for all data and $J_g(z)\,v$ for the tangents of the first m.

    Raises:
        CannotFollow: the decoder has a layer without a rule; nothing has happened then.
    """
    directions, moved = tangents.shape[:2]
    arrangement = Arrangement(len(z), moved, directions, statistics, torch.is_grad_enabled())
    counters = Counters()
    try:
        with counters:
            output = fn(arrangement.join(z, tangents.flatten(0, 1)))
        if not isinstance(output, Rows):
            raise CannotFollow("its output does not depend on its input")
    except CannotFollow:
        counters.undo()
        raise
    primal, pushed = arrangement.split(output.as_subclass(torch.Tensor))
    return primal, pushed.unflatten(0, (directions, moved))


def _same_for_all(args: list[Any], places: list[int]) -> bool:
    """Whether what is not rows has no place for a datum."""
    others = [arg for place, arg in enumerate(args) if place not in places]
    least = min(args[place].dim() for place in places)
    return all(not isinstance(other, torch.Tensor) or other.dim() < least for other in others)


def _leaves_rows(func: Layer, dims: int, rest: list[Any], options: Mapping[str, Any]) -> bool:
    """Whether this indexing takes from every row alike, as in ``x[..., :-1]``, or this padding adds zeros to each."""
    if func is functional.pad:
        padding, *others = rest or [options["pad"]]
        value = others[1] if len(others) > 1 else options.get("value")
        return len(padding) < 2 * dims and not value
    if func is not torch.Tensor.__getitem__:
        return False
    parts = rest[0] if isinstance(rest[0], tuple) else (rest[0],)
    if any(not isinstance(part, int | slice | type(...)) for part in parts):
        return False
    return parts[0] == slice(None) or (parts[0] is ... and len(parts) <= dims)


def _name(func: Layer) -> str:
    return getattr(func, "__name__", str(func))
