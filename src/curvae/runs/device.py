"""Where to compute, and randomness there."""

from __future__ import annotations

import torch

from curvae.errors import InputError


def choose_device(name: str) -> torch.device:
    """``"auto"`` (a GPU where there is one), ``"cpu"`` or ``"cuda"``.

    Raises:
        InputError: another name, or no GPU for ``"cuda"``.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {name!r}; expected one of auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device is cuda but PyTorch finds no GPU; use cpu or auto")
    return torch.device("cuda", 0) if name != "cpu" and torch.cuda.is_available() else torch.device("cpu")


def generator(seed: int, device: torch.device) -> torch.Generator:
    """A generator on ``device``, seeded by the user.

    Raises:
        InputError: a seed outside [0, 2⁶³).

    Example:
        >>> generator(3, torch.device("cpu")).initial_seed()
        3
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; expected a whole number in [0, 2^63)")
    return torch.Generator(device).manual_seed(seed)
