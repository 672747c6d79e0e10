"""Data that an observation model cannot have made, noticed where a batch meets its objective."""

from __future__ import annotations

import weakref

import torch

from curvae._transforms import in_transform
from curvae._typing import Tensor
from curvae.forward.first_use import checked
from curvae.likelihoods import Likelihood

_CALLS: weakref.WeakKeyDictionary[Likelihood, int] = weakref.WeakKeyDictionary()
"""How often each observation model has met data on an accelerator."""


def check_support(likelihood: Likelihood, x: Tensor) -> None:
    """Refuse data that an observation model cannot have made (:meth:`~curvae.likelihoods.Likelihood.check`).

    On a CPU every batch is looked at. Elsewhere the answer waits for the device, which a training step need not: there
    the first, second, fourth, … batch of each observation model is. ``curvature.unchecked()`` switches it off.

    Raises:
        InputError: some of the values are none of the model's.

    Example:
        >>> from curvae.likelihoods import Poisson
        >>> check_support(Poisson(), torch.tensor([[0.5]]))
        Traceback (most recent call last):
        curvae.errors.InputError: the data have 0.5, but Poisson() is for counts 0, 1, 2, …; ...
    """
    if type(likelihood).check is Likelihood.check or not checked() or in_transform() or torch.compiler.is_compiling():
        return
    if x.device.type != "cpu":
        calls = _CALLS[likelihood] = _CALLS.get(likelihood, 0) + 1
        if calls & (calls - 1):
            return
    likelihood.check(x)
