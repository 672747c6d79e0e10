"""From a name or a path to a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch

from curvae._extras import require
from curvae.data import arrays, fashion, idx, mnist, sprites, tables
from curvae.data.coding import Coding, kind_of
from curvae.data.dataset import Dataset
from curvae.data.labels import with_conditions
from curvae.data.names import EXPECTED, count_and_seed, expand, is_name, is_table, meant, suffix
from curvae.data.pixels import whitened
from curvae.data.reasons import reason
from curvae.data.split import Halves, Split, Whole
from curvae.errors import InputError

DAMAGED = ("stop", "skip")
"""What can be done about damaged images."""
# in pixels; a typing error should not fill the memory
_LARGEST = 4096


def load(
    source: str | Path,
    *,
    size: int | None = None,
    split_seed: int = 0,
    test_fraction: float | None = 0.1,
    cache: Path | None = None,
    damaged: str = "stop",
    white: int | None = None,
    labels: Sequence[str] = (),
    drop: Sequence[str] = (),
    condition: str | Sequence[str] | Coding = (),
    missing: bool = False,
    absent: bool = False,
    known: Sequence[str] | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        source: ``"mnist"`` (from the extra ``curvae[mnist]``), ``"fashion-mnist"`` (from Debian's
            ``dataset-fashion-mnist``), ``"avatars"`` (20,000 cartoon faces, from ``curvae[faces]``;
            ``"avatars:COUNT:SEED"`` for others), ``"sprites"`` and ``"tilted-sprites"`` (20,000 grey ones of
            known factors, see :mod:`curvae.data.sprites`; ``"sprites:COUNT:SEED"`` for others), ``"orl"`` (400 small
            grey photographs of faces, from ``curvae[faces]``), or a path: a folder with IDX files under their standard
            names, a ``.npy`` or ``.npz`` file (``FILE.npz:KEY`` for one array of several), a table with one sample a
            row (``.csv`` or ``.parquet`` with ``curvae[pandas]``, ``.h5ad`` with ``curvae[anndata]``,
            ``FILE.h5ad:LAYER`` for a layer), CelebA's ``img_align_celeba`` folder or zip with
            ``list_eval_partition.txt`` beside it (64 × 64 crops), or any other folder of images, searched recursively
            (its folders ``train`` and ``test`` or ``val``, if any, are the split). The names win over files called so;
            give ``./mnist`` or a ``Path`` for those.
        size: side in pixels of the square that images are brought to: shorter side scaled, middle cut out, bicubic.
            Needed for an image folder of mixed sizes; an error for data that are not images.
        split_seed: seed of the split where the source has none of its own.
        absent: whether columns that ``labels`` and ``drop`` name may be absent from a table.
        test_fraction: share of the data held out in such a split, in (0, 1); None parts nothing (:func:`load_whole`).
        cache: folder to keep decoded or rendered pixels in, memory-mapped and with a digest. None means
            ``$CURVAE_CACHE`` or ``~/.cache/curvae`` for sets that make one wait, and no cache for small image folders.
        damaged: what to do about images that cannot be read: ``"stop"``, or ``"skip"`` to leave them out, which
            the record of the split then counts and names.
        white: the stored number that means 1, as ``Dataset.white`` of other data that these are to be read like; None
            asks the whole set.
        labels: of a table, columns that are kept in ``Dataset.labels`` and not trained on.
        drop: of a table, columns that are left out.
        condition: what is known of each sample and given to the networks (``Dataset.conditions``): columns of a table,
            which are then not trained on, arrays of an ``.npz`` file, or ``labels`` (of ``mnist``, IDX folders and
            ``.npz`` files, and of image folders the folder that each image lies in). A name may say what it is,
            ``age:number`` or ``batch:classes``; see :class:`~curvae.data.Coding`. Or the coding of data read before.
        missing: whether NaN in arrays and tables, and their empty cells, may stand for what was not observed.
        known: of a table, ``Dataset.columns`` of other data that these are to be read like: a first column without a
            name is a feature if it is among them. None leaves it out where it counts the rows.

    Returns:
        The data, with a digest of its content and a record of the split. uint8 stays uint8 and means pixels, 0 to
        255, but where all are 0 or 1 these are masks and become 0 and 255; grey images of 16 bits become uint8 by the
        largest value of the 8, 10, 12, 14 or 16 bits that the whole set needs; any other type of number becomes
        float32 with its values unchanged.

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
    if isinstance(condition, str):
        condition = [part.strip() for part in condition.split(",") if part.strip()]
    if size is not None and not 1 <= size <= _LARGEST:
        raise InputError(f"size is {size}; expected a whole number of pixels from 1 to {_LARGEST}")
    if damaged not in DAMAGED:
        raise InputError(f"damaged is {damaged!r}; expected {' or '.join(DAMAGED)}")
    kept = labels = tuple(labels)
    if condition and is_table(source):
        names = condition.names if isinstance(condition, Coding) else [kind_of(text)[0] for text in condition]
        kept = tuple(dict.fromkeys([*labels, *names]))
    split = Whole() if test_fraction is None else Split(split_seed, test_fraction)
    texts = condition.texts if isinstance(condition, Coding) else ()
    wish = _Wish(split, size, cache, damaged, white, missing, absent, texts, known)
    name, halves = _read(source, wish, (kept, tuple(drop)))
    halves = whitened(halves, white, repr(name))
    if size is not None:
        resize = _reading_images("resize")
        train, test = (resize.fit_all(half, size, repr(name)) for half in (halves.train, halves.test))
        # the digest stays with images that have the size already
        halves = Halves(train, test, halves.split, halves.digest if train is halves.train else "")
    train_data, test_data = torch.from_numpy(halves.train), torch.from_numpy(halves.test)
    found = Dataset(name, train_data, test_data, halves.split, halves.digest, halves.labels, columns=halves.columns)
    if not condition:
        return found
    found = with_conditions(found, str(source), condition)
    beside = {key: value for key, value in (found.labels or {}).items() if key in labels}
    return replace(found, labels=beside or None)


def load_whole(source: str | Path, **options: Any) -> Dataset:
    """Load a data set that is not to be parted, down to a single sample: for :func:`curvae.data.in_order`.

    The options and errors are those of :func:`load`. A source with parts of its own keeps them.

    Example:
        >>> import tempfile, numpy as np
        >>> path = Path(tempfile.mkdtemp()) / "toy.npy"
        >>> np.save(path, np.arange(6.0).reshape(3, 2))
        >>> from curvae.data import in_order
        >>> in_order(load_whole(path))
        tensor([[0., 1.],
                [2., 3.],
                [4., 5.]])
    """
    return load(source, test_fraction=None, **options)


class _Wish(NamedTuple):
    """How a source is to be read, beside where it is."""

    split: Split
    size: int | None
    cache: Path | None
    damaged: str
    white: int | None
    missing: bool = False
    absent: bool = False
    texts: tuple[str, ...] = ()
    known: Sequence[str] | None = None


def _reading_images(module: str, extra: str = "cli") -> Any:
    """A module of this package that reads images, imported when it is asked for: arrays are read without Pillow."""
    require("reading images needs", "PIL", "rich", extra=extra)
    return import_module(f"curvae.data.{module}")


def _read(source: str | Path, wish: _Wish, columns: tuple[Sequence[str], Sequence[str]]) -> tuple[str, Halves]:
    if any(columns) and not is_table(source):
        raise InputError(
            f"labels and drop name columns of a table ({', '.join(tables.SUFFIXES)}), but the data are "
            f"{str(source)!r}; give such a file, or leave them out"
        )
    if source == "mnist":
        return "mnist", mnist.load()
    if source == "fashion-mnist":
        return "fashion-mnist", fashion.load()
    if source == "orl":
        return "orl", _reading_images("orl", "faces").load(wish.split)
    if isinstance(source, str) and is_name(source):
        return _draw(source, wish.cache)
    if source == "":
        raise InputError(f"the data source is empty; {EXPECTED}")
    try:
        path = expand(Path(source))
        if suffix(path) not in (*arrays.SUFFIXES, *tables.SUFFIXES):
            celeba = _reading_images("celeba")
            if faces := celeba.find(path):
                return "celeba", celeba.load(faces, wish.size, wish.cache, wish.damaged)
        halves = _read_path(path, wish, columns)
    except OSError as error:  # no permission, a name too long, …
        raise InputError(f"{str(source)!r} cannot be read ({reason(error)}); {EXPECTED}") from error
    except MemoryError as error:
        raise InputError(f"{str(source)!r} does not fit in memory; give a smaller size or fewer samples") from error
    file, _ = arrays.locate(path)
    return _printable(file.stem if file.is_file() else path.resolve().name), halves


def _draw(source: str, cache: Path | None) -> tuple[str, Halves]:
    name = source.partition(":")[0]
    if name == "avatars":
        avatars = _reading_images("avatars", "faces")
        return name, avatars.load(*count_and_seed(source, avatars.COUNT), cache=cache)
    return name, sprites.load(*count_and_seed(source, sprites.COUNT), tilted=name == "tilted-sprites", cache=cache)


def _printable(name: str) -> str:
    """A name fit for text in UTF-8: bytes of it that are none become their codes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _read_path(path: Path, wish: _Wish, columns: tuple[Sequence[str], Sequence[str]]) -> Halves:
    if path.is_dir():
        if idx.is_folder(path):
            return idx.load_folder(path, wish.split)
        return _reading_images("images").load_folder(path, *wish[:5])
    file, key = arrays.locate(path)
    if not file.exists():
        raise InputError(f"{str(path)!r} does not exist; {EXPECTED}{meant(str(path))}")
    if file.suffix.lower() in tables.SUFFIXES:
        return tables.load(file, wish.split, *columns, key, wish.missing, wish.absent, wish.texts, wish.known)
    if file.suffix.lower() not in arrays.SUFFIXES:
        raise InputError(f"{str(path)!r} is not a kind of file that curvae reads; {EXPECTED}")
    return arrays.load(file, wish.split, key, wish.missing)
