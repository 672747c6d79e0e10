"""Running a model over data in batches, as it is deployed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from curvae._checks import a_kind, an_answer, positive_int
from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.conditioned import Conditioned
from curvae.data import as_samples
from curvae.data.convert import as_tensor
from curvae.errors import InputError
from curvae.posteriors import Normal


@torch.no_grad()
def codes(model: Model, data: Any, batch_size: int = 100) -> Float[Tensor, "N *L"]:
    """The posterior's mean of every sample, in eval mode.

    Args:
        model: on any device; the mode of each of its modules is given back as it was.
        data: arrays ``[N, *D]``, or an iterable of batches such as a ``DataLoader``; see :func:`batches`.
        batch_size: samples at a time.

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
        found = torch.cat([at.encode(x).double().cpu() for at, x in conditioned_batches(model, data, batch_size)])
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
    """The model, or the modules that it holds where it is none itself; and a conditional one inside a module."""
    held = getattr(model, "__dict__", {}).values()
    if isinstance(model, nn.Module):
        return [model, *(value.model for value in held if isinstance(value, Conditioned))]
    return [value for value in held if isinstance(value, nn.Module)]


def batches(model: Model, data: Any, batch_size: int) -> Iterator[Float[Tensor, "B *D"]]:
    """The x of :func:`conditioned_batches`."""
    for _, x in conditioned_batches(model, data, batch_size):
        yield x


def conditioned_batches(model: Model, data: Any, batch_size: int) -> Iterator[tuple[Model, Float[Tensor, "B *D"]]]:
    """The data as the model takes them, in pieces, on its device and in its type; and the model for each piece.

    That is the model itself, or of a conditional one the model at the piece's conditions: of ``model.given(c)`` the
    rows of c that belong to the piece, and of a model without given conditions what its batches hold beside x.

    The data are ``[N, *D]``, whatever :func:`curvae.data.as_samples` takes; or an iterable of such batches, such as a
    ``DataLoader``, which stay as they are. Of a batch that is a tuple or a list the first entry is x, the second the
    condition of a conditional model.

    Raises:
        InputError: no data, or what is no data; no condition for a conditional model, or as many as there are not data.
    """
    like = next((parameter for root in _roots(model) for parameter in root.parameters()), None)
    dtype = torch.float64 if like is not None and like.dtype == torch.float64 else torch.float32
    given, done = _given(model), 0
    for piece, beside in _pieces(data, positive_int("batch_size", batch_size)):
        # what NaN is to the model is seen in its answers
        x = as_samples(piece, dtype=dtype, name="data", first=done, missing=True)
        at = model
        if given is not None:
            rows = given.rows(slice(done, done + len(x)))
            at = _around(model, rows if like is None else replace(rows, c=rows.c.to(like.device)))
        elif _is_conditional(model):
            at = _with_beside(model, beside, like)
        done += len(x)
        yield at, x if like is None else x.to(like)
    if done == 0:
        raise InputError("there are no samples; expected at least one")
    if given is not None and done != len(given.c):
        raise InputError(f"the model is given {len(given.c)} conditions for {done} samples; expected one for each")


def repeated(model: Model, count: int) -> Model:
    """A model for ``count`` draws of a batch, one after the other in one call of ``decode``."""
    given = _given(model)
    return model if given is None else _around(model, given.repeated(count))


def _given(model: Any) -> Conditioned | None:
    """The conditions that a model is given, itself or the one that it is about."""
    return next((one for one in (model, getattr(model, "model", None)) if isinstance(one, Conditioned)), None)


def _around(model: Any, given: Conditioned) -> Any:
    return given if isinstance(model, Conditioned) else model.around(given)


def _is_conditional(model: Any) -> bool:
    held = (model, getattr(model, "model", None))
    return any(isinstance(one, Autoencoder) and one.condition is not None for one in held)


def _with_beside(model: Any, beside: Any, like: Tensor | None) -> Any:
    if beside is None:
        raise InputError(
            "this model is conditional and the data hold no conditions; give model.given(c) in its place, or batches "
            "(x, c)"
        )
    c = as_tensor(beside, "the condition")
    if like is not None:
        c = c.to(like if c.is_floating_point() else like.device)
    return model.given(c)


def has_posterior(model: object) -> bool:
    """Whether a model has a posterior of its own; one that is deterministic gives means alone.

    An :class:`~curvae.Autoencoder` without a structure is deterministic, and so is a model without ``posterior``.
    """
    return callable(getattr(model, "posterior", None)) and getattr(model, "structure", model) is not None


def _pieces(data: Any, size: int) -> Iterator[tuple[Any, Any]]:
    """Of each piece x and what stands beside it."""
    if isinstance(data, TorchDataset) and not isinstance(data, IterableDataset):
        raise InputError(f"data is {a_kind(data)}, one sample at a time; expected a DataLoader over it")
    if isinstance(data, Iterable) and not isinstance(data, list | tuple | str | Mapping) and not _is_array(data):
        for batch in data:
            if isinstance(batch, Mapping):
                raise InputError(f"a batch is {an_answer(batch)}; expected x: give (batch[…] for batch in data)")
            several = isinstance(batch, list | tuple) and len(batch) and _is_array(batch[0])
            yield (batch[0], batch[1] if len(batch) > 1 else None) if several else (batch, None)
        return
    values = (
        data
        if isinstance(data, Tensor | np.ndarray)
        else as_samples(data, dtype=torch.float64, name="data", missing=True)
    )
    if values.ndim and not len(values):
        return
    for start in range(0, len(values) if values.ndim else 1, size):
        yield values[start : start + size] if values.ndim else values, None


def _is_array(data: object) -> bool:
    return isinstance(data, Tensor) or hasattr(data, "__array__")


def in_double(q: Normal) -> Normal:
    """The same distribution in float64."""
    return Normal(q.mean.double(), q.factor.to(torch.float64))
