"""When something is looked at again that was looked at before."""

from __future__ import annotations

import weakref

import torch

from curvae._transforms import in_transform, recording
from curvae._typing import Tensor
from curvae.forward.first_use import checked

_calls: dict[int, int] = {}


def rarely(owner: object) -> bool:
    """Whether this is the first, second, fourth, … call with an object, told by its identity as long as it lives.

    Example:
        >>> model = torch.nn.Identity()
        >>> [rarely(model) for _ in range(6)]
        [True, True, False, True, False, False]
    """
    key = id(owner)
    if key not in _calls:
        try:
            weakref.finalize(owner, _calls.pop, key).atexit = False
        except TypeError:  # nobody could tell it from the next object in its place
            return True
        _calls[key] = 0
    _calls[key] += 1
    return not _calls[key] & (_calls[key] - 1)


def looks(owner: object, values: Tensor) -> bool:
    """Whether values are looked at: on a CPU always, elsewhere, where the device is waited for, :func:`rarely`.

    Never inside ``curvature.unchecked()``, a transform, compiled code or a CUDA graph that is being recorded.

    Example:
        >>> looks(torch.nn.Identity(), torch.zeros(2))
        True
    """
    if not checked() or in_transform() or torch.compiler.is_compiling() or recording(values.device):
        return False
    return values.device.type == "cpu" or rarely(owner)
