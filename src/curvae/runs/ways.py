"""Codes that are not a sample's own: on straight lines and geodesics, and with one latent moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from curvae._checks import is_finite, shown
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.conditioned import for_codes
from curvae.errors import InputError
from curvae.geometry import energy, geodesic

# of the search for a geodesic
_ITERATIONS = 60


def lines(start: Float[Tensor, "B *L"], end: Float[Tensor, "B *L"], steps: int) -> Float[Tensor, "B T *L"]:
    """Points on straight lines, both ends included exactly."""
    share = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    line = torch.lerp(start.unsqueeze(1), end.unsqueeze(1), share.reshape(-1, *[1] * (start.dim() - 1)))
    line[:, -1] = end  # lerp may round
    return line


def geodesics(
    mean: Callable[[Model, Tensor], Tensor],
    at: Model,
    start: Float[Tensor, "B *L"],
    end: Float[Tensor, "B *L"],
    steps: int,
) -> Float[Tensor, "B T *L"]:
    """T points on the shortest ways as the decoder sees them (§5.2), both ends included.

    ``mean`` gives the expected observations from a model, of a conditional one at a condition for each way, and codes.
    """
    axes = start.shape[1:]

    def decode(z: Float[Tensor, "N d"]) -> Float[Tensor, "N *D"]:
        # the points of a curve, one curve after the other
        return mean(for_codes(at, len(z)), z.unflatten(1, axes))

    found = geodesic(partial(energy, decode), start.flatten(1), end.flatten(1), steps, _ITERATIONS)
    return found.curve.unflatten(-1, axes)


def moved(z: Float[Tensor, "B *L"], latents: list[int], values: Float[Tensor, " V"]) -> Float[Tensor, "B M V *L"]:
    """The codes with each of the latents at each of the values, the others as they were."""
    flat = z.flatten(1)[:, None, None].repeat(1, len(latents), len(values), 1)
    for row, latent in enumerate(latents):
        flat[:, row, :, latent] = values
    return flat.unflatten(-1, z.shape[1:])


def chosen_latents(latents: Sequence[int] | None, count: int) -> list[int]:
    """Latents as a person chooses them; all where nobody did.

    Raises:
        InputError: none, or one that does not exist.
    """
    chosen = list(range(count)) if latents is None else list(latents)
    for one in chosen:
        if isinstance(one, bool) or not isinstance(one, int | np.integer) or not 0 <= one < count:
            raise InputError(f"latents has {shown(one)}; expected whole numbers from 0 to {count - 1}")
    if not chosen:
        raise InputError(f"latents is empty; expected some of 0 to {count - 1}")
    return chosen


def finite_values(values: Sequence[float | int], dtype: torch.dtype = torch.float32) -> list[float]:
    """Values that a latent of this type is to take.

    Raises:
        InputError: none, or one that is not finite there.
    """
    for value in values:
        if not is_finite(value) or abs(value) > torch.finfo(dtype).max:
            raise InputError(
                f"values has {shown(value)}; expected finite numbers of {str(dtype).removeprefix('torch.')}"
            )
    if not len(values):
        raise InputError("values is empty; expected at least one number")
    return [float(value) for value in values]
