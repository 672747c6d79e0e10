"""Which axis of latents is that of the channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from curvae.autoencoder import Autoencoder
from curvae.errors import InputError
from curvae.forward.linear import LINEAR_IN_INPUT

_PRODUCTS = {functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__}


class FirstLayer(TorchFunctionMode):
    """Watches a decoder for the first layer that meets the latents: what that mixes are their channels.

    The shape alone does not say it: sound is ``[C, T]`` and tokens are ``[T, C]``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count: int | None = None
        self.convolution = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note how many channels the first convolution or product takes."""
        if self.count is None and args and (func in LINEAR_IN_INPUT or func in _PRODUCTS):
            self.convolution = func not in _PRODUCTS
            self.count = args[0].shape[1 if self.convolution else -1]
        return func(*args, **(kwargs or {}))

    def axis(self, model: Any, shape: Sequence[int]) -> int | None:
        """The axis of ``shape``; what the model says itself (``channel_axis``) comes first. None for vectors.

        Raises:
            InputError: nothing says it.

        Example:
            >>> with FirstLayer() as sound:
            ...     _ = torch.nn.Conv1d(4, 1, 3)(torch.randn(1, 4, 9))
            >>> with FirstLayer() as tokens:
            ...     _ = torch.nn.Linear(9, 1)(torch.randn(1, 4, 9))
            >>> sound.axis(None, (4, 9)), tokens.axis(None, (4, 9)), tokens.axis(None, (9,))
            (0, 1, None)
        """
        said = getattr(model, "channel_axis", None)
        if len(shape) < 2:
            return None
        if said is not None:
            if said not in range(-len(shape), len(shape)):
                raise InputError(f"channel_axis is {said!r}; expected an axis of latents of shape {tuple(shape)}")
            return int(said) % len(shape)
        found = [axis for axis, size in enumerate(shape) if size == self.count]
        if len(found) == 1:
            return found[0]
        if len(shape) > 2 or (0 in found and self.convolution):
            return 0
        if isinstance(model, Autoencoder):
            return 1
        raise InputError(
            f"latents of shape {tuple(shape)} may be channels × places or tokens × features, and the decoder's first "
            "layer does not tell; say it: set channel_axis of the adapter to 0 (channels first) or -1"
        )
