"""Samples in the order of their source, over the two halves of a data set."""

from __future__ import annotations

import torch

from curvae._typing import Tensor
from curvae.data.dataset import Dataset


def in_order(dataset: Dataset) -> Tensor:
    """All samples of a data set in the order of its source: rows of an array, files by sorted path.

    Of a source with parts of its own: the training samples, then the held-out ones. So it is too where damaged images
    were left out of a seeded split, which does not tell their places; :func:`curvae.data.load_whole` does.
    """
    return _joined(dataset, dataset.train[:], dataset.test[:])


def conditions_in_order(dataset: Dataset) -> Tensor | None:
    """The conditions of all samples, in the order of :func:`in_order`; None where there are none."""
    return None if dataset.conditions is None else _joined(dataset, *dataset.conditions)


def _joined(dataset: Dataset, train: Tensor, test: Tensor) -> Tensor:
    """What both halves have, in the order of the source."""
    if dataset.split.get("alone"):
        return train
    whole = torch.cat([train, test])
    if dataset.split.get("kind") != "seeded" or "damaged" in dataset.split:
        return whole
    place = torch.ones(len(whole), dtype=torch.bool)
    place[dataset.split["test_indices"]] = False
    whole[place], whole[~place] = train, test
    return whole
