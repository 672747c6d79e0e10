"""Derivatives of decoders that forward mode cannot follow, by reverse mode alone."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

import torch
from torch import nn

from curvae._transforms import in_transform
from curvae._typing import Float, Tensor
from curvae.errors import InputError

T = TypeVar("T")


def attempt(forward: Callable[[], T], reverse: Callable[[RuntimeError], T]) -> T:
    """What ``forward`` returns or, where PyTorch refuses to follow the decoder, what ``reverse`` does.

    ``reverse`` is handed the refusal. Inside PyTorch's own transforms, where reverse mode cannot be used, the refusal
    is raised: the outermost derivative deals with it.
    """
    try:
        return forward()
    except RuntimeError as refused:
        if isinstance(refused, torch.OutOfMemoryError) or in_transform():
            raise
        return reverse(refused)


class ReverseMode:
    r"""A function of latents at one batch, to be multiplied with its Jacobian from both sides by reverse mode.

    $J^\top u$ is a backward pass. It is linear in u, so that a backward pass through it, with respect to u, gives
    $Jv$: any decoder that autograd can differentiate twice will do, checkpointed or with backward passes of its own.

    Args:
        fn: ``[B, *L] → [B, *D]``.
        z: latents; results are differentiable in them, and in what ``fn`` closes over, where gradients are recorded.
        refused: why forward mode could not be used, for the message if reverse mode cannot either.

    Attributes:
        output: of ``fn``.

    Example:
        >>> linearised = ReverseMode(torch.square, torch.ones(1, 2), RuntimeError())
        >>> with torch.no_grad():
        ...     linearised.push(torch.ones(1, 1, 2)), linearised.pull(torch.ones(1, 1, 2))
        (tensor([[[2., 2.]]]), tensor([[[2., 2.]]]))
    """

    def __init__(self, fn: Callable[[Tensor], Tensor], z: Float[Tensor, "B *L"], refused: RuntimeError) -> None:
        self._refused = refused
        with torch.enable_grad():
            # a tensor of its own: what else depends on z is not differentiated
            self._point = z.view_as(z) if z.requires_grad else z.detach().requires_grad_()
            self._output = fn(self._point)
        self.output = self._output if torch.is_grad_enabled() else self._output.detach()

    def push(self, tangents: Float[Tensor, "K B *L"]) -> Float[Tensor, "K B *D"]:
        r"""$Jv$ for each of K tangents."""
        cotangent, pulled = self._pulled
        columns = self._backward(pulled, cotangent, tangents, connected=True)
        self._check(tangents[0], columns[0])
        return columns

    def pull(self, cotangents: Float[Tensor, "K B *D"]) -> Float[Tensor, "K B *L"]:
        r"""$J^\top u$ for each of K cotangents."""
        return self._backward(self._output, self._point, cotangents)

    @cached_property
    def _pulled(self) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *L"]]:
        cotangent = torch.zeros_like(self._output, requires_grad=True)
        with torch.enable_grad(), explained(self._refused):
            (pulled,) = torch.autograd.grad(
                self._output, self._point, cotangent, create_graph=True, materialize_grads=True
            )
        return cotangent, pulled

    @torch.no_grad()
    def _check(self, tangent: Float[Tensor, "B *L"], column: Float[Tensor, "B *D"]) -> None:
        r"""Hold $\langle u,Jv\rangle$ to $\langle J^\top u,v\rangle$: what autograd cannot see drops out."""
        u = torch.arange(column.numel(), device=column.device).to(column.dtype).cos().view_as(column)
        pulled = self.pull(u.unsqueeze(0))[0]
        u, column, pulled, tangent = (vector.flatten(1) for vector in (u, column, pulled, tangent))
        one, other = (u * column).sum(1), (pulled * tangent).sum(1)
        scale = u.norm(dim=1) * column.norm(dim=1) + pulled.norm(dim=1) * tangent.norm(dim=1)
        if bool(((one - other).abs() > 0.01 * scale).any()):
            with explained(self._refused):
                raise RuntimeError("the backward pass of one of its layers is not differentiable itself")

    def _backward(self, output: Tensor, point: Tensor, vectors: Tensor, connected: bool = False) -> Tensor:
        keep = torch.is_grad_enabled()
        with explained(self._refused):
            products = [
                torch.autograd.grad(
                    output, point, vector, retain_graph=True, create_graph=keep, materialize_grads=not connected
                )[0]
                for vector in vectors
            ]
        return torch.stack(products)


@contextmanager
def explained(refused: RuntimeError | None = None) -> Iterator[None]:
    """Turn PyTorch's refusal to differentiate a decoder into an ``InputError`` that names the layer."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise InputError(
            f"the decoder cannot be differentiated{_place(refused or error)}: {_sentence(error)}; a decoder must be "
            "twice differentiable: replace this layer, see “What a decoder must support” (docs/decoders.md)"
        ) from error


def _place(error: RuntimeError) -> str:
    """The innermost module in whose forward pass the error arose."""
    owners = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [owner for owner in owners if isinstance(owner, nn.Module)]
    if not modules:
        return ""
    names = {part: name for name, part in modules[0].named_modules()}
    kind = type(modules[-1]).__name__
    return f" at {names[modules[-1]]} ({kind})" if names.get(modules[-1]) else f" at {kind}"


def _sentence(error: RuntimeError) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if any(said in line for said in _UNCONNECTED):
        return (
            "autograd sees no way from the latents to its output and back (a constant, or detach() or no_grad() inside)"
        )
    return line.split(" Please ")[0].split(". ")[0].rstrip(". ")


# PyTorch's words for a graph that does not hold what is differentiated
_UNCONNECTED = ("not have been used in the graph", "does not require grad")
