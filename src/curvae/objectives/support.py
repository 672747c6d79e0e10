"""Data that an observation model cannot have made, noticed where a batch meets its objective."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from curvae._typing import Tensor
from curvae.forward.looks import looks
from curvae.likelihoods import Likelihood

_known: ContextVar[Likelihood | None] = ContextVar("known", default=None)


def check_support(likelihood: Likelihood, x: Tensor) -> None:
    """Refuse data that an observation model cannot have made (:meth:`~curvae.likelihoods.Likelihood.check`).

    On a CPU every batch is looked at. Elsewhere the answer waits for the device, which a training step need not: there
    the first, second, fourth, … batch of each observation model is. ``curvature.unchecked()`` switches it off.

    Raises:
        InputError: some of the values are none of the model's.

    Example:
        >>> import torch
        >>> from curvae.likelihoods import Poisson
        >>> check_support(Poisson(), torch.tensor([[0.5]]))
        Traceback (most recent call last):
        curvae.errors.InputError: the data have 0.5, but Poisson() is for counts 0, 1, 2, …; ...
    """
    plain = type(likelihood).check is Likelihood.check
    if not plain and likelihood is not _known.get() and looks(likelihood, x):
        likelihood.check(x)


@contextmanager
def known_to_fit(likelihood: Likelihood | None) -> Iterator[None]:
    """Inside this context batches are not looked at for one observation model: the data they are of were, all at once.

    Example:
        >>> import torch
        >>> from curvae.likelihoods import Poisson
        >>> likelihood = Poisson()
        >>> with known_to_fit(likelihood):
        ...     check_support(likelihood, torch.tensor([[0.5]]))
    """
    token = _known.set(likelihood)
    try:
        yield
    finally:
        _known.reset(token)
