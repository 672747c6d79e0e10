"""Labels beside a data set, where its source has some."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from curvae.data import arrays, fashion, idx, mnist
from curvae.data.coding import Coding, kind_of
from curvae.data.dataset import Dataset
from curvae.data.names import is_name
from curvae.data.notes import note
from curvae.data.parts import TEST, TRAIN, VALIDATION, key_beside, parted_keys_called, parted_labels
from curvae.data.reasons import reason
from curvae.data.split import STANDARD, Split, Whole
from curvae.errors import InputError

LABELS = "labels"
"""What the labels of a source are called that has one label for each sample."""


class NoConditionsError(InputError):
    """A source does not hold the conditions that were asked for.

    Example:
        >>> raise NoConditionsError("condition is 'batch' but cells has no such labels")
        Traceback (most recent call last):
        curvae.data.labels.NoConditionsError: condition is 'batch' but cells has no such labels
    """


def with_conditions(dataset: Dataset, source: str, condition: Sequence[str] | Coding) -> Dataset:
    """A data set, as it was read from its source, with the conditions that this holds.

    They are columns of a table, which then are among its labels, arrays of an ``.npz``, or ``labels``; or how they were
    coded before.

    Raises:
        InputError: the source has no such thing, or what it has cannot be a condition.
    """
    names = condition.names if isinstance(condition, Coding) else [kind_of(text)[0] for text in condition]
    if len(set(names)) < len(names):
        raise InputError(f"condition names {next(one for one in names if list(names).count(one) > 1)!r} twice")
    pairs = {name: _halves(dataset, source, name) for name in names}
    train, test = ({name: pair[half] for name, pair in pairs.items()} for half in (0, 1))
    coding = condition if isinstance(condition, Coding) else Coding.of(condition, train, test)
    return dataset.with_conditions(coding.code(train), coding.code(test), coding)


def _halves(dataset: Dataset, source: str, name: str) -> tuple[Any, Any]:
    """One value for each training and each held-out sample."""
    if dataset.labels is not None and name in dataset.labels:
        return dataset.labels[name]
    path = Path(source).expanduser()
    if name == LABELS and path.is_dir() and not is_name(source) and not idx.is_folder(path):
        if (halves := _class_folders(path, dataset)) is None:
            raise NoConditionsError(
                f"condition is labels but the images of {str(path)!r} do not lie in a folder for each class; expected "
                "FOLDER/CLASS/…, or FOLDER/train/CLASS/… and FOLDER/test/CLASS/…"
            )
        return halves
    found = labels_of(source, dataset, name)
    if found is None:
        beside = "an .npz file has arrays by name, a table columns, and others 'labels' at most"
        raise NoConditionsError(f"condition is {name!r} but {dataset.name} has no such labels; {beside}")
    return parted(found, dataset)


def parted(labels: Shaped[np.ndarray, " N"], dataset: Dataset) -> tuple[Any, Any]:
    """Labels in the order of the source, for the training and for the held-out samples."""
    if dataset.split.get("alone"):
        return labels, labels
    held_out = dataset.split.get("test_indices")
    test = np.arange(len(dataset.train), len(labels)) if held_out is None else np.asarray(held_out)
    return np.delete(labels, test), labels[test]


def beside(dataset: Dataset, source: str) -> dict[str, tuple[Any, Any]]:
    """What a source says of each training and each held-out sample: a table's columns of labels, or its one label.

    Images in one folder alone have none.

    Example:
        >>> import tempfile
        >>> from curvae.data import load_whole
        >>> path = tempfile.mkdtemp() + "/toy.npz"
        >>> np.savez(path, images=np.zeros((3, 2)), labels=np.array([7, 8, 7]))
        >>> beside(load_whole(path), path)
        {'labels': (array([7, 8]), array([7]))}
    """
    if dataset.labels:
        return dataset.labels
    try:
        halves = _halves(dataset, source, LABELS)
    except NoConditionsError:
        return {}
    folders = Path(source).expanduser().is_dir() and halves[0].dtype.kind == "U"
    alone = folders and len({*halves[0], *halves[1]}) == 1
    return {} if alone else {LABELS: halves}


def _class_folders(folder: Path, dataset: Dataset) -> tuple[Any, Any] | None:
    """Of each image the name of the folder that it lies in; None where these are not one for each class."""
    if import_module("curvae.data.celeba").find(folder):
        return None
    record = dataset.split
    standard = record["kind"] == STANDARD["kind"]
    split = Split(record["seed"], record["test_fraction"]) if record["kind"] == "seeded" else Whole()
    # what there is to say of the folder was said when it was read
    found = import_module("curvae.data.folders").listing(folder, split, say=lambda _: None)
    gone = record.get("damaged", {}).get("names", ())
    whole = [[path for path in half if path.relative_to(folder).as_posix() not in gone] for half in found[:2]]
    train, test = (np.array([path.parent.name for path in half]) for half in whole)
    flat = any(path.parent == folder for half in whole for path in half)
    if flat or (standard and not {*train} & {*test}):
        return None
    return (train, test) if (len(train), len(test)) == (len(dataset.train), len(dataset.test)) else None


def labels_of(source: str, dataset: Dataset, name: str = LABELS) -> Shaped[np.ndarray, " N"] | None:
    """One label for each sample of a source, in its order, training samples first where it has parts.

    Those of ``mnist``, of ``fashion-mnist`` and other folders of IDX files, and of an ``.npz`` file the arrays called
    ``labels``, ``y``, ``y_train`` and ``y_test``, …, or of another name, in parts or whole. None where there are none;
    of labels that cannot be used stderr says so.

    Args:
        source: where they are.
        dataset: what was read from there.
        name: of the labels.

    Example:
        >>> import tempfile
        >>> from curvae.data import load
        >>> path = tempfile.mkdtemp() + "/toy.npz"
        >>> np.savez(path, images=np.zeros((3, 2)), labels=np.array(["a", "b", "a"]))
        >>> labels_of(path, load(path)).tolist()
        ['a', 'b', 'a']
    """
    if name == LABELS and source == "mnist":
        return np.concatenate(mnist.load_labels())
    if is_name(source) and source != "fashion-mnist":
        return None
    path, key = arrays.locate(fashion.DEBIAN if source == "fashion-mnist" else Path(source).expanduser())
    if name == LABELS and path.is_dir():
        try:
            what, found = "its labels", idx.labels(path)
        except InputError as error:
            note(f"{error}; labels are left out")
            return None
    elif path.suffix.lower() == ".npz" and path.is_file():
        with np.load(path, allow_pickle=False) as archive:
            parts = parted_labels(archive) if name == LABELS else parted_keys_called(archive, name)
            # of one part alone, its own
            if (
                key is not None
                and "" not in parts
                and (own := key_beside(archive, key, None if name == LABELS else name))
            ):
                parts = {"": own}
            keys = [parts[part] for part in (TRAIN, TEST if TEST in parts else VALIDATION, "") if part in parts]
            try:
                what, found = str(keys), [np.asarray(archive[key]) for key in keys]
            except Exception as error:  # pickled objects, zip and zlib errors have no common ancestor
                note(f"{str(path)!r}: {keys} are left out ({reason(error)})")
                return None
    else:
        return None
    if not found:
        return None
    # labels of parts go with those parts: as many in all would be others' where the parts are not as long
    halves = [len(dataset.train)] if dataset.split.get("alone") else [len(dataset.train), len(dataset.test)]
    wanted, there = halves, [one.size for one in found]
    if len(found) == 1 or dataset.split.get("kind") != STANDARD["kind"]:
        wanted, there = [sum(halves)], [sum(there)]
    if any(one.ndim != 1 for one in found) or there != wanted:
        each = " and ".join(map(str, wanted))
        note(f"{str(path)!r}: {what} are left out: their shapes are not one label for each of {each} samples")
        return None
    return np.concatenate(found)
