"""What a source of data is called: by name, or by the path of a file or folder."""

from __future__ import annotations

import os
from pathlib import Path

from curvae._checks import is_whole, nearest
from curvae.data import arrays, tables
from curvae.errors import InputError

EXPECTED = (
    "expected mnist, fashion-mnist, avatars, sprites, tilted-sprites, orl, a .npy, .npz, .csv, .parquet or .h5ad file, "
    "an IDX folder, an image folder, or CelebA's img_align_celeba folder or zip"
)
_NAMES = ("mnist", "fashion-mnist", "avatars", "sprites", "tilted-sprites", "orl")
# drawn here, as many as are asked for and from any seed: NAME:COUNT:SEED
_DRAWN = ("avatars", "sprites", "tilted-sprites")
NAMES = ", ".join(_NAMES)
"""What a source can be called beside a path."""


def is_name(source: str) -> bool:
    """Whether :func:`curvae.data.load` takes a text for the name of a data set and not for a path.

    Example:
        >>> is_name("mnist"), is_name("avatars:2000"), is_name("./mnist")
        (True, True, False)
    """
    return source.partition(":")[0] in (_DRAWN if ":" in source else _NAMES)


def meant(source: str) -> str:
    """What to add to the line about a source that is not there: a name that is spelled much the same.

    Example:
        >>> meant("minst"), meant("digits.npy")
        ('; did you mean mnist?', '')
    """
    return nearest(source, _NAMES) if not Path(source).suffix else ""


def is_table(source: str | Path) -> bool:
    """Whether :func:`curvae.data.load` takes a source for a table, whose columns have names.

    Example:
        >>> is_table("people.csv"), is_table("mnist")
        (True, False)
    """
    return not is_name(str(source)) and suffix(Path(source)) in tables.SUFFIXES


def absolute(source: str) -> str:
    """A source that still means the same from another working directory: names stay, paths that exist become absolute.

    Links are not followed: the path as it was given says what CelebA's folder is called, and what lies beside it.
    """
    if is_name(source) or not source:
        return source
    path, key = arrays.locate(expand(Path(source)))
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists() raises for a name that is too long
        return source
    plain = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links
    # a ".." behind a link leads elsewhere
    found = str(plain if plain.exists() and plain.samefile(path) else path.resolve())
    return found if key is None else f"{found}:{key}"


def title(source: str) -> str:
    """What to call a source in a picture or a table: a name as it is, of a path the last part.

    Example:
        >>> title("mnist"), title("here/toy.npy")
        ('mnist', 'toy.npy')
    """
    return source if is_name(source) else Path(source).name


def count_and_seed(source: str, default: int) -> tuple[int, int]:
    """Of ``avatars[:COUNT[:SEED]]`` and the like; the seed is 0 where none is given.

    Raises:
        InputError: more than that, or no whole numbers.

    Example:
        >>> count_and_seed("sprites:500", default=20_000)
        (500, 0)
    """
    name, *given = source.split(":")
    if len(given) > 2 or not all(map(is_whole, given)):
        raise InputError(f"{source!r} is not recognised; expected {name}, {name}:COUNT or {name}:COUNT:SEED")
    count, seed = [*given, *(str(default), "0")[len(given) :]]
    return int(count), int(seed)


def suffix(path: Path) -> str:
    """How a file's name ends, without the key of an array or a layer that may follow it."""
    return arrays.locate(path)[0].suffix.lower()


def expand(path: Path) -> Path:
    """A path with a home folder in the place of ``~``.

    Raises:
        InputError: there is no such home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise InputError(f"{str(path)!r} starts with ~ but there is no such home folder; {EXPECTED}") from error
