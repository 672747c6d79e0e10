"""Data that a program hands over: arrays, tensors, and the data sets and loaders of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, TensorDataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data._utils.collate import default_collate

from curvae._checks import shown
from curvae._typing import Tensor
from curvae.data.columns import check_names, names_of
from curvae.data.convert import as_array, as_samples
from curvae.data.dataset import Dataset, content_digest
from curvae.data.samples import Samples, Take, as_conditions, taken
from curvae.data.split import STANDARD, Split
from curvae.errors import InputError


def as_dataset(
    data: Any,
    validation: Any = None,
    *,
    take: Take | None = None,
    seed: int = 0,
    split: Mapping[str, Any] | None = None,
    condition: Any = None,
    missing: bool = False,
) -> Dataset:
    """A training and a held-out half, of whatever holds samples.

    Arrays, tensors, lists and data frames are taken as :func:`~curvae.data.as_samples` reads them: uint8 means pixels,
    from 0 to 255. Of a ``DataLoader`` its data set, its ``collate_fn`` and its workers are taken, and not its order.

    Args:
        data: an array ``[N, *D]``, a :class:`~curvae.data.Dataset`, or a map-style data set or ``DataLoader`` of torch.
        validation: what is held out: the same kinds of things, or the share of ``data`` to split off, in (0, 1);
            default the data's own held-out half, or a tenth.
        take: which part of a batch is x, as its number in a tuple or its key in a mapping, or a function from a batch
            to it; default the batch itself, or the first of a tuple.
        seed: of the split.
        split: the record of an earlier split (``Dataset.split``), which is then made again.
        condition: conditions of the samples (``Dataset.conditions``): which part of a batch they are, as its number in
            a tuple or its key in a mapping, or a function from a batch to them; or an array ``[N, *C]`` of those of
            ``data``, from which a share is held out then. Numbers are given to the model as they are.
        missing: whether NaN may stand for what was not observed, as in :class:`curvae.likelihoods.Masked`.

    Raises:
        InputError: what cannot be used of it, in one line.

    Example:
        >>> data = as_dataset(np.zeros((20, 3)), validation=0.2)
        >>> data.shape, len(data.train), len(data.test)
        ((3,), 16, 4)
        >>> as_dataset((np.zeros((20, 3)), np.arange(20)), condition=1).conditions[1]
        tensor([4, 5])
    """
    if isinstance(data, Dataset):
        if condition is not None:
            raise InputError(
                "condition is given for a curvae.data.Dataset; make it with its conditions: "
                "curvae.data.load(…, condition=…) or as_dataset(…, condition=…)"
            )
        if validation is None:
            return data
        if isinstance(validation, float):
            raise InputError(f"validation is {validation} but {data.name} has a held-out half of its own; leave it out")
        if data.conditional:
            raise InputError(
                f"{data.name} has conditions and validation has samples of its own, whose conditions are not given; "
                "leave it out"
            )
        check_names(data.columns, names_of(validation), "validation")
        held_out = samples(validation, take, "validation", missing=missing)
        return _of("data", data.train, held_out, {"kind": "given"}, data.columns)
    if isinstance(data, tuple) and len(data) == 2 and split is not None and split.get("kind") == "given":
        data, validation = data
    part, names = _part(condition), names_of(data)
    whole, c = _paired(data, take, "data", part, missing)
    if part is None and condition is not None:
        c = as_conditions(condition, len(whole))
    if validation is not None and not isinstance(validation, float):
        if c is not None and part is None:
            raise InputError(
                "condition is an array and validation has samples of its own, whose conditions are not given; put both "
                "into their sets, such as TensorDataset(x, c), and give condition=1"
            )
        held_out, beside = _paired(validation, take, "validation", part, missing)
        check_names(names, names_of(validation), "validation")
        return _conditioned(_of("data", whole, held_out, {"kind": "given"}, names), c, beside)
    seeded = split if split is not None and split.get("kind") == "seeded" else {}
    fraction = 0.1 if validation is None else validation
    if not 0 < fraction < 1:
        raise InputError(f"validation is {shown(validation)}; expected a share between 0 and 1, or samples")
    parts = Split(int(seeded.get("seed", seed)), float(seeded.get("test_fraction", fraction)))
    train, test = parts.indices(len(whole), "data")
    if isinstance(whole, Samples):
        found = _of("data", whole.at(train), whole.at(test), parts.record(test))
    else:
        found = _of("data", whole[train.to(whole.device)], whole[test.to(whole.device)], parts.record(test), names)
    return found if c is None else _conditioned(found, c[train.to(c.device)], c[test.to(c.device)])


def _part(condition: Any) -> Take | None:
    """What takes conditions out of a batch; None where they are none of its parts."""
    number = isinstance(condition, int) and not isinstance(condition, bool)
    return condition if callable(condition) or isinstance(condition, str) or number else None


def _paired(
    data: Any, take: Take | None, name: str, part: Take | None, missing: bool = False
) -> tuple[Any, Tensor | None]:
    """The samples, and their conditions where these are a part of the same."""
    if part is None:
        return samples(data, take, name, missing=missing), None
    loader = data if isinstance(data, DataLoader) else None
    inner: Any = data if loader is None else loader.dataset
    plain = loader is None or loader.collate_fn is default_collate
    if isinstance(inner, TensorDataset) and plain:
        whole: Any = inner.tensors
    elif isinstance(inner, Mapping | tuple | list) and loader is None:
        whole = inner
    else:
        found = samples(data, take, name, part, missing)
        if not isinstance(found, Samples):
            raise InputError(
                f"{name} is one array, which has no part for the condition; give the conditions themselves"
            )
        return found, None
    x = _array(taken(whole, take), name, missing)
    return x, as_conditions(taken(whole, part, "condition"), len(x))


def _conditioned(dataset: Dataset, train: Tensor | None, test: Tensor | None) -> Dataset:
    if train is None or test is None:
        return dataset
    if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise InputError(
            f"the conditions of the training half are {train.dtype} {list(train.shape)} and those held out "
            f"{test.dtype} {list(test.shape)}; expected the same but for the number of samples"
        )
    return dataset.with_conditions(train.to(dataset.train.device), test.to(dataset.test.device))


def samples(data: Any, take: Take | None, name: str, condition: Take | None = None, missing: bool = False) -> Any:
    """A tensor of uint8 or float32, or :class:`Samples`.

    Raises:
        InputError: see :func:`as_dataset`.
    """
    loader = data if isinstance(data, DataLoader) else None
    if loader is not None:
        _check_loader(loader, name)
        data = loader.dataset
    counted = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if isinstance(data, IterableDataset) or (isinstance(data, Iterable | TorchDataset) and not counted):
        raise InputError(
            f"{name} is a stream ({type(data).__name__}), whose samples have no numbers, which exact resuming needs; "
            "give a map-style data set, or an array"
        )
    if isinstance(data, TensorDataset) and (loader is None or loader.collate_fn is default_collate):
        data = taken(data.tensors, take)
    elif loader is not None or (isinstance(data, TorchDataset) and not isinstance(data, Tensor)):
        collate, workers = (None, 0) if loader is None else (loader.collate_fn, loader.num_workers)
        found = Samples(data, collate, take, workers=workers, condition=condition, missing=missing)
        if condition is not None:
            found.pair(slice(1))  # what is no condition is told now
        return found
    elif isinstance(data, Mapping) or take is not None:
        data = taken(data, take)
    return _array(data, name, missing)


def peeked(dataset: Dataset, count: int = 500) -> Dataset:
    """The same, or of samples that are read one by one some, evenly spaced, in memory."""
    if not isinstance(dataset.train, Samples):
        return dataset
    train, test = (
        half[torch.arange(min(count, len(half))) * len(half) // min(count, len(half))]
        for half in (dataset.train, dataset.test)
    )
    return Dataset(dataset.name, train, test, dataset.split, dataset.digest)


def _check_loader(loader: DataLoader[Any], name: str) -> None:
    sampler = loader.sampler
    if loader.batch_size is None or not isinstance(sampler, RandomSampler | SequentialSampler):
        raise InputError(
            f"{name} is a DataLoader with an order of its own ({type(sampler).__name__}), but batches are drawn by "
            "seed and step; give its data set instead"
        )


def _array(data: Any, name: str, missing: bool = False) -> Tensor:
    """uint8 stays uint8, which takes a quarter of the memory; all else becomes float32."""
    if not isinstance(data, Tensor):
        data = as_array(data, name)
    if data.dtype in (np.uint8, torch.uint8) and data.ndim > 1 and len(data):
        if isinstance(data, np.ndarray):  # of which PyTorch takes no negative strides, and warns if it is read-only
            data = torch.from_numpy(np.ascontiguousarray(data if data.flags.writeable else data.copy()))
        pixels = data.detach().contiguous()
        if pixels.numel() and int(pixels.max()) == 1:
            raise InputError(
                f"{name} holds bytes of 0 and 1 alone, which as pixels are all but black; give masks or counts as "
                f"{name}.astype('float32')"
            )
        return pixels
    return as_samples(data, name=name, missing=missing).detach()


def _of(name: str, train: Any, test: Any, split: Mapping[str, Any], columns: tuple[str, ...] | None = None) -> Dataset:
    if isinstance(train, Samples) or isinstance(test, Samples):
        # what was missing has been looked at
        train, test = (half if isinstance(half, Samples) else as_samples(half, missing=True) for half in (train, test))
        digests = [_digest(half) for half in (train, test)]
        return Dataset(name, train, test, dict(split), hashlib.sha256("".join(digests).encode()).hexdigest())
    if train.dtype != test.dtype:
        train, test = as_samples(train, missing=True), as_samples(test, missing=True)
    return Dataset(name, train, test, dict(split or STANDARD), columns=columns)


def _digest(half: Tensor | Samples) -> str:
    """Of samples that are read one by one that of their number and of the first few: reading all may take hours."""
    return content_digest(torch.tensor([len(half)]), half.first) if isinstance(half, Samples) else content_digest(half)
