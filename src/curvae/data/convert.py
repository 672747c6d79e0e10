"""The one rule for what a model is fed: floating-point samples, whatever kind of array they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from curvae._checks import some
from curvae._typing import Float, Tensor
from curvae.data.pixels import as_float, of_array
from curvae.errors import InputError

_EXPECTED = "expected real numbers in a NumPy array, a tensor, nested lists or a data frame"
_TYPES = {torch.float32: np.float32, torch.float64: np.float64}


def as_samples(
    x: Any, *, dtype: torch.dtype = torch.float32, name: str = "x", first: int = 0, missing: bool = False
) -> Float[Tensor, "N *D"]:
    """The samples that a model sees, of anything that holds numbers.

    uint8 means pixels and is divided by 255, as in :func:`as_float`. Booleans become 0 and 1; all other numbers keep
    their values, rounded to ``dtype``.

    Args:
        x: ``[N, *D]``, a NumPy array, a tensor on any device, nested lists, a list of tensors, or what has NumPy's
            ``__array__``, such as a data frame of pandas.
        dtype: of the result: ``torch.float32``, or ``torch.float64`` for a model in double precision.
        name: what to call ``x`` in an error.
        first: number of the first of these samples, for the error, where they are a part of a set.
        missing: whether NaN may stand for what was not observed, as in :class:`curvae.likelihoods.Masked`.

    Returns:
        The same shape, on the device of a tensor and else on the CPU. A tensor of that type comes back as it is;
        arrays are copied.

    Raises:
        InputError: no numbers (objects, text, dates), complex, sparse or masked ones, NaN, infinity or values beyond
            ``dtype``, no samples, or fewer than two axes.

    Example:
        >>> as_samples([[0, 1], [2, 300]])
        tensor([[  0.,   1.],
                [  2., 300.]])
        >>> as_samples(np.array([[0, 51, 255]], dtype=np.uint8))
        tensor([[0.0000, 0.2000, 1.0000]])
        >>> as_samples(np.array([[1.0, np.nan]]))
        Traceback (most recent call last):
        curvae.errors.InputError: x: sample 0 holds NaN, infinity or a value beyond float32; expected finite numbers
    """
    if dtype not in _TYPES:
        raise InputError(f"dtype is {dtype}; expected torch.float32 or torch.float64")
    values = _checked_tensor(x, name) if isinstance(x, Tensor) else _from_array(x, dtype, name)
    if values.ndim < 2:
        one = f": {name}[:, None] for samples of one number, {name}[None] for one sample" if values.ndim else ""
        raise InputError(f"{name} has shape {tuple(values.shape)}; expected [N, ...] with at least two axes{one}")
    if values.numel() == 0:
        raise InputError(f"{name} has shape {tuple(values.shape)} and holds nothing; expected at least one sample")
    values = (as_float(values) if values.dtype == torch.uint8 else values).to(dtype)
    _check_finite(values, name, first, missing)
    return values


def _checked_tensor(x: Tensor, name: str) -> Shaped[Tensor, "..."]:
    if x.layout != torch.strided:
        raise InputError(f"{name} is a sparse tensor; expected a dense one: {name}.to_dense()")
    if x.is_complex() or x.is_quantized:
        raise InputError(f"{name} is {x.dtype}; {_EXPECTED}")
    return x


def _from_array(x: Any, dtype: torch.dtype, name: str) -> Shaped[Tensor, "..."]:
    """A copy, in this machine's byte order and of a type that PyTorch has: bytes stay bytes."""
    array = as_array(x, name)
    wanted = np.uint8 if array.dtype == np.uint8 else _TYPES[dtype]
    with np.errstate(over="ignore"):  # what becomes infinite is refused with the rest
        return torch.from_numpy(np.array(array, dtype=wanted, order="C", subok=False))


def as_array(x: Any, name: str = "x") -> Shaped[np.ndarray, "..."]:
    """An array of what :func:`as_samples` reads, in its own type: bytes stay bytes.

    Raises:
        InputError: sparse or masked samples, or what is no array of real numbers.

    Example:
        >>> as_array([torch.zeros(2, dtype=torch.uint8)]).dtype
        dtype('uint8')
    """
    if isinstance(x, list | tuple) and x and all(isinstance(part, Tensor) for part in x):
        x = [_checked_tensor(part, name).detach().cpu().numpy() for part in x]
    if np.ma.is_masked(x):
        raise InputError(f"{name} has masked values; expected numbers everywhere: {name}.filled(…) or leave them out")
    if hasattr(x, "toarray"):
        raise InputError(f"{name} is a sparse matrix; expected a dense array: {name}.toarray()")
    if not isinstance(x, list | tuple) and not hasattr(x, "__array__"):
        raise InputError(f"{name} is of type {type(x).__name__}; {_EXPECTED}")
    try:
        array = plain(x)
    except (ValueError, TypeError) as error:  # rows of different lengths
        parts = x if isinstance(x, list | tuple) else ()
        shapes = list(dict.fromkeys(str(tuple(part.shape)) for part in parts if hasattr(part, "shape")))
        if len(shapes) > 1:
            raise InputError(
                f"{name} holds arrays of different shapes, {some(shapes, 4)}; expected one array: {name}[0] if the "
                "others go with its samples, or all of them joined if they are batches"
            ) from error
        raise InputError(f"{name} cannot be made one array ({' '.join(str(error).split())}); {_EXPECTED}") from error
    if array.dtype.kind not in "biuf":
        what = "complex numbers" if array.dtype.kind == "c" else f"{array.dtype} values"
        hint = "; choose the columns that are numbers" if array.dtype.kind == "O" and hasattr(x, "columns") else ""
        raise InputError(f"{name} holds {what}; {_EXPECTED}{hint}")
    return array


def as_tensor(x: Any, name: str) -> Shaped[Tensor, "..."]:
    """A tensor as it is, and what :func:`as_array` reads as a tensor of its own type."""
    return x if isinstance(x, Tensor) else of_array(as_array(x, name))


def plain(x: Any) -> Shaped[np.ndarray, "..."]:
    """``numpy.asarray``, but of a data frame whose columns are numbers of several types these numbers, not objects."""
    array = np.asarray(x)
    if array.dtype.kind != "O" or not (hasattr(x, "columns") and hasattr(x, "dtypes")):
        return array
    numbers = all(getattr(kind, "kind", "") in tuple("biuf") for kind in x.dtypes)
    return x.to_numpy(dtype=np.float64, na_value=np.nan) if numbers else array


def _check_finite(values: Float[Tensor, "N *D"], name: str, first: int, missing: bool) -> None:
    # a minimum and a maximum take no memory and pass NaN on
    if all(bool(end.isfinite()) for end in torch.aminmax(values.detach())):
        return
    good = values.isfinite() | values.isnan() if missing else values.isfinite()
    rows = good.flatten(1).all(1)
    if bool(rows.all()):
        return
    bad = first + int(rows.int().argmin())
    kind = str(values.dtype).removeprefix("torch.")
    what = "infinity" if missing else "NaN, infinity"
    raise InputError(f"{name}: sample {bad} holds {what} or a value beyond {kind}; expected finite numbers")
