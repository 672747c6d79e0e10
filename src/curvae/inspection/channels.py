"""Which axis of latents is that of the channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.conditioned import AtOne
from curvae.errors import InputError
from curvae.forward.linear import LINEAR_IN_INPUT

_PRODUCTS = {
    *(functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.Tensor.bmm),
    *(torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu),
}


class FirstLayer(TorchFunctionMode):
    """Watches a decoder for the first layer that meets the latents: what that mixes are their channels.

    The shape alone does not say it: sound is ``[C, T]`` and tokens are ``[T, C]``.

    Args:
        z: the latents; layers that meet something else, a condition for instance, say nothing.
    """

    def __init__(self, z: Tensor) -> None:
        super().__init__()
        # what was made of the latents, kept so that no other object takes its identity
        self._made: dict[int, object] = {id(z): z}
        self.count: int | None = None
        self.convolution = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note how many channels the first convolution or product takes."""
        options = dict(kwargs or {})
        if self.count is not None or not any(id(each) in self._made for each in tree_leaves((args, options))):
            return func(*args, **options)
        given = args[0] if args else options.get("input")
        if isinstance(given, torch.Tensor) and (func in LINEAR_IN_INPUT or func in _PRODUCTS):
            self.convolution = func not in _PRODUCTS
            self.count = given.shape[1 if self.convolution else -1]
            self._made.clear()
            return func(*args, **options)
        answer = func(*args, **options)
        made = args[0] if func is torch.Tensor.__setitem__ else answer
        self._made.update((id(each), each) for each in tree_leaves(made) if isinstance(each, torch.Tensor))
        return answer

    def axis(self, model: Any, shape: Sequence[int]) -> int | None:
        """The axis of ``shape``; what the model says itself (``channel_axis``) comes first. None for vectors.

        Raises:
            InputError: nothing says it.

        Example:
            >>> z = torch.randn(1, 4, 9)
            >>> with FirstLayer(z) as sound:
            ...     _ = torch.nn.Conv1d(4, 1, 3)(z)
            >>> with FirstLayer(z) as tokens:
            ...     _ = torch.nn.Linear(9, 1)(z)
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
        if isinstance(model, Autoencoder | AtOne):
            return 1
        raise InputError(
            f"latents of shape {tuple(shape)} may be channels × places or tokens × features, and the decoder's first "
            "layer does not tell; say it: set channel_axis of the adapter to 0 (channels first) or -1"
        )
