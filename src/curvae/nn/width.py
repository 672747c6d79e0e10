"""One factor for the number of channels of every layer."""

from __future__ import annotations

from curvae._checks import positive


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, rounded, and at least 1.

    Raises:
        InputError: if ``width`` is not > 0.

    Example:
        >>> scaled(512, 0.125), scaled(64, 1e-6)
        (64, 1)
    """
    return max(1, round(channels * positive("width", width)))
