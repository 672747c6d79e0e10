"""Running a model over data in batches, as it is deployed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from curvae._checks import positive_int
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.data import as_samples
from curvae.errors import InputError
from curvae.posteriors import Normal


@torch.no_grad()
def codes(model: Model, data: Any, batch_size: int = 100) -> Float[Tensor, "N *L"]:
    """The posterior's mean of every sample, in eval mode.

    Args:
        model: on any device; the mode of each of its modules is given back as it was.
        data: arrays ``[N, *D]``, or an iterable of batches such as a ``DataLoader``; see :func:`batches`.
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
        raise InputError("the model gives codes that are not finite on these data")
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


def batches(model: Model, data: Any, batch_size: int) -> Iterator[Float[Tensor, "B *D"]]:
    """The data as the model takes them: in pieces, on its device and in its type.

    Args:
        model: on any device.
        data: ``[N, *D]``, whatever :func:`curvae.data.as_samples` takes; or an iterable of such batches, for instance a
            ``DataLoader``. Of a batch that is a tuple or a list the first entry is x.
        batch_size: of arrays; an iterable's batches stay as they are.

    Raises:
        InputError: no data, or what is no data.
    """
    like = next((parameter for root in _roots(model) for parameter in root.parameters()), None)
    dtype = torch.float64 if like is not None and like.dtype == torch.float64 else torch.float32
    done = 0
    for piece in _pieces(data, positive_int("batch_size", batch_size)):
        # what NaN is to the model is seen in its answers
        x = as_samples(piece, dtype=dtype, name="data", first=done, missing=True)
        done += len(x)
        yield x if like is None else x.to(like)
    if done == 0:
        raise InputError("there are no samples; expected at least one")


def has_posterior(model: object) -> bool:
    """Whether a model has a posterior of its own; one that is deterministic gives means alone.

    An :class:`~curvae.Autoencoder` without a structure is deterministic, and so is a model without ``posterior``.
    """
    return callable(getattr(model, "posterior", None)) and getattr(model, "structure", model) is not None


def _pieces(data: Any, size: int) -> Iterator[Any]:
    if isinstance(data, TorchDataset) and not isinstance(data, IterableDataset):
        raise InputError(f"data is a {type(data).__name__}, one sample at a time; expected a DataLoader over it")
    if isinstance(data, Iterable) and not isinstance(data, list | tuple | str | Mapping) and not _is_array(data):
        for batch in data:
            if isinstance(batch, Mapping):
                names = ", ".join(map(repr, batch))
                raise InputError(f"a batch is a dict with {names}; expected x: give (batch[…] for batch in data)")
            yield batch[0] if isinstance(batch, list | tuple) and len(batch) and _is_array(batch[0]) else batch
        return
    values = (
        data
        if isinstance(data, Tensor | np.ndarray)
        else as_samples(data, dtype=torch.float64, name="data", missing=True)
    )
    if values.ndim and not len(values):
        return
    for start in range(0, len(values) if values.ndim else 1, size):
        yield values[start : start + size] if values.ndim else values


def _is_array(data: object) -> bool:
    return isinstance(data, Tensor) or hasattr(data, "__array__")


def in_double(q: Normal) -> Normal:
    """The same distribution in float64."""
    return Normal(q.mean.double(), q.factor.to(torch.float64))
