"""From a name or a path to a data set."""

from __future__ import annotations

from pathlib import Path

import torch

from curvae.data import arrays, fashion, idx, images, mnist
from curvae.data.dataset import Dataset
from curvae.data.reasons import reason
from curvae.data.resize import fit_all
from curvae.data.split import Halves, Split
from curvae.errors import InputError

_EXPECTED = "expected mnist, fashion-mnist, a .npy or .npz file, an IDX folder or an image folder"
# in pixels; a typing error should not fill the memory
_LARGEST = 4096


def load(
    source: str | Path,
    *,
    size: int | None = None,
    split_seed: int = 0,
    test_fraction: float = 0.1,
    cache: Path | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        source: ``"mnist"`` (from the extra ``curvae[mnist]``), ``"fashion-mnist"`` (from Debian's
            ``dataset-fashion-mnist``), or a path: a folder with IDX files under their standard names, a ``.npy`` or
            ``.npz`` file, or a folder of images, searched recursively. The two names win over files called so; give
            ``./mnist`` or a ``Path`` for those.
        size: side in pixels of the square that images are brought to: shorter side scaled, middle cut out, bicubic.
            Needed for an image folder of mixed sizes; an error for data that are no images.
        split_seed: seed of the split where the source has none of its own.
        test_fraction: share of the data held out in such a split, in (0, 1).
        cache: folder to keep an image folder's decoded pixels in; None decodes them each time.

    Returns:
        The data, with a digest of its content and a record of the split. uint8 stays uint8 and means pixels, 0 to
        255; any other type of number becomes float32 with its values unchanged.

    Raises:
        InputError: anything about the source or the arguments that cannot be used.

    Example:
        >>> import tempfile, numpy as np
        >>> path = Path(tempfile.mkdtemp()) / "toy.npy"
        >>> np.save(path, np.random.default_rng(0).normal(size=(20, 3)))
        >>> data = load(path, test_fraction=0.2)
        >>> data.name, data.shape, len(data.train), len(data.test), data.train.dtype
        ('toy', (3,), 16, 4, torch.float32)
        >>> data.split["kind"], len(data.split["test_indices"])
        ('seeded', 4)
    """
    if size is not None and not 1 <= size <= _LARGEST:
        raise InputError(f"size is {size}; expected a whole number of pixels from 1 to {_LARGEST}")
    name, halves = _read(source, Split(split_seed, test_fraction), size, cache)
    if size is not None:
        train, test = (fit_all(half, size, repr(name)) for half in (halves.train, halves.test))
        halves = Halves(train, test, halves.split)
    return Dataset(name, torch.from_numpy(halves.train), torch.from_numpy(halves.test), halves.split)


def _read(source: str | Path, split: Split, size: int | None, cache: Path | None) -> tuple[str, Halves]:
    if source == "mnist":
        return "mnist", mnist.load()
    if source == "fashion-mnist":
        return "fashion-mnist", fashion.load()
    if source == "":
        raise InputError(f"the data source is empty; {_EXPECTED}")
    try:
        path = _expand(Path(source))
        halves = _read_path(path, split, size, cache)
    except OSError as error:  # no permission, a name too long, …
        raise InputError(f"{str(source)!r} cannot be read ({reason(error)}); {_EXPECTED}") from error
    except MemoryError as error:
        raise InputError(f"{str(source)!r} does not fit in memory; give a smaller size or fewer samples") from error
    return (path.stem if path.is_file() else path.resolve().name), halves


def _expand(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise InputError(f"{str(path)!r} has no home folder behind its ~; {_EXPECTED}") from error


def _read_path(path: Path, split: Split, size: int | None, cache: Path | None) -> Halves:
    if path.is_dir():
        if idx.find(path, "train") or idx.find(path, "test"):
            return idx.load_folder(path, split)
        return images.load_folder(path, split, size, cache)
    if not path.exists():
        raise InputError(f"{str(path)!r} does not exist; {_EXPECTED}")
    if path.suffix.lower() not in arrays.SUFFIXES:
        raise InputError(f"{str(path)!r} is a file of another kind; {_EXPECTED}")
    return arrays.load(path, split)
