"""Cartoon faces whose every factor is known: 64 × 64 RGB, drawn by ``python-avatars`` and rendered by ``resvg-py``.

A stand-in for photographs of faces where there are none: as large, as colourful, and made of parts that vary
independently of each other. They are drawings and no sample of anybody's faces.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from curvae._extras import require
from curvae._typing import UInt8
from curvae.data import cache as caches
from curvae.data.raster import open_image
from curvae.data.resize import to_array
from curvae.data.split import STANDARD, Halves, head_and_tail, uniform_draws
from curvae.data.stacking import progress

COUNT = 20_000
SIDE = 64

# written out, and not what the package lists, so that parts which a user adds to it change nothing
FACTORS: dict[str, tuple[str, ...]] = {
    "background": ("#65C9FF", "#B1E2FF", "#A7FFC4", "#FFDEB5", "#FFFFB1", "#E6E6E6", "#F2C4DE", "#8FA7D9"),
    "skin": ("TANNED", "YELLOW", "PALE", "LIGHT", "BROWN", "DARK_BROWN", "BLACK"),
    "hair": (
        *("NONE", "BIG_HAIR", "BOB", "BUN", "CAESAR", "CAESAR_SIDE_PART", "CURLY", "CURVY", "DREADS", "FRO"),
        *("LONG_NOT_TOO_LONG", "MIA_WALLACE", "SHAGGY", "SHAGGY_MULLET", "SHAVED_SIDES", "SHORT_CURLY", "SHORT_FLAT"),
        *("SHORT_ROUND", "SHORT_WAVED", "SIDES", "STRAIGHT_1", "STRAIGHT_2", "STRAIGHT_STRAND", "PIXIE"),
    ),
    "hair colour": (
        *("AUBURN", "BLACK", "BLONDE", "BLONDE_GOLDEN", "BROWN", "BROWN_DARK", "PASTEL_PINK", "PLATINUM", "RED"),
        "SILVER_GRAY",
    ),
    "eyebrows": (
        *("ANGRY_NATURAL", "DEFAULT_NATURAL", "FLAT_NATURAL", "FROWN_NATURAL", "RAISED_EXCITED_NATURAL"),
        *("SAD_CONCERNED_NATURAL", "UNIBROW_NATURAL", "UP_DOWN_NATURAL"),
    ),
    "eyes": ("CLOSED", "DEFAULT", "EYE_ROLL", "HAPPY", "SIDE", "SQUINT", "SURPRISED", "WINK"),
    "nose": ("DEFAULT", "SMALL", "WIDE"),
    "mouth": (
        *("CONCERNED", "DEFAULT", "DISBELIEF", "GRIMACE", "SAD", "SCREAM_OPEN", "SERIOUS", "SMILE", "TWINKLE"),
        "BIG_SMILE",
    ),
    "facial hair": (*("NONE", "BEARD_LIGHT", "BEARD_MAGESTIC", "BEARD_MEDIUM", "MOUSTACHE_FANCY", "MOUSTACHE_MAGNUM"),),
    "glasses": ("NONE", "KURT", "PRESCRIPTION_1", "PRESCRIPTION_2", "ROUND", "SUNGLASSES", "WAYFARERS"),
    "clothing colour": ("BLACK", "BLUE_01", "BLUE_03", "GRAY_02", "HEATHER", "PASTEL_GREEN", "PINK", "RED", "WHITE"),
}

# half of the faces have none
_OPTIONAL = ("facial hair", "glasses")
# the drawing is 264 × 280: at this width its middle is a face that fills the square
_WIDTH = 96
_BOX = (16, 8, 80, 72)


def load(count: int = COUNT, seed: int = 0, *, cache: Path | None = None) -> Halves:
    """The first ``count`` faces of a seed; the last tenth of them is the test set.

    Rendering takes 7 ms a face, once.

    Args:
        count: how many, 2 to 10⁶.
        seed: a whole number in [0, 2⁶³).
        cache: folder for the rendered pixels; None means ``cache.default()``.

    Returns:
        ``[N, 3, 64, 64]`` halves.

    Raises:
        InputError: a package of the extra ``faces`` is missing, or an argument is out of range.
    """
    rows = factors(count, seed)
    versions = _versions()

    def make() -> Halves:
        pixels = np.empty((count, 3, SIDE, SIDE), np.uint8)
        for image, row in zip(pixels, progress(rows, count, "drawing avatars"), strict=True):
            image[:] = render(row)
        return Halves(*head_and_tail(pixels), STANDARD)

    key = ["avatars", versions, _BOX, FACTORS, count, seed]
    return caches.through(caches.place(cache or caches.default(), key), make)


def load_factors(count: int = COUNT, seed: int = 0) -> tuple[UInt8[np.ndarray, "N F"], UInt8[np.ndarray, "M F"]]:
    """What :func:`load` drew: :func:`factors` of the training and of the test faces; no package is needed.

    Example:
        >>> train, test = load_factors(count=50)
        >>> train.shape, test.shape, list(FACTORS)[:3]
        ((45, 11), (5, 11), ['background', 'skin', 'hair'])
    """
    return head_and_tail(factors(count, seed))


def factors(count: int, seed: int) -> UInt8[np.ndarray, "N F"]:
    """Independent factors of ``count`` faces: uniform, but half of the faces have no glasses and half no facial hair.

    They are positions in ``FACTORS``' values, one column for each of its keys. The first faces of a seed are the same
    for every ``count``.

    Raises:
        InputError: an argument is out of range.
    """
    uniform = uniform_draws("avatars", count, seed, len(FACTORS))
    rows = np.empty(uniform.shape, np.uint8)
    for column, (name, values) in enumerate(FACTORS.items()):
        share = uniform[:, column]
        if name in _OPTIONAL:
            rows[:, column] = np.where(share < 0.5, 0, 1 + (2 * share - 1) * (len(values) - 1))
        else:
            rows[:, column] = share * len(values)
    return rows


def render(row: UInt8[np.ndarray, " F"]) -> UInt8[np.ndarray, "3 64 64"]:
    """One face of these factors, positions in ``FACTORS``' values.

    Raises:
        InputError: a package of the extra ``faces`` is missing.
    """
    _versions()
    import resvg_py  # of an extra: only who renders avatars needs it

    chosen = {name: values[at] for (name, values), at in zip(FACTORS.items(), row.tolist(), strict=True)}
    drawing = _draw(chosen)
    # without fonts of the machine: nothing is written, and looking for them takes longer than the rest
    png = resvg_py.svg_to_bytes(
        svg_string=drawing, width=_WIDTH, background=chosen["background"], skip_system_fonts=True
    )
    return to_array(open_image(bytes(png), ("PNG",)).convert("RGB").crop(_BOX))


def _draw(chosen: dict[str, str]) -> str:
    import python_avatars as parts

    def enum(kind: str, name: str) -> Any:
        return getattr(parts, kind)[chosen[name]]

    return parts.Avatar(
        style=parts.AvatarStyle.TRANSPARENT,
        top=enum("HairType", "hair"),
        eyebrows=enum("EyebrowType", "eyebrows"),
        eyes=enum("EyeType", "eyes"),
        nose=enum("NoseType", "nose"),
        mouth=enum("MouthType", "mouth"),
        facial_hair=enum("FacialHairType", "facial hair"),
        skin_color=enum("SkinColor", "skin"),
        hair_color=enum("HairColor", "hair colour"),
        facial_hair_color=enum("HairColor", "hair colour"),
        accessory=enum("AccessoryType", "glasses"),
        clothing=parts.ClothingType.HOODIE,  # of the others nothing is left in the square
        clothing_color=enum("ClothingColor", "clothing colour"),
    ).render()


def _versions() -> list[str]:
    """Of the two packages, without running their code: what they draw may change with them."""
    require("avatars need", "python_avatars", "resvg_py", extra="faces")
    return [version("python-avatars"), version("resvg-py")]
