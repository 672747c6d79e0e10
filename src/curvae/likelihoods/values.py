"""Which numbers an observation model can have made."""

from __future__ import annotations

import torch

from curvae._typing import Tensor
from curvae.errors import InputError

_COUNTS = "counts 0, 1, 2, …; give them as they were counted, or use Gaussian()"


def check_unit_interval(
    model: object, x: Tensor, rounding: float = 1e-5, instead: str = "another, such as Gaussian()"
) -> None:
    """Refuse values that are further outside [0, 1] than scaling and resizing bring them by rounding."""
    low, high = -rounding, 1 + rounding
    # one quick pass where all is well, also with no data; NaN takes the longer way
    if not has_values(x) or (x.amin() >= low and x.amax() <= high):
        return
    seen = x[x.isfinite()]
    if len(seen):
        least, most = (float(end) for end in seen.aminmax())
        how = (
            f"they go from {least:.4g} to {most:.4g}; scale them, for example {_scaling(least, most)}, or use {instead}"
        )
        _refuse(model, x, (x < low) | (x > high), f"values in [0, 1]; {how}")


def _scaling(low: float, high: float) -> str:
    """The likely way from these values to [0, 1]."""
    if low > -0.1 and high < 1.1:
        return "clipped, np.clip(x, 0, 1)"
    if low >= -0.5 and high <= 0.5:
        return "x + 0.5"
    if low >= -1 and high <= 1:
        return "(x + 1) / 2"
    if low >= 0:
        white = next((white for white in (255, 1023, 4095, 16_383, 65_535) if high <= white), None)
        return f"x / {white if white else format(high, '.6g')}"
    return f"(x - {low:.6g}) / {high - low or 1:.6g}".replace("- -", "+ ")


def check_counts(model: object, x: Tensor, expected: str = _COUNTS) -> None:
    """Refuse what are no whole numbers from 0 on."""
    if not has_values(x):
        return
    if not x.is_floating_point():
        _refuse(model, x, x < 0, expected)
    elif not (x.amin() >= 0 and torch.equal(x, x.floor())):
        _refuse(model, x, (x < 0) | (x != x.floor()), expected)


def has_values(x: Tensor) -> bool:
    """Whether there are any numbers: a meta or fake tensor is a shape alone."""
    return x.numel() > 0 and not x.is_meta and not hasattr(x, "fake_mode")


def _refuse(model: object, x: Tensor, wrong: Tensor, expected: str) -> None:
    wrong = wrong & x.isfinite()
    if bool(wrong.any()):
        value = float(x[wrong][0].item())
        text = f"{value:.6g}"
        text = repr(value) if float(text).is_integer() and float(text) != value else text  # 1.0000001, not 1
        raise InputError(f"the data have {text}, but {model} is for {expected}")
