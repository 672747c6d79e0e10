"""What each function does to primal and tangent rows, and what makes sure that it treats each sample by itself.

The first axis of every operand is the batch, because every rule leaves it so. A rule rests on what the *function* says
of its axes (a linear layer acts on the last one, a convolution on those behind the first two), never on sizes that
happen to be equal; where that does not settle it, the rule raises :class:`CannotFollow` and another way is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from curvae._part import own_part
from curvae._precision import at_least_float32
from curvae._transforms import in_transform
from curvae._typing import Float, Tensor
from curvae.cpu.batch_norm import BATCH_NORM, normalise
from curvae.cpu.weight_gradients import by_products
from curvae.forward.arrangement import Arrangement
from curvae.forward.elementwise import ELEMENTWISE
from curvae.forward.linear import LINEAR_IN_INPUT
from curvae.forward.normalisation import PER_SAMPLE
from curvae.forward.row_activations import KERNELS, elementwise
from curvae.forward.row_normalisation import Groups
from curvae.forward.row_normalisation import normalise as normalise_samples
from curvae.forward.row_products import shifted
from curvae.forward.statistics import INSTANCE_NORM, BatchNorm, BatchStatistics, FixedStatistics


class CannotFollow(Exception):
    """A decoder does something that rows of one batch cannot stand for; another way has to be taken."""


class Call(NamedTuple):
    """A function called with rows.

    Attributes:
        func: PyTorch's.
        args: its arguments; rows have all of their primals and tangents.
        places: which of the arguments are rows.
        options: its named arguments, no rows.
        arrangement: of the rows.
        statistics: what batch normalisations see.
    """

    func: Callable[..., Any]
    args: list[Any]
    places: list[int]
    options: dict[str, Any]
    arrangement: Arrangement
    statistics: FixedStatistics

    def require(self, fact: bool) -> None:
        """Go on only if this is so."""
        if not fact:
            raise CannotFollow(getattr(self.func, "__name__", str(self.func)))

    def only(self) -> tuple[Float[Tensor, "R *S"], list[Any]]:
        """The one argument that is rows, which must be the first, and the others."""
        self.require(self.places == [0])
        return self.args[0], self.args[1:]

    def named(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The arguments by their names."""
        return dict(zip(names, self.args, strict=False)) | self.options

    def on(self, x: Tensor) -> Tensor:
        """The function of something else in the first argument's place."""
        return self.func(x, *self.args[1:], **self.options)

    def same(self, output: Tensor) -> Float[Tensor, "R *S"]:
        """The output of a function that gives a row for each row."""
        self.require(output.dim() > 0 and output.shape[0] == self.arrangement.total)
        return output


def _linear(call: Call) -> Tensor:
    """Layers that are linear but for a bias, which is the primals' alone."""
    rows, rest = call.only()
    options = dict(call.options)
    weight, *rest = rest or [options.pop("weight")]
    bias = rest.pop(0) if rest else options.pop("bias", None)
    if call.func is functional.linear:  # acts on the last axis
        call.require(rows.dim() >= 2 and weight.dim() == 2)
        axis = rows.dim() - 1
    else:  # without a batch a convolution would take one axis less than its weight has
        call.require(rows.dim() == weight.dim())
        axis = 1
    # without its bias the layer is the same map for primal and tangent
    output = call.same(by_products(call.func)(rows, weight, None, *rest, **options))
    return output if bias is None else shifted(output, _along(bias, axis, output.dim()), call.arrangement)


def _on_trailing_axes(axes: int) -> Callable[[Call], Tensor]:
    """Functions that are linear and act on that many of the last axes."""

    def rule(call: Call) -> Tensor:
        rows, rest = call.only()
        call.require(rows.dim() > axes)
        return call.same(call.func(rows, *rest, **call.options))

    return rule


def _fold(call: Call) -> Tensor:
    rows, rest = call.only()
    call.require(rows.dim() == 3)  # two axes are one sample without a batch
    return call.same(call.func(rows, *rest, **call.options))


def _pad(call: Call) -> Tensor:
    """Padding with zeros or with the tensor's own values."""
    rows, rest = call.only()
    named = dict(zip(("pad", "mode", "value"), rest, strict=False)) | call.options
    call.require(len(named["pad"]) <= 2 * (rows.dim() - 1) and not named.get("value"))
    return call.same(call.func(rows, *rest, **call.options))


def _cast(call: Call) -> Tensor:
    """Another type, place or layout in memory."""
    rows, rest = call.only()
    output: Tensor = call.func(rows, *rest, **call.options)
    call.require(output.shape == rows.shape and output.is_floating_point())
    return output


def _reshape(call: Call) -> Tensor:
    """Reshapes keep the order of all elements, so each row stays whole if there are as many as before."""
    rows, rest = call.only()
    before = torch.empty((call.arrangement.data, *rows.shape[1:]), dtype=rows.dtype, device="meta")
    after = call.func(before, *rest, **call.options)
    call.require(after.dtype == rows.dtype and after.dim() > 0 and len(after) == call.arrangement.data)
    return rows.reshape(call.arrangement.total, *after.shape[1:])


def _elementwise(call: Call) -> Tensor:
    """One slope for all tangents."""
    (rows, rest), func, options = call.only(), call.func, call.options
    call.require(not any(isinstance(value, torch.Tensor) for value in (*rest, *options.values())))
    call.require(not options.get("inplace"))
    kernels = KERNELS[func](*rest, **options) if func in KERNELS else None

    def function(x: Tensor) -> Tensor:  # call.on would keep the whole call, and with it the graph that keeps this
        return func(x, *rest, **options)

    return elementwise(rows, call.arrangement, function, kernels)


def _join(call: Call) -> Tensor:
    """Tensors beside each other, some of which may not depend on the latents."""
    count = len([value for value in call.args if isinstance(value, torch.Tensor)])
    parts, rest = call.args[:count], call.args[count:]
    named = {"dim": 0} | dict(zip(("dim",), rest, strict=False)) | call.options
    call.require(named.keys() == {"dim"} and len({part.dim() for part in parts}) == 1)
    dims = parts[0].dim() + (call.func is torch.stack)
    call.require(named["dim"] % dims > 0)
    for place, part in enumerate(parts):
        if place not in call.places:
            call.require(len(part) == call.arrangement.data)
            parts[place] = call.arrangement.constant(part)
    return call.same(call.func(parts, dim=named["dim"]))


def _batch_norm(call: Call) -> Tensor:
    rows, rest = call.only()
    call.require(rows.dim() >= 2)
    rows, layer = at_least_float32(rows), BatchNorm(*rest, **call.options)
    primal = call.arrangement.split(rows)[0]
    statistics = call.statistics
    # functorch's own transforms cannot see into a function with a backward pass of its own, and that sees no other
    # process's part of the batch
    if layer.stored is not None or statistics.reuses or not BATCH_NORM.on or in_transform() or own_part():
        scale, shift = (_along(vector, 1, rows.dim()) for vector in statistics.affine(primal, layer))
        return torch.addcmul(call.arrangement.constant(shift), rows, scale)
    weight, bias = (None if vector is None else vector.to(rows.dtype) for vector in (layer.weight, layer.bias))
    output, mean, variance = normalise(rows, weight, bias, call.arrangement.data, layer.eps)
    statistics.note(primal, BatchStatistics(mean, variance), layer)
    return output


def _layer_norm(call: Call) -> Tensor:
    named = call.named(("input", "normalized_shape", "weight", "bias", "eps"))
    call.require(len(named["normalized_shape"]) < call.args[0].dim())
    return _per_sample(call, named, Groups(None, tuple(named["normalized_shape"]), named.get("eps", 1e-5)))


def _group_norm(call: Call) -> Tensor:
    named = call.named(("input", "num_groups", "weight", "bias", "eps"))
    return _per_sample(call, named, Groups(named["num_groups"], (), named.get("eps", 1e-5)))


def _instance_norm(call: Call) -> Tensor:
    named = call.named(INSTANCE_NORM)
    if named.get("running_mean") is not None or not named.get("use_input_stats", True):
        return _per_sample(call, named, None)
    return _per_sample(call, named, Groups(call.args[0].shape[1], (), named.get("eps", 1e-5)))


def _per_sample(call: Call, named: dict[str, Any], groups: Groups | None) -> Tensor:
    """Normalisation of each sample by itself: its first axis is the batch, always."""
    rows, rest = call.only()
    # functorch's own transforms cannot see into a function with a backward pass of its own
    if groups is not None and not in_transform():
        rows = at_least_float32(rows)
        weight, bias = (None if vector is None else vector.to(rows.dtype) for vector in map(named.get, _AFFINE))
        return normalise_samples(rows, weight, bias, call.arrangement, groups)

    def values(x: Tensor) -> Tensor:
        return at_least_float32(call.on(x))

    def on(x: Tensor) -> Tensor:
        return PER_SAMPLE[call.func](x, *rest, **call.options)

    return call.arrangement.differentiate(values, on, rows)


def _dropout(call: Call) -> Tensor:
    """Nothing where it is switched off."""
    rows, rest = call.only()
    named = dict(zip(("p", "train"), rest, strict=False)) | call.options
    call.require(named["p"] == 0 or not named.get("training", named.get("train", True)))
    return rows


def _along(vector: Float[Tensor, " C"], axis: int, dims: int) -> Float[Tensor, "1 *S"]:
    """A vector as a tensor of that many axes."""
    return vector.view([len(vector) if place == axis else 1 for place in range(dims)])


_AFFINE = ("weight", "bias")
_tensor = torch.Tensor
RULES: Mapping[Callable[..., Any], Callable[[Call], Tensor]] = {
    **dict.fromkeys(LINEAR_IN_INPUT, _linear),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys([functional.avg_pool2d, functional.adaptive_avg_pool2d], _on_trailing_axes(2)),
    **dict.fromkeys([functional.pixel_shuffle, torch.pixel_shuffle], _on_trailing_axes(3)),
    # refuses what has no axes for data and channels
    **dict.fromkeys([functional.upsample, functional.interpolate], _on_trailing_axes(1)),
    functional.fold: _fold,
    functional.pad: _pad,
    **dict.fromkeys([_tensor.float, _tensor.double, _tensor.to, _tensor.contiguous, _tensor.clone], _cast),
    **dict.fromkeys([torch.reshape, _tensor.reshape, _tensor.view, torch.flatten, _tensor.flatten], _reshape),
    **dict.fromkeys([torch.unflatten, _tensor.unflatten, torch.squeeze, _tensor.squeeze], _reshape),
    **dict.fromkeys([torch.unsqueeze, _tensor.unsqueeze], _reshape),
    **dict.fromkeys([torch.cat, torch.stack], _join),
    functional.batch_norm: _batch_norm,
    **dict.fromkeys([functional.layer_norm, torch.layer_norm], _layer_norm),
    **dict.fromkeys([functional.group_norm, torch.group_norm], _group_norm),
    functional.instance_norm: _instance_norm,
    **dict.fromkeys([functional.dropout, functional.dropout1d, functional.dropout2d], _dropout),
    **dict.fromkeys([functional.dropout3d, functional.alpha_dropout, functional.feature_alpha_dropout], _dropout),
    **dict.fromkeys([torch.dropout, torch.feature_dropout, torch.alpha_dropout], _dropout),
}
"""The functions that rows can be followed through."""
