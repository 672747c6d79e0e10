"""Samples in the order of their source, over the two halves of a data set."""

from __future__ import annotations

import torch

from curvae._typing import Tensor
from curvae.data.dataset import Dataset


def in_order(dataset: Dataset) -> Tensor:
    """All samples of a data set in the order of its source: rows of an array, files by sorted path.

    Of a source with parts of its own: the training samples, then the held-out ones.
    """
    return joined(dataset, dataset.train[:], dataset.test[:])


def conditions_in_order(dataset: Dataset) -> Tensor | None:
    """The conditions of all samples, in the order of :func:`in_order`; None where there are none."""
    return None if dataset.conditions is None else joined(dataset, *dataset.conditions)


def joined(dataset: Dataset, train: Tensor, test: Tensor) -> Tensor:
    """What both halves have, in the order of the source.

    Example:
        >>> data = Dataset("toy", torch.zeros(2, 1), torch.zeros(1, 1), {"kind": "seeded", "test_indices": [1]})
        >>> joined(data, torch.tensor([7, 9]), torch.tensor([8]))
        tensor([7, 8, 9])
    """
    if dataset.split.get("alone"):
        return train
    whole = torch.cat([train, test])
    if dataset.split.get("kind") != "seeded":
        return whole
    gone = dataset.split.get("damaged", {}).get("indices", [])
    place = torch.ones(len(whole) + len(gone), dtype=torch.bool)
    place[dataset.split["test_indices"]] = False
    left = torch.ones_like(place)
    left[gone] = False
    place = place[left]
    whole[place], whole[~place] = train, test
    return whole
