"""Labels beside a data set, where its source has some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from curvae.data import arrays, mnist
from curvae.data.notes import note
from curvae.data.parts import TEST, TRAIN, VALIDATION, parted_labels
from curvae.data.reasons import reason


def labels_of(source: str, count: int) -> Shaped[np.ndarray, " N"] | None:
    """One label for each sample of a source, in its order, training samples first where it has parts.

    Those of ``mnist``, and of an ``.npz`` file the arrays called ``labels``, ``y``, ``y_train`` and ``y_test``, …

    Args:
        source: as :func:`curvae.data.load` takes it.
        count: how many samples it has.

    Returns:
        None where there are none; of labels that cannot be used stderr says so.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/toy.npz"
        >>> np.savez(path, images=np.zeros((3, 2)), labels=np.array(["a", "b", "a"]))
        >>> labels_of(path, 3).tolist()
        ['a', 'b', 'a']
    """
    if source == "mnist":
        return np.concatenate(mnist.load_labels())
    path, _ = arrays.locate(Path(source).expanduser())
    if path.suffix.lower() != ".npz":
        return None
    with np.load(path, allow_pickle=False) as archive:
        parts = parted_labels(archive)
        keys = [parts[part] for part in (TRAIN, TEST if TEST in parts else VALIDATION, "") if part in parts]
        try:
            found = [np.asarray(archive[key]) for key in keys]
        except Exception as error:  # pickled objects, zip and zlib errors have no common ancestor
            note(f"{str(path)!r}: {keys} are left out ({reason(error)})")
            return None
    if not found:
        return None
    if any(one.ndim != 1 for one in found) or sum(map(len, found)) != count:
        note(f"{str(path)!r}: {keys} are left out: their shapes are not one label for each of {count} samples")
        return None
    return np.concatenate(found)
