"""Draws from a caller's generator, which must not differ between a forward pass and its recomputation."""

from __future__ import annotations

from collections import deque
from weakref import WeakKeyDictionary

import torch

from curvae._checks import shown
from curvae._transforms import recording
from curvae.errors import InputError

_KEPT = 1024  # states that are remembered; a recomputation of anything older is refused
_starts: WeakKeyDictionary[torch.Generator, deque[int]] = WeakKeyDictionary()


def stream(generator: torch.Generator | None) -> torch.Generator | None:
    """The generator, unless this is a recomputation that would draw other numbers than the forward pass.

    ``torch.utils.checkpoint`` calls a function again in the backward pass. It restores PyTorch's global generator, not
    one that was given: that one has gone on, and the gradient would be of another draw than the value. A generator
    that the function makes or seeds by itself starts where it started before, and passes.

    Raises:
        InputError: it is no generator, or (inside a backward pass) one whose state no earlier draw of a forward pass
            had.

    Example:
        >>> torch.rand(2, generator=stream(torch.Generator().manual_seed(0)))
        tensor([0.4963, 0.7682])
    """
    if generator is None or torch.compiler.is_compiling():
        return generator
    if not isinstance(generator, torch.Generator):
        raise InputError(
            f"generator is {shown(generator)}; expected a torch.Generator: torch.Generator().manual_seed(0)"
        )
    if recording(generator.device):
        return generator
    with torch._C._DisableFuncTorch():  # a transform would wrap the state, which has nothing to do with it
        state = hash(generator.get_state().numpy().tobytes())
    if torch._C._current_graph_task_id() < 0:  # not in a backward pass
        _starts.setdefault(generator, deque(maxlen=_KEPT)).append(state)
    elif generator in _starts and state not in _starts[generator]:
        raise InputError(
            "a recomputation (torch.utils.checkpoint) would draw other numbers than the forward pass, because the "
            "generator has gone on; leave generator out (PyTorch's own is restored) or make it inside the "
            "checkpointed function"
        )
    return generator
