"""Gradients of gradients for functions with a backward pass of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from curvae._typing import Tensor


def gradients_again(
    function: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    gradients: Sequence[Tensor],
) -> list[Tensor | None]:
    """What a backward pass returns, from the same function in plain operations that autograd can follow: slower.

    The gradient of each input, ``None`` where none is needed.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> (slope,) = gradients_again(lambda x: x**3, [x], [torch.tensor(1.0)])
        >>> float(slope), float(torch.autograd.grad(slope, x)[0])
        (27.0, 18.0)
    """
    with torch.enable_grad():
        # apart from one another: what autograd finds of one must not pass through another, as of a layer used twice
        inputs = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
        found = function(*inputs)
        outputs = (found,) if isinstance(found, torch.Tensor) else found
        pairs = [(output, of) for output, of in zip(outputs, gradients, strict=True) if output.requires_grad]
        places = [place for place, tensor in enumerate(inputs) if tensor is not None and tensor.requires_grad]
        differentiable, given = zip(*pairs, strict=True)
        needed = [inputs[place] for place in places]
        values = torch.autograd.grad(differentiable, needed, given, create_graph=True)  # type: ignore[arg-type]
        at = dict(zip(places, values, strict=True))
        return [at.get(place) for place in range(len(inputs))]


def goes_again(gradient: Tensor) -> bool:
    """Whether a backward pass is to be differentiated itself, or is one of PyTorch's for many gradients at once.

    What stands for several gradients has no memory.
    """
    if torch.is_grad_enabled():
        return True
    try:
        gradient.data_ptr()
    except RuntimeError:
        return True
    return False
