"""What transformers and attention layers are made of, for primal and tangent rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from curvae._typing import Float, Tensor
from curvae.forward.row_rules import Call

_ATTENTION = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
_HEADS = (
    *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v"),
    *("add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights"),
    "attn_mask",
)


def attention(call: Call) -> Float[Tensor, "R *S"]:
    """``scaled_dot_product_attention`` of one sample at a time, by the kernel that has derivatives of every order."""
    named = _named(call, _ATTENTION)
    query, key, value = call.args[:3]
    mask = named.get("attn_mask")
    call.require(call.places == [0, 1, 2] and query.dim() == key.dim() == value.dim() >= 3)
    call.require(not named.get("dropout_p") and not named.get("enable_gqa"))
    call.require(mask is None or mask.dim() <= 2)  # more axes may be the batch's
    rest = {name: named[name] for name in ("attn_mask", "is_causal", "scale") if name in named}

    def on(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return functional.scaled_dot_product_attention(query, key, value, **rest)

    return call.arrangement.differentiate(on, on, query, key, value)


def multi_head_attention(call: Call) -> Float[Tensor, "R N E"]:
    """What ``nn.MultiheadAttention`` calls, whose batch is the second axis; without its weights."""
    named = _named(call, _HEADS)
    call.require(call.places == [0, 1, 2] and all(call.args[place].dim() == 3 for place in call.places))
    call.require(not named.get("need_weights", True) and not (named["dropout_p"] and named.get("training", True)))
    call.require(named.get("key_padding_mask") is None and named.get("attn_mask") is None)

    def on(*given: Tensor) -> Tensor:
        inputs = [tensor.movedim(0, 1) for tensor in given]
        with sdpa_kernel(SDPBackend.MATH):
            return call.func(*inputs, *call.args[3:], **call.options)[0].movedim(1, 0)

    return call.arrangement.differentiate(on, on, *call.args[:3])


def matmul(call: Call) -> Float[Tensor, "R *S"]:
    """A matrix that is the same for all samples, from the right, or a product within each sample."""
    call.require(len(call.args) == 2 and not call.options)
    left, right = call.args
    if call.places == [0]:
        call.require(left.dim() >= 2 and right.dim() == 2)
        return call.same(call.func(left, right))
    call.require(left.dim() == right.dim() >= 3)
    return call.arrangement.differentiate(call.func, call.func, left, right)


def along_axis(call: Call) -> Float[Tensor, "R *S"]:
    """Softmax and its like, along an axis that is not the batch's."""
    rows, rest = call.only()
    axis = _named(call, ("input", "dim")).get("dim")
    call.require(isinstance(axis, int) and rows.dim() > 1 and axis % rows.dim() != 0)

    def on(x: Tensor) -> Tensor:
        return call.func(x, *rest, **call.options)

    return call.arrangement.differentiate(on, on, rows)


def rms_norm(call: Call) -> Float[Tensor, "R *S"]:
    """Of trailing axes."""
    rows, rest = call.only()
    call.require(len(_named(call, ("input", "normalized_shape"))["normalized_shape"]) < rows.dim())

    def on(x: Tensor) -> Tensor:
        return call.func(x, *rest, **call.options)

    return call.arrangement.differentiate(on, on, rows)


def _named(call: Call, names: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(names, call.args, strict=False)) | call.options


_tensor = torch.Tensor
RULES: dict[Callable[..., Any], Callable[[Call], Tensor]] = {
    functional.scaled_dot_product_attention: attention,
    **dict.fromkeys([torch.matmul, _tensor.matmul, _tensor.__matmul__, torch.bmm, _tensor.bmm], matmul),
    **dict.fromkeys([functional.softmax, torch.softmax, _tensor.softmax], along_axis),
    **dict.fromkeys([functional.log_softmax, torch.log_softmax, _tensor.log_softmax], along_axis),
    **dict.fromkeys([functional.rms_norm, torch.rms_norm], rms_norm),
}
"""Beside those of :mod:`~curvae.forward.row_rules`."""
