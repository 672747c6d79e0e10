"""Running a model over data in batches, as it is deployed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from curvae._checks import positive_int
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.data import as_float
from curvae.errors import InputError
from curvae.posteriors import BlockFactor, Normal


@torch.no_grad()
def codes(model: Model, data: Tensor | np.ndarray, batch_size: int = 100) -> Float[Tensor, "N d"]:
    """The posterior's mean of every sample, in eval mode.

    Args:
        model: on any device; the mode of each of its modules is given back as it was.
        data: ``[N, *D]``, uint8 pixels or floating point.
        batch_size: data at a time.

    Returns:
        Float64 on the CPU.

    Raises:
        InputError: no data, or codes that are not finite.

    Example:
        >>> from curvae import Autoencoder
        >>> model = Autoencoder(nn.Linear(3, 2), nn.Linear(2, 3), latents=2)
        >>> codes(model, torch.rand(9, 3)).shape
        torch.Size([9, 2])
    """
    with deployed(model):
        found = torch.cat([model.encode(x).double().cpu() for x in batches(model, data, batch_size)])
    if not bool(found.isfinite().all()):
        raise InputError("the model gives codes that are no finite numbers on these data")
    return found


@contextmanager
def deployed(model: object) -> Iterator[None]:
    """Put a model's modules into eval mode, and each of them back into its own: some may be frozen."""
    modules = [module for root in _roots(model) for module in root.modules()]
    before = [module.training for module in modules]
    for root in _roots(model):
        root.eval()
    try:
        yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training


def _roots(model: object) -> list[nn.Module]:
    """The model, or the modules that it holds where it is none itself."""
    if isinstance(model, nn.Module):
        return [model]
    return [value for value in getattr(model, "__dict__", {}).values() if isinstance(value, nn.Module)]


def batches(model: Model, data: Tensor | np.ndarray, batch_size: int) -> Iterator[Float[Tensor, "B *D"]]:
    """The data as the model takes them: in pieces, on its device and in its type."""
    if len(data) == 0:
        raise InputError("there are no data; expected at least one")
    like = next((parameter for root in _roots(model) for parameter in root.parameters()), None)
    size = positive_int("batch_size", batch_size)
    for start in range(0, len(data), size):
        x = as_float(data[start : start + size])
        yield x if like is None else x.to(like)


def in_double(q: Normal) -> Normal:
    """The same distribution in float64 (a dense factor serves every structure)."""
    dense = q.factor.dense().double()
    return Normal(q.mean.double(), BlockFactor(dense.unsqueeze(1), dense.shape[-1]))
