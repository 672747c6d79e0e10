"""PyTorch's function transforms."""

from __future__ import annotations

import torch


def in_transform() -> bool:
    """Whether a transform of ``torch.func`` (``vmap``, ``jvp``, ``grad`` …) is running."""
    # PyTorch has no public way to ask
    return torch._C._functorch.peek_interpreter_stack() is not None
