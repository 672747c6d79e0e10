"""Gradients of a decoder's derivatives that do not exist are an error where they would be NaN without a word."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import unserializable_hook

from curvae._transforms import is_batched
from curvae._typing import Float, Tensor
from curvae.errors import DerivativeError
from curvae.forward.first_use import leaves_of, ordinary
from curvae.forward.hidden import OFF
from curvae.forward.identity import identity, parts
from curvae.forward.looks import looks


def watched(
    fn: Callable[..., Any], z: Float[Tensor, "B *L"]
) -> tuple[Float[Tensor, "B *L"], Callable[..., tuple[Tensor, ...]]]:
    """Latents for a decoder that is differentiated, and a function that takes what is made of them and gives it back.

    A backward pass in which finite gradients of the latter come out as others of the latents raises a
    ``DerivativeError``. In half precision, and under autocast on a GPU, a loss may be scaled up to where its gradients
    overflow on purpose, and none is looked at. What had no gradient without this has none with it. A hook of the
    caller's own that cleans gradients runs later, on the latents or the weights: it needs the decoder to be called
    inside ``curvature.unchecked()``.

    Example:
        >>> z = torch.zeros(1, 2, requires_grad=True)
        >>> point, watch = watched(torch.sqrt, z)
        >>> (output,) = watch(point.sqrt())
        >>> output.sum().backward()
        Traceback (most recent call last):
        curvae.errors.DerivativeError: the gradient of the decoder's derivatives is not finite where that of ...
    """
    plain = torch.is_grad_enabled() and not (_scaled(z) or z.is_meta or z.is_inference()) and ordinary(z)
    if not (plain and (z.requires_grad or _trains(fn)) and looks(_owner(fn, z), z)):
        return z, lambda *outputs: outputs
    arrived: list[Tensor] = []

    @unserializable_hook  # type: ignore[untyped-decorator]  # a result may be saved, without it
    def check(gradient: Tensor | None) -> None:
        came = [float(each) for each in arrived]
        arrived.clear()
        if gradient is None or is_batched(gradient):
            return
        # a sum is one quick pass
        if math.isfinite(float(gradient.detach().sum())) or bool(gradient.isfinite().all()):
            return
        if all(map(math.isfinite, came)):
            raise DerivativeError(
                "the gradient of the decoder's derivatives is not finite where that of the loss is: PyTorch has no "
                "second derivative there of one of the decoder's operations (such as eigvalsh at equal eigenvalues), "
                f"or it overflows; use other operations, or estimator Secants{OFF}"
            )

    @unserializable_hook  # type: ignore[untyped-decorator]
    def note(gradient: Tensor | None) -> None:
        if gradient is not None and not is_batched(gradient):  # none: of an output that the loss does not use
            arrived.append(gradient.detach().sum())

    def watch(*outputs: Tensor) -> tuple[Tensor, ...]:
        if not z.requires_grad and all(leaf is point for output in outputs for leaf in leaves_of(output)):
            return tuple(output.detach() for output in outputs)  # the weights that train are none of the decoder's
        for output in outputs:
            if output.requires_grad:
                output.register_hook(note)
        return outputs

    point = z.view_as(z) if z.requires_grad else z.detach().requires_grad_()
    point.register_hook(check)
    return point, watch


def _scaled(z: Tensor) -> bool:
    """Whether gradients may overflow on purpose: a scaler then leaves the step out and scales less."""
    kind = z.device.type
    mixed = torch.is_autocast_enabled(kind) and (kind != "cpu" or torch.get_autocast_dtype(kind) == torch.float16)
    return mixed or z.dtype == torch.float16


def _owner(fn: Callable[..., Any], z: Tensor) -> object:
    """By what the calls on an accelerator are counted; a method is another object in each."""
    owner = None if z.device.type == "cpu" else identity(fn)[0]
    return fn if owner is None else owner


def _trains(fn: Callable[..., Any]) -> bool:
    """Whether a decoder has weights to train, so that its output has a gradient also where its latents have none."""
    modules = (part for part in parts(fn) if isinstance(part, nn.Module))
    return any(weight.requires_grad for module in modules for weight in module.parameters())
