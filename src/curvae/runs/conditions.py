"""Conditions that a person gives to a trained model, as its networks take them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from curvae._precision import at_least_float32
from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.conditioned import Conditioned
from curvae.data import Batch, Coding, Dataset
from curvae.data.samples import as_conditions
from curvae.errors import InputError
from curvae.metrics.codes import deployed
from curvae.runs.own_run import check_outputs
from curvae.runs.ways import lines


def conditions_of(
    model: Autoencoder, coding: Coding | None, condition: Any, count: int | None, shape: tuple[int, ...]
) -> Tensor | None:
    """The conditions of so many samples, on the model's device; None for a model that takes none.

    There is one for each sample, or one for all; without ``count`` there are as many samples as conditions. Where the
    run has no coding they are numbers that were handed over, of which the networks alone know how many they take for
    samples of a ``shape``; a floating-point tensor of two axes is coded already.

    Raises:
        InputError: none for a conditional model, one for another, or one that is no condition.

    Example:
        >>> from torch import nn
        >>> from curvae.nn import Beside
        >>> model = Autoencoder(nn.Linear(5, 2), Beside(nn.Linear(3, 5)), latents=2, condition="decoder")
        >>> conditions_of(model, coding=None, condition=[[0.5], [1.0]], count=2, shape=(5,))
        tensor([[0.5000],
                [1.0000]])
    """
    if model.condition is None:
        if condition is not None:
            raise InputError("a condition is given but the model takes none; leave it out")
        return None
    if condition is None:
        known = f" ({coding.told()})" if coding is not None else ""
        raise InputError(f"the model is conditional; give the condition{known} of each sample, or one for all")
    ready = isinstance(condition, Tensor) and condition.dim() > 1 and condition.is_floating_point()
    if coding is None or ready:
        if isinstance(condition, Tensor):
            each = torch.atleast_1d(condition)
        else:
            each = condition if np.ndim(condition) else [condition]
        c = as_conditions(each, len(each))
    else:
        c = coding.of_values(condition)
    if coding is not None and c.shape[1:] != (coding.size,):
        raise InputError(f"the condition has shape {tuple(c.shape)}; expected {coding.size} numbers a sample")
    if count is not None and len(c) == 1:
        c = c.expand(count, *c.shape[1:])
    if count is not None and len(c) != count:
        raise InputError(f"there are {len(c)} conditions for {count} samples; expected one for each, or one for all")
    c = _placed(c, model)
    if coding is None:
        like = at_least_float32(next(model.parameters(), torch.empty(0)))
        try:
            with deployed(model):  # one row has no statistics, and must not become part of any
                check_outputs(model.given(c[:1]), like.new_zeros(1, *shape), alike=False)
        except InputError as error:
            raise InputError(f"the networks take no condition of shape {tuple(c.shape[1:])}: {error}") from error
    return c


def _placed(c: Tensor, model: Autoencoder) -> Tensor:
    like = next(model.parameters(), torch.empty(0))
    return c.to(at_least_float32(like)) if c.is_floating_point() else c.to(like.device)


def at_conditions(
    model: Autoencoder, dataset: Dataset, limit: int | None = None, test: bool = True
) -> tuple[Model, Tensor]:
    """A model and the first samples of one half as metrics take them: of a conditional one at their conditions."""
    found = dataset.half(test)[slice(limit)]
    return (model.given(_placed(found.c, model)), found.x) if isinstance(found, Batch) else (model, found)


def check_ends(c: Tensor | None, other: Tensor | None, geodesic: bool) -> None:
    """Refuse ways between conditions that there is nothing between.

    Raises:
        InputError: they are other ones, and whole numbers or the ends of geodesics.
    """
    if c is None or other is None or torch.equal(c, other):
        return
    if geodesic:
        raise InputError("the ends of a geodesic have different conditions; expected one condition for both")
    if not c.is_floating_point():
        raise InputError("the ends have different conditions, whole numbers with nothing between; give one for both")


def between(at: Model, to: Model, steps: int) -> Model:
    """A model at the conditions along straight ways from those of one to those of another, a way after the other."""
    if not (isinstance(at, Conditioned) and isinstance(to, Conditioned)):
        return at
    return at.each(steps) if torch.equal(at.c, to.c) else replace(at, c=lines(at.c, to.c, steps).flatten(0, 1))
