"""Sprites whose every factor is known: one bright shape on a dark square, 64 × 64 grey, drawn with NumPy.

They serve to measure disentanglement. Each picture shows its factors and nothing else, no two combinations of factors
look alike (the rotations stay within every shape's symmetry), and the factors are independent of each other.

The tilted sprites are a control in the sense of Zietlow et al. (ICML 2021): the same factors, just as visible, but with
two gratings behind the sprite that shift with the sums x + y and scale + rotation. The directions in which the
pictures vary most no longer lie along the factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from curvae._typing import Float, UInt8
from curvae.data import cache as caches
from curvae.data.split import STANDARD, Halves, head_and_tail, uniform_draws

COUNT = 20_000
SIDE = 64

FACTORS: dict[str, tuple[str | float, ...]] = {
    "shape": ("rectangle", "ellipse", "triangle"),
    "scale": tuple(np.linspace(7.0, 12.0, 6).tolist()),
    "rotation": tuple(np.linspace(-60.0, 60.0, 16).tolist()),
    "x": tuple(np.linspace(18.0, 46.0, 16).tolist()),
    "y": tuple(np.linspace(18.0, 46.0, 16).tolist()),
}
"""Values by factor: half the height of the shape in pixels, degrees anticlockwise, the centre in pixels."""
CATEGORICAL = ("shape",)
"""The factors whose values have no order."""

# what is drawn at a time: 4096 pixels of each in a few arrays of float32
_BATCH = 256
# of the gratings: cycles across the picture to the right and down, the factors whose sum moves it
_GRATINGS = (((3, 2), ("x", "y")), ((-2, 3), ("scale", "rotation")))
# of each grating: share of the full range of grey, and radians for one standard deviation of the sum
_STRENGTH, _SHIFT = 0.2, 3.0

_Plane = Float[np.ndarray, "B H W"]


def load(count: int = COUNT, seed: int = 0, *, tilted: bool = False, cache: Path | None = None) -> Halves:
    """The first ``count`` sprites of a seed; the last tenth of them is the test set.

    Drawing takes a third of a millisecond a sprite, once.

    Args:
        count: how many, 2 to 10⁶.
        seed: a whole number in [0, 2⁶³).
        tilted: whether with the gratings.
        cache: folder for the drawn pixels; None means ``cache.default()``.

    Returns:
        ``[N, 1, 64, 64]`` halves.

    Raises:
        InputError: an argument is out of range.
    """
    rows = factors(count, seed)

    def make() -> Halves:
        parts = [draw(rows[start : start + _BATCH], tilted) for start in range(0, count, _BATCH)]
        return Halves(*head_and_tail(np.concatenate(parts)), STANDARD)

    key = ["sprites", FACTORS, [_GRATINGS, _STRENGTH, _SHIFT] if tilted else None, count, seed]
    return caches.through(caches.place(cache or caches.default(), key), make)


def load_factors(count: int = COUNT, seed: int = 0) -> tuple[UInt8[np.ndarray, "N F"], UInt8[np.ndarray, "M F"]]:
    """What :func:`load` drew: :func:`factors` of the training and of the test sprites, tilted or not.

    Example:
        >>> train, test = load_factors(count=50)
        >>> train.shape, test.shape, list(FACTORS)
        ((45, 5), (5, 5), ['shape', 'scale', 'rotation', 'x', 'y'])
    """
    return head_and_tail(factors(count, seed))


def factors(count: int, seed: int) -> UInt8[np.ndarray, "N F"]:
    """Independent, uniform factors of ``count`` sprites; the first of a seed are the same for every ``count``.

    They are positions in ``FACTORS``' values, one column for each of its keys.

    Raises:
        InputError: an argument is out of range.
    """
    uniform = uniform_draws("sprites", count, seed, len(FACTORS))
    return (uniform * [len(values) for values in FACTORS.values()]).astype(np.uint8)


def draw(rows: UInt8[np.ndarray, "B F"], tilted: bool = False) -> UInt8[np.ndarray, "B 1 64 64"]:
    """Sprites of given factors, anti-aliased: a pixel is as bright as the part of it that is covered.

    Example:
        >>> one = draw(np.array([[0, 5, 8, 8, 8]], np.uint8))
        >>> one.shape, one.min(), one.max()
        ((1, 1, 64, 64), np.uint8(0), np.uint8(255))
    """
    rows = np.asarray(rows)
    scale, degrees, x, y = (
        np.asarray(FACTORS[name], np.float32)[rows[:, column], None, None]
        for column, name in enumerate(FACTORS)
        if name not in CATEGORICAL
    )
    down, right = np.mgrid[:SIDE, :SIDE].astype(np.float32) + 0.5
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    # the pixels' places in the sprite's own axes, where its half height is 1
    u = (cosine * (right - x) - sine * (down - y)) / scale
    v = (sine * (right - x) + cosine * (down - y)) / scale
    distance = np.empty_like(u)
    for shape, to_edge in enumerate(_SHAPES.values()):
        chosen = rows[:, 0] == shape
        distance[chosen] = to_edge(u[chosen], v[chosen])
    image = np.clip(0.5 - scale * distance, 0, 1)
    if tilted:
        image = _with_gratings(image, rows)
    return np.rint(255 * image).astype(np.uint8)[:, None]


def _rectangle(u: _Plane, v: _Plane) -> _Plane:
    return np.maximum(np.abs(u) - 0.5, np.abs(v) - 1)


def _ellipse(u: _Plane, v: _Plane) -> _Plane:
    """Distance from the edge to first order."""
    level = np.hypot(u / 0.6, v)
    return (level - 1) * level / np.maximum(np.hypot(u / 0.36, v), 1e-6)


def _triangle(u: _Plane, v: _Plane) -> _Plane:
    """Isosceles, its tip at the top, its base 1.4 wide."""
    slope = math.hypot(2, 0.7)
    return np.maximum(v - 1, (2 * np.abs(u) - 0.7 * (v + 1)) / slope)


# signed distances from the edge, negative inside
_SHAPES: dict[str, Callable[[_Plane, _Plane], _Plane]] = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "triangle": _triangle,
}


def _with_gratings(image: _Plane, rows: UInt8[np.ndarray, "B F"]) -> _Plane:
    names = list(FACTORS)
    down, right = np.mgrid[:SIDE, :SIDE].astype(np.float32) * (2 * math.pi / SIDE)
    found = (1 - len(_GRATINGS) * _STRENGTH) * image
    for (across, along), pair in _GRATINGS:
        one, other = (_standardised(rows[:, names.index(name)], len(FACTORS[name])) for name in pair)
        total = (one + other) / math.sqrt(2)
        phase = across * right + along * down + (_SHIFT * total)[:, None, None]
        found += _STRENGTH * (0.5 + 0.5 * np.cos(phase))
    return found


def _standardised(positions: UInt8[np.ndarray, " B"], levels: int) -> Float[np.ndarray, " B"]:
    """Uniform positions with mean 0 and variance 1."""
    spread = math.sqrt((levels**2 - 1) / 12)
    return ((positions - (levels - 1) / 2) / spread).astype(np.float32)
