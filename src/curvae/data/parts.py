"""Names that people give to the parts of a data set: of folders, and of the arrays in one file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

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


def parts_of(folders: Iterable[str]) -> dict[str, str]:
    """The parts that folders side by side hold, of those that hold one: ``"train"``, ``"validation"`` or ``"test"``.

    A folder is called after its part alone, or beside others whose names differ from its own by the part.

    Example:
        >>> parts_of(["Train", "val2017", "test_images", "trainers"])
        {'Train': 'train', 'val2017': 'validation', 'test_images': 'test'}
        >>> parts_of(["trainA", "testA", "steam_train"])
        {'trainA': 'train', 'testA': 'test'}
    """
    names = list(folders)
    paired = {name: part for parts in _sets(names).values() for part, name in parts.items()}
    plain = {name: _PARTS[found[1].lower()] for name in names if (found := _FOLDER.fullmatch(name))}
    return paired | plain


def parted_keys(keys: Iterable[str]) -> dict[str, str]:
    """Of a file's arrays, those that are one set in parts: the key of each part, or none.

    There must be a training part and another. Labels in parts are left alone, as is everything that is in no part.

    Example:
        >>> parted_keys(["x_train", "y_train", "x_test", "y_test"])
        {'train': 'x_train', 'test': 'x_test'}
        >>> parted_keys(["images", "labels"])
        {}
    """
    whole = {rest: parts for rest, parts in _sets(keys).items() if rest not in _LABELS}
    named = next((rest for rest in _DATA if rest in whole), None)
    if named is None and len(whole) == 1:
        named = next(iter(whole))
    return {} if named is None else whole[named]


def parted_labels(keys: Iterable[str]) -> dict[str, str]:
    """Of a file's arrays, the labels: the key of each part, or under ``""`` that of all; none where there are none.

    Example:
        >>> parted_labels(["x_train", "y_train", "x_test", "y_test"])
        {'train': 'y_train', 'test': 'y_test'}
        >>> parted_labels(["images", "Labels"])
        {'': 'Labels'}
    """
    names = list(keys)
    sets = _sets(names)
    if parts := next((sets[rest] for rest in _LABELS if rest in sets), None):
        return parts
    return next(({"": name} for label in _LABELS for name in names if name.lower() == label), {})


def without_labels(keys: Iterable[str]) -> list[str]:
    """Of a file's arrays, those that are not called labels.

    Example:
        >>> without_labels(["images", "Labels", "y"])
        ['images']
    """
    return [name for name in keys if name.lower() not in _LABELS]


def parted_keys_called(keys: Iterable[str], name: str) -> dict[str, str]:
    """Of a file's arrays, those of one name: the key of each part, or under ``""`` that of all; or none.

    Example:
        >>> parted_keys_called(["x_train", "age_train", "x_test", "age_test"], "age")
        {'train': 'age_train', 'test': 'age_test'}
        >>> parted_keys_called(["x", "age"], "age")
        {'': 'age'}
    """
    names = list(keys)
    return {"": name} if name in names else _sets(names).get(name.lower(), {})


def key_beside(keys: Iterable[str], key: str, name: str | None = None) -> str | None:
    """Of a file's arrays, the labels, or the array of a name, in the same part as another one; None if there is none.

    Example:
        >>> key_beside(["x_train", "y_train", "x_test", "y_test"], "x_test")
        'y_test'
        >>> key_beside(["images", "y_train"], "images") is None
        True
    """
    called = _LABELS if name is None else (name.lower(),)
    names = list(_split(keys))
    part = next((one for _, one, there in names if there == key), None)
    return next((there for label in called for rest, one, there in names if rest == label and one == part), None)


def _sets(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Names that differ by the part alone, a training part and another: for what they share, the name of each part."""
    sets: dict[str, dict[str, str]] = {}
    for rest, part, name in _split(names):
        sets.setdefault(rest, {}).setdefault(part, name)
    return {rest: parts for rest, parts in sets.items() if TRAIN in parts and len(parts) > 1}


def _split(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Names that hold one of a part: what is left of them without it, the part, and they themselves."""
    for name in names:
        if found := _KEY.search(name):
            rest = re.sub(r"[\W_]+", " ", name[: found.start()] + name[found.end() :]).strip().lower()
            yield rest, _PARTS[found[1].lower()], name
