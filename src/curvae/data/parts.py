"""Names that people give to the parts of a data set: of folders, and of the arrays in one file."""

from __future__ import annotations

import re
from collections.abc import Iterable

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_PARTS = {
    **dict.fromkeys(("training", "train"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val"), VALIDATION),
    **dict.fromkeys(("testing", "test"), TEST),
}
_WORD = f"({'|'.join(_PARTS)})"
# with what people add to them, as in train2017, test_images and val-set
_FOLDER = re.compile(rf"{_WORD}[\W_]*(images?|imgs?|data|set|split)?[\W_]*\d*", re.IGNORECASE)
_KEY = re.compile(_WORD, re.IGNORECASE)
# what the arrays of data are called beside their part; where a file has others as well, the first of these is taken
_DATA = ("", "x", "images", "image", "data", "features", "inputs")
_LABELS = ("y", "class", "classes", "label", "labels", "target", "targets")


def part_of(folder: str) -> str:
    """The part that a folder of this name holds: ``"train"``, ``"validation"``, ``"test"``, or ``""`` for any other.

    Example:
        >>> part_of("Train"), part_of("val2017"), part_of("test_images"), part_of("trainers")
        ('train', 'validation', 'test', '')
    """
    found = _FOLDER.fullmatch(folder)
    return _PARTS[found[1].lower()] if found else ""


def parted_keys(keys: Iterable[str]) -> dict[str, str]:
    """Of a file's arrays, those that are one set in parts: the key of each part, or none.

    There must be a training part and another. Labels in parts are left alone, as is everything that is in no part.

    Example:
        >>> parted_keys(["x_train", "y_train", "x_test", "y_test"])
        {'train': 'x_train', 'test': 'x_test'}
        >>> parted_keys(["images", "labels"])
        {}
    """
    sets: dict[str, dict[str, str]] = {}
    for key in keys:
        if found := _KEY.search(key):
            rest = re.sub(r"[\W_]+", " ", key[: found.start()] + key[found.end() :]).strip().lower()
            sets.setdefault(rest, {}).setdefault(_PARTS[found[1].lower()], key)
    whole = {rest: parts for rest, parts in sets.items() if TRAIN in parts and len(parts) > 1 and rest not in _LABELS}
    named = next((rest for rest in _DATA if rest in whole), None)
    if named is None and len(whole) == 1:
        named = next(iter(whole))
    return {} if named is None else whole[named]
