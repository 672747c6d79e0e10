"""Values whose gradient is known by a theorem instead of by differentiating how they were computed."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from curvae._typing import Tensor
from curvae.errors import DerivativeError


def with_gradient_of(value: Tensor, surrogate: Tensor, name: str) -> Tensor:
    """``value``, with the first derivatives of ``surrogate`` in reverse mode; any other derivative is refused.

    ``surrogate`` holds something fixed that in truth moves (an optimum, a solve), which is right to first order only:
    differentiated again, or by forward mode through ``value``, it would give a wrong number without an error.

    Args:
        value: what to return; it carries no gradient itself.
        surrogate: of the same shape; its own value does not matter.
        name: what this is, for the message.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> slope, = torch.autograd.grad(with_gradient_of((x * x).detach(), 6 * x, "the square"), x, create_graph=True)
        >>> slope
        tensor(6., grad_fn=<MulBackward0>)
        >>> slope.backward()
        Traceback (most recent call last):
        curvae.errors.DerivativeError: the square has first derivatives only, in reverse mode
    """
    return _Once.apply(value.detach(), surrogate, f"{name} has first derivatives only, in reverse mode")  # type: ignore[no-untyped-call]


def without_gradient(value: Tensor, source: Tensor, name: str) -> Tensor:
    """``value``, which depends on ``source`` but has no derivatives with respect to it: asked for, they are refused.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> without_gradient(torch.zeros(2), x, "the sign").sum().backward()
        Traceback (most recent call last):
        curvae.errors.DerivativeError: the sign has no derivatives
    """
    return _Refused.apply(value.detach(), source, f"{name} has no derivatives")  # type: ignore[no-untyped-call]


class _Once(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, surrogate: Tensor, message: str) -> Tensor:  # noqa: ARG004
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        _, surrogate, ctx.message = inputs
        ctx.save_for_backward(surrogate)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # it may be differentiated again, and must then not pass for a constant
            gradient = _Refused.apply(gradient, *ctx.saved_tensors, ctx.message)  # type: ignore[no-untyped-call]
        return None, gradient, None

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        _refuse(ctx)


class _Refused(torch.autograd.Function):
    """A tensor that does depend on another one, as is, and says so when asked how."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, source: Tensor, message: str) -> Tensor:  # noqa: ARG004
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.message = inputs[-1]

    @staticmethod
    def backward(ctx: Any, *_: Any) -> NoReturn:
        _refuse(ctx)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        _refuse(ctx)


def _refuse(ctx: Any) -> NoReturn:
    raise DerivativeError(ctx.message)
