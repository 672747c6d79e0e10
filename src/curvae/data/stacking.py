"""Many images into one array: read by several threads, damaged ones counted and either refused or left out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from rich.markup import escape
from rich.progress import track

from curvae._typing import UInt8
from curvae.data.reasons import check_size
from curvae.errors import InputError
from curvae.terminal import console

Item = TypeVar("Item")
Read = Callable[[Item], UInt8[np.ndarray, "C H W"]]

# sets beyond this many images show their progress
BIG = 2000
# images handed to the threads at a time: bounds what waits in memory
_SHARE = 256


class Stack(NamedTuple):
    """Images in order, and the positions of those that were left out."""

    pixels: UInt8[np.ndarray, "N C H W"]
    missing: list[int]


def stack(items: Sequence[Item], read: Read[Item], title: str, damaged: str = "stop") -> Stack:
    """Read every image, in order.

    Args:
        items: at least one; their ``str`` names them in errors.
        read: makes an image of an item; what it raises as ``InputError`` counts as damage.
        title: of the progress bar.
        damaged: ``"stop"`` raises if any image is damaged, once all have been tried; ``"skip"`` leaves them out and
            says so on stderr.

    Returns:
        All images with the channels of the richest: grey ones beside RGB ones become RGB.

    Raises:
        InputError: damaged images (named and counted), none that is whole, or images of different sizes.
    """
    failures: list[tuple[int, InputError]] = []
    with warnings.catch_warnings():
        # Pillow's, about notes in the files; about their pixels it raises
        warnings.filterwarnings("ignore", module=r"PIL\.")
        pixels = _fill(items, progress(_read_all(items, read), len(items), title), failures)
    if failures:
        _report(failures, items, damaged)
    return Stack(pixels[: len(items) - len(failures)], [position for position, _ in failures])


def _fill(
    items: Sequence[Item],
    images: Iterable[UInt8[np.ndarray, "C H W"] | InputError],
    failures: list[tuple[int, InputError]],
) -> UInt8[np.ndarray, "N C H W"]:
    """Whole images, one after the other, at the front of an array for all; the others go to ``failures``."""
    pixels = np.empty((0, 1, 0, 0), np.uint8)
    first: Item | None = None
    for position, image in enumerate(images):
        if isinstance(image, InputError):
            failures.append((position, image))
            continue
        if first is None:
            check_size(len(items) * image.size, f"{len(items)} images of {_size(image)}")
            first, pixels = items[position], np.empty((len(items), *image.shape), np.uint8)
        if image.shape[1:] != pixels.shape[2:]:
            raise InputError(
                f"images differ in size: {str(first)!r} is {_size(pixels)} and {str(items[position])!r} is "
                f"{_size(image)}; save all in one size, or give one to train or inspect with (--size, of a figure "
                "--set size=…)"
            )
        if len(image) > pixels.shape[1]:
            pixels = np.repeat(pixels, len(image), axis=1)  # all were grey so far: at most once
        pixels[position - len(failures)] = image
    return pixels


def progress(images: Iterable[Item], total: int, title: str) -> Iterable[Item]:
    """The same images, with a progress bar on stderr if there are many."""
    shown = escape(title.encode(errors="replace").decode())  # it may hold a folder's name, which may be anything
    return track(images, shown, total=total, console=console(), transient=True, disable=total < BIG)


def _read_all(items: Sequence[Item], read: Read[Item]) -> Iterator[UInt8[np.ndarray, "C H W"] | InputError]:
    # threads, not processes: Pillow decodes and resizes without the interpreter lock
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for begin in range(0, len(items), _SHARE):
            yield from pool.map(partial(_attempt, read=read), items[begin : begin + _SHARE])


def _attempt(item: Item, read: Read[Item]) -> UInt8[np.ndarray, "C H W"] | InputError:
    try:
        return read(item)
    except InputError as error:
        return error


def _report(failures: Sequence[tuple[int, InputError]], items: Sequence[object], damaged: str) -> None:
    others = [repr(str(items[position])) for position, _ in failures[1:]]
    named = f"; also {', '.join(others[:3])}" if others else ""
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    what = f"{len(failures)} of {len(items)} images fail; the first: {failures[0][1]}{named}{more}"
    if len(failures) == len(items):
        raise InputError(f"{what}; replace or remove")
    if damaged == "stop":
        raise InputError(
            f"{what}; replace or remove, or train without such images (--damaged skip, of a figure --set damaged=skip)"
        )
    console().print(f"left out: {what}", soft_wrap=True)


def _size(image: UInt8[np.ndarray, "*any H W"]) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"
