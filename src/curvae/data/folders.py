"""Which images lie under a folder, and which of them its own subfolders hold out."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curvae._checks import some
from curvae.data.notes import note
from curvae.data.parts import TEST, TRAIN, VALIDATION, parts_of
from curvae.data.split import STANDARD, Split
from curvae.errors import InputError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
# images as well, which a person may expect to be read
_OTHER_SUFFIXES = (
    *(".avif", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jxl"),
    *(".psd", ".svg", ".tga"),
)
# every file system has one of its own, which only its administrator reads
_NOBODYS = "lost+found"


class Item(NamedTuple):
    """An image, or what may be one and cannot be seen: a link that leads nowhere, a folder that cannot be listed."""

    relative: str
    path: Path
    part: str
    real: str


class _Folder(NamedTuple):
    """A folder to be read: where it is, its part, and the real paths of those on the way to it."""

    relative: str
    path: Path
    part: str
    above: tuple[str, ...]


class Listing(NamedTuple):
    """Paths of training and of test images, each in order, and the record of their split."""

    train: list[Path]
    test: list[Path]
    split: dict[str, Any]


def listing(folder: Path, split: Split, say: Callable[[str], None] = note) -> Listing:
    """The images under ``folder``, sorted by their path relative to it, and parted.

    Links are followed, each folder once. Names with a dot in front are passed over. A file belongs to the part that
    the first of its folders is named after, if any is. Where there are training and test images, those are the split;
    without test images, the validation images are held out. What was left out for that is said (on stderr). The seeded
    split is for where no folder is named after a part, or all images are in one part.

    Raises:
        InputError: no images, or folders named after a part from which no split follows.
    """
    others: Counter[str] = Counter()
    seen: dict[str, str] = {}
    items = sorted(_walk(folder, seen, others))
    if others:
        say(
            f"{str(folder)!r}: left out {others.total()} files in formats that curvae does not read "
            f"({', '.join(sorted(others))}); save them as png or jpg"
        )
    parts = {part: [item for item in items if item.part == part] for part in (TRAIN, VALIDATION, TEST, "")}
    held_out = TEST if parts[TEST] or VALIDATION not in seen else VALIDATION
    if TRAIN in seen and held_out in seen:
        return _standard(folder, parts, held_out, seen, say)
    filled = [part for part in parts if parts[part]]
    if len(filled) > 1:
        raise InputError(_mixed(folder, parts, seen))
    if not filled:
        hint = "; give an .npy or .npz file by its own path" if any(folder.glob("*.np[yz]")) else ""
        raise InputError(f"{str(folder)!r} holds no images; expected png, jpg, … or train-images-idx3-ubyte[.gz]{hint}")
    files = _once(folder, parts[filled[0]], say)
    train, test = split.indices(len(files), repr(str(folder)))
    return Listing([files[i] for i in train.tolist()], [files[i] for i in test.tolist()], split.record(test))


def holds(folder: Path, path: Path) -> bool:
    """Whether a file at ``path`` is an image under a folder, itself or by a link, or would be one once it is written.

    Example:
        >>> holds(Path("faces"), Path("faces/more/0.png")), holds(Path("faces"), Path("samples.png"))
        (True, False)
    """
    real = os.path.realpath(path)
    if any(Path(place).is_relative_to(os.path.realpath(folder)) for place in (os.path.realpath(path.parent), real)):
        return True
    return os.path.exists(real) and any(item.real == real for item in _walk(folder, {}, Counter()))  # noqa: PTH110


def _standard(
    folder: Path, parts: dict[str, list[Item]], held_out: str, seen: dict[str, str], say: Callable[[str], None]
) -> Listing:
    for part in (TRAIN, held_out):
        if not parts[part]:
            raise InputError(f"{str(folder / seen[part])!r} holds no images; expected png, jpg, …")
    train, test = parts[TRAIN], parts[held_out]
    record = STANDARD if held_out == TEST else {**STANDARD, "held_out": VALIDATION}
    line = (
        f"{str(folder)!r}: {len(train)} images are for training ({Path(seen[TRAIN]).name!r}), {len(test)} are held out "
        f"({Path(seen[held_out]).name!r})"
    )
    if held_out == TEST and parts[VALIDATION]:
        record = {**record, "validation": len(parts[VALIDATION])}
        line += f"; left out: {len(parts[VALIDATION])} of {Path(seen[VALIDATION]).name!r}"
    if parts[""]:
        line += f"; left out: {len(parts[''])} beside them ({_tops(parts[''])})"
    both = len({item.real for item in train} & {item.real for item in test})
    if both:
        line += f"; {both} of these are links to training images"
    say(line)
    return Listing([item.path for item in train], [item.path for item in test], record)


def _mixed(folder: Path, parts: dict[str, list[Item]], seen: dict[str, str]) -> str:
    named = " and ".join(repr(seen[part]) for part in (TRAIN, VALIDATION, TEST) if parts[part])
    beside = f" and beside {'them' if ' and ' in named else 'it'} in {_tops(parts[''])}" if parts[""] else ""
    lacks = "training images" if not parts[TRAIN] else "test or validation images"
    return (
        f"{str(folder)!r} has images in {named}{beside} but no folder of {lacks}; give the folder that you mean by its "
        "own path, or rename one that is only called so"
    )


def _once(folder: Path, items: list[Item], say: Callable[[str], None]) -> list[Path]:
    """Paths of all, but of two that are the same file by a link only the first: it would be on both sides."""
    first: dict[str, Path] = {}
    for item in items:
        first.setdefault(item.real, item.path)
    if len(first) < len(items):
        say(f"{str(folder)!r}: left out {len(items) - len(first)} links to images that are already included")
    return list(first.values())


def _tops(items: list[Item]) -> str:
    return some(list(dict.fromkeys(repr(item.relative.split("/")[0]) for item in items)), 4)


def _walk(root: Path, seen: dict[str, str], others: Counter[str]) -> Iterator[Item]:
    """Every image; ``seen`` gets the first folder of each part, ``others`` the suffixes of what is not read."""
    folders, links = deque([_Folder("", root, "", ())]), deque[_Folder]()
    known: set[tuple[str, str]] = set()
    while folders or links:  # links last, so that of two ways to a folder the one without a link is taken
        relative, folder, part, above = (folders or links).popleft()
        real = os.path.realpath(folder)
        inside = real.rstrip(os.sep) + os.sep
        if (real, part) in known or any(f"{inner}{os.sep}".startswith(inside) for inner in above):
            continue
        known.add((real, part))
        try:
            with os.scandir(folder) as entries:
                shown = sorted((entry for entry in entries if _is_shown(entry.name)), key=lambda entry: entry.name)
        except OSError:
            if folder == root:
                raise
            yield Item(relative.rstrip("/"), folder, part, real)
            continue
        named = parts_of(entry.name for entry in shown)
        for entry in shown:
            name, path, own = relative + entry.name, folder / entry.name, inside + entry.name
            suffix, is_link, is_broken = path.suffix.lower(), entry.is_symlink(), _is_broken(entry)
            if not is_broken and entry.is_dir():
                inner = part or named.get(entry.name, "")
                if inner:
                    seen.setdefault(inner, name)
                (links if is_link else folders).append(_Folder(f"{name}/", path, inner, (*above, real)))
            elif suffix in SUFFIXES or (is_broken and not suffix[1:].isalpha()):  # may have been a folder
                yield Item(name, path, part, os.path.realpath(path) if is_link and not is_broken else own)
            elif suffix in _OTHER_SUFFIXES:
                others[suffix] += 1


def _is_shown(name: str) -> bool:
    # names with a dot in front are thumbnails and other systems' notes
    return not name.startswith(".") and name != _NOBODYS


def _is_broken(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link that leads nowhere, in a circle, or where one may not go."""
    try:
        return entry.is_symlink() and not entry.stat()
    except OSError:
        return True
