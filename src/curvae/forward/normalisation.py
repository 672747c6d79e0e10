r"""Normalisation of each sample by itself, spelled out so that PyTorch differentiates it correctly.

PyTorch's forward-mode rules for ``layer_norm`` and ``instance_norm`` take the sample's mean and variance for constants
when the result is differentiated once more, in reverse: the Jacobian is right, every gradient of it is silently wrong
(measured with PyTorch 2.13: by as much as the gradient itself). Under autocast ``layer_norm`` and ``group_norm`` also
give primal and tangent different types. The plain formulas below have neither fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from curvae._precision import at_least_float32
from curvae._typing import Float, Tensor
from curvae.errors import InputError

# arguments have PyTorch's names, by which a decoder may give them


def layer_norm(
    input: Float[Tensor, "B *D"],
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,  # noqa: ARG001
) -> Float[Tensor, "B *D"]:
    """``torch.nn.functional.layer_norm``."""
    y = _standardised(at_least_float32(input), list(range(-len(normalized_shape), 0)), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def group_norm(
    input: Float[Tensor, "B C *S"],
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: ARG001
) -> Float[Tensor, "B C *S"]:
    """``torch.nn.functional.group_norm``."""
    groups = at_least_float32(input).unflatten(1, (num_groups, -1))
    y = _standardised(groups, list(range(2, groups.dim())), eps).flatten(1, 2)
    return _scaled(y, weight, bias)


def instance_norm(
    input: Float[Tensor, "B C *S"],
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> Float[Tensor, "B C *S"]:
    """``torch.nn.functional.instance_norm``, unless it is to move running statistics: not inside a derivative."""
    x = at_least_float32(input)
    if running_mean is None or running_var is None:
        return _scaled(_standardised(x, list(range(2, x.dim())), eps), weight, bias)
    if use_input_stats:
        raise InputError(
            "instance normalisation with running statistics has no Jacobian in train mode; "
            "build it with track_running_stats=False or put it into eval mode"
        )
    scale = (running_var + eps).rsqrt()
    return _scaled(_scaled(x, scale, -running_mean * scale), weight, bias)


def _standardised(x: Tensor, dims: list[int], eps: float) -> Tensor:
    variance, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    return (x - mean) * (variance + eps).rsqrt()


def _scaled(y: Float[Tensor, "B C *S"], weight: Tensor | None, bias: Tensor | None) -> Float[Tensor, "B C *S"]:
    shape = (-1, *[1] * (y.dim() - 2))
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


def _native_layer_norm(
    input: Float[Tensor, "B *D"],
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Float[Tensor, "B *D"], Tensor, Tensor]:
    """``torch.native_layer_norm``, which also returns mean and 1/√(var + ε)."""
    dims = list(range(-len(normalized_shape), 0))
    variance, mean = torch.var_mean(at_least_float32(input), dims, correction=0, keepdim=True)
    return layer_norm(input, normalized_shape, weight, bias, eps), mean, (variance + eps).rsqrt()


def _batch_norm(
    input: Float[Tensor, "B C *S"],
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,  # noqa: ARG001
) -> Float[Tensor, "B C *S"]:
    return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _instance_norm(
    input: Float[Tensor, "B C *S"],
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,  # noqa: ARG001
) -> Float[Tensor, "B C *S"]:
    return functional.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def normalises_by_batch(args: Sequence[Any], options: Mapping[str, Any]) -> bool:
    """Whether a call of an operator below ``batch_norm`` is one in train mode; where that cannot be told, yes."""
    flags = [value for value in (*args, *options.values()) if isinstance(value, bool)]
    return flags[0] if flags else True


def _forms(*names: str) -> frozenset[Any]:
    """The ways to call operators from Python: ``torch.f``, ``torch.ops.aten.f`` and each of its overloads."""
    packets = [getattr(torch.ops.aten, name) for name in names if hasattr(torch.ops.aten, name)]
    overloads = [getattr(packet, overload) for packet in packets for overload in packet.overloads()]
    return frozenset([*(getattr(torch, name) for name in names if hasattr(torch, name)), *packets, *overloads])


PER_SAMPLE: Mapping[Callable[..., Tensor], Callable[..., Any]] = {
    functional.layer_norm: layer_norm,
    torch.layer_norm: layer_norm,
    functional.group_norm: group_norm,
    torch.group_norm: group_norm,
    functional.instance_norm: instance_norm,
}
"""PyTorch's functions and what to call in their place inside a forward-mode pass."""

CALLED_OTHERWISE: Mapping[Callable[..., Any], Callable[..., Any]] = {
    **dict.fromkeys(_forms("batch_norm"), _batch_norm),
    **dict.fromkeys(_forms("instance_norm"), _instance_norm),
    **dict.fromkeys(_forms("layer_norm") - PER_SAMPLE.keys(), functional.layer_norm),
    **dict.fromkeys(_forms("native_layer_norm"), _native_layer_norm),
}
"""Operators below ``torch.nn.functional``, and the same in its terms."""

UNKNOWN_WITH_STATISTICS = _forms(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional",
    "_batch_norm_impl_index",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "_batch_norm_with_update_functional",
    "batch_norm_stats",
    "batch_norm_elemt",
    "batch_norm_gather_stats",
    "batch_norm_gather_stats_with_counts",
    "batch_norm_update_stats",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)
"""Operators that normalise by a batch's statistics and have no counterpart there."""
