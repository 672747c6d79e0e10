"""What transformers and attention layers are made of, for primal and tangent rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from curvae._again import goes_again, gradients_again
from curvae._transforms import in_transform
from curvae._typing import Float, Tensor
from curvae.forward.arrangement import Arrangement
from curvae.forward.row_products import bilinear, linear
from curvae.forward.row_rules import Call

_ATTENTION = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
_HEADS = (
    *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v"),
    *("add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights"),
    "attn_mask",
)


def attention(call: Call) -> Float[Tensor, "R *S"]:
    """``scaled_dot_product_attention`` of one sample at a time, whose weights are written out."""
    named = call.named(_ATTENTION)
    query, key, value = call.args[:3]
    mask = named.get("attn_mask")
    call.require(call.places == [0, 1, 2] and query.dim() == key.dim() == value.dim() >= 3)
    call.require(not named.get("dropout_p") and not named.get("enable_gqa"))
    call.require(mask is None or mask.dim() <= 2)  # more axes may be the batch's
    if named.get("is_causal"):
        call.require(mask is None)
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    return attend(query, key, value, call.arrangement, mask, named.get("scale"))


def attend(
    query: Float[Tensor, "R *H T E"],
    key: Float[Tensor, "R *H S E"],
    value: Float[Tensor, "R *H S F"],
    arrangement: Arrangement,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Float[Tensor, "R *H T F"]:
    r"""$y=Pv$ with $P=\mathrm{softmax}(qk^\top)$ of primals, $\dot Pv+P\dot v$ of tangents.

    P is written out where there are tangents; the other samples have PyTorch's fused kernel. A mask says where to look,
    or is added.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    (q, s), (k, t), (v, u) = map(arrangement.split, (query, key, value))
    at_q, at_k, at_v = map(arrangement.points, (q, k, v))
    weights = _weights(at_q, at_k, mask, scale)
    of_scores = (s * scale) @ at_k.mT + (at_q * scale) @ t.mT
    pushed = _through_softmax(weights, of_scores, -1) @ at_v + weights @ u
    # of fewer, the weights would have to be written out for all
    primal = weights @ at_v if arrangement.everyone else fused_attention(q, k, v, mask, scale)
    return arrangement.join(primal, pushed)


def fused_attention(
    query: Float[Tensor, "B *H T E"],
    key: Float[Tensor, "B *H S E"],
    value: Float[Tensor, "B *H S F"],
    mask: Tensor | None,
    scale: float,
) -> Float[Tensor, "B *H T F"]:
    """``scaled_dot_product_attention`` by PyTorch's fused kernel, with second derivatives, which that does not have."""
    # functorch's own transforms see into no function with a backward pass; a mask that learns has no fused kernel
    if in_transform() or (mask is not None and mask.requires_grad):
        return _weights(query, key, mask, scale) @ value
    if not torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(query, key, value, mask, scale=scale)
    return _Fused.apply(query, key, value, mask, scale)  # type: ignore[no-untyped-call]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        inside = [tensor.detach().requires_grad_() for tensor in (query, key, value)]
        with torch.enable_grad():
            output = functional.scaled_dot_product_attention(inside[0], inside[1], inside[2], mask, scale=scale)
        # saved, the kernel's graph is let go of after the backward pass, however long the loss is kept
        ctx.save_for_backward(query, key, value, *inside, output)
        ctx.given = mask, scale
        return output.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *inside, output = ctx.saved_tensors
        if goes_again(gradient):
            mask, scale = ctx.given

            def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
                return _weights(query, key, mask, scale) @ value

            return *gradients_again(plain, [query, key, value], [gradient]), None, None
        return *torch.autograd.grad(output, inside, gradient, retain_graph=True), None, None


def _weights(
    query: Float[Tensor, "N *H T E"], key: Float[Tensor, "N *H S E"], mask: Tensor | None, scale: float
) -> Float[Tensor, "N *H T S"]:
    scores = (query * scale) @ key.mT
    if mask is None:
        return torch.softmax(scores, -1)
    scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return torch._safe_softmax(scores, -1)  # 0 where nothing is seen


def softmax(rows: Float[Tensor, "R *S"], axis: int, arrangement: Arrangement) -> Float[Tensor, "R *S"]:
    r"""$y=\mathrm{softmax}(x)$ of primals, $y\,(t-\sum yt)$ of tangents."""
    primal, tangents = arrangement.split(rows)
    y = torch.softmax(primal, axis)
    return arrangement.join(y, _through_softmax(arrangement.points(y), tangents, axis))


def _through_softmax(y: Float[Tensor, "m *S"], tangents: Float[Tensor, "K m *S"], axis: int) -> Float[Tensor, "K m *S"]:
    weighted = y * tangents
    return weighted - y * weighted.sum(axis, keepdim=True)


def multi_head_attention(call: Call) -> Float[Tensor, "R N E"]:
    """What ``nn.MultiheadAttention`` calls, whose batch is the second axis; without its weights."""
    named = call.named(_HEADS)
    call.require(call.places == [0, 1, 2] and all(call.args[place].dim() == 3 for place in call.places))
    call.require(not named.get("need_weights", True) and not (named["dropout_p"] and named.get("training", True)))
    call.require(named.get("key_padding_mask") is None and named.get("attn_mask") is None)
    call.require(named["bias_k"] is None and named["bias_v"] is None and not named["add_zero_attn"])
    call.require(named["in_proj_weight"] is not None and not named.get("use_separate_proj_weight"))
    call.require(named.get("static_k") is None and named.get("static_v") is None and not named.get("is_causal"))
    inputs, arrangement = call.args[:3], call.arrangement

    def split(rows: Float[Tensor, "R N E"]) -> Float[Tensor, "R H N F"]:
        return rows.unflatten(-1, (named["num_heads"], -1)).transpose(1, 2)

    if inputs[0] is inputs[1] is inputs[2]:
        projected = linear(inputs[0], named["in_proj_weight"], named["in_proj_bias"], arrangement).chunk(3, -1)
    else:
        weights = named["in_proj_weight"].chunk(3)
        biases = [None] * 3 if named["in_proj_bias"] is None else named["in_proj_bias"].chunk(3)
        projected = tuple(linear(*part, arrangement) for part in zip(inputs, weights, biases, strict=True))
    query, key, value = map(split, projected)
    heads = attend(query, key, value, arrangement)
    joined = heads.transpose(1, 2).flatten(2)
    return linear(joined, named["out_proj_weight"], named["out_proj_bias"], arrangement)


def matmul(call: Call) -> Float[Tensor, "R *S"]:
    """A matrix that is the same for all samples, from the right, or a product within each sample."""
    call.require(len(call.args) == 2 and not call.options)
    left, right = call.args
    if call.places == [0]:
        call.require(left.dim() >= 2 and right.dim() == 2)
        return call.same(call.func(left, right))
    call.require(left.dim() == right.dim() >= 3)
    return bilinear(torch.matmul, left, right, call.arrangement)


def along_axis(call: Call) -> Float[Tensor, "R *S"]:
    """Softmax and its like, along an axis that is not the batch's."""
    rows, _ = call.only()
    named = call.named(("input", "dim"))
    axis = named.get("dim", "")
    call.require(isinstance(axis, int) and rows.dim() > 1 and axis % rows.dim() != 0)
    if call.func in _SOFTMAX and len(call.args) <= 2 and not named.keys() - {"input", "dim", "_stacklevel"}:
        return softmax(rows, axis - rows.dim() if axis > 0 else axis, call.arrangement)
    return call.arrangement.differentiate(call.on, call.on, rows)


def rms_norm(call: Call) -> Float[Tensor, "R *S"]:
    """Of trailing axes."""
    named = call.named(("input", "normalized_shape", "weight", "eps"))
    rows = call.only()[0]
    axes, weight, eps = list(range(-len(named["normalized_shape"]), 0)), named.get("weight"), named.get("eps")
    call.require(len(axes) < rows.dim())
    primal, tangents = call.arrangement.split(rows)
    points = call.arrangement.points(primal)
    inverse = (points.square().mean(axes, keepdim=True) + (torch.finfo(rows.dtype).eps if eps is None else eps)).rsqrt()
    unit = points * inverse
    pushed = (tangents - unit * (unit * tangents).mean(axes, keepdim=True)) * inverse
    pushed = pushed if weight is None else pushed * weight
    return call.arrangement.join(call.func(primal, *call.args[1:], **call.options), pushed)


_tensor = torch.Tensor
_SOFTMAX: frozenset[Callable[..., Any]] = frozenset({functional.softmax, torch.softmax, _tensor.softmax})
RULES: dict[Callable[..., Any], Callable[[Call], Tensor]] = {
    functional.scaled_dot_product_attention: attention,
    **dict.fromkeys([torch.matmul, _tensor.matmul, _tensor.__matmul__, torch.bmm, _tensor.bmm], matmul),
    **dict.fromkeys(_SOFTMAX, along_axis),
    **dict.fromkeys([functional.log_softmax, torch.log_softmax, _tensor.log_softmax], along_axis),
    **dict.fromkeys([functional.rms_norm, torch.rms_norm], rms_norm),
}
"""Beside those of :mod:`~curvae.forward.row_rules`."""
