"""Samples that a person gives to a trained model: any kind of array, taken a batch at a time and answered in kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from curvae._checks import positive_int
from curvae._typing import Float, Tensor
from curvae.data import as_images, as_samples
from curvae.data.columns import check_names, names_of
from curvae.data.convert import as_array
from curvae.data.pixels import WHITE
from curvae.errors import InputError
from curvae.forward.first_use import checked


class Given:
    """What was given, checked as a whole and converted in batches: a large array is never there twice.

    Images may lack their channel or have it last, as in files that ``curvae train`` reads; answers then do, too.

    Args:
        x: ``[N, *D]``, anything that :func:`curvae.data.as_samples` takes.
        shape: of one sample, as the model takes it.
        white: what means 1 in the data of the model's training, if they were bytes; 1 where they were masks.
        name: of ``x``, for errors.
        missing: whether NaN may stand for what was not observed.
        check: refuses values that the model's observation model cannot have made; pixels have a scale to be on.
        columns: names of those of the model's training, by which those of a data frame have to be called.

    Raises:
        InputError: no samples of this shape, other columns, or bytes of 0 and 1 for a model that has not seen bytes;
            (on the way) values that cannot be used.
    """

    def __init__(
        self,
        x: Any,
        shape: tuple[int, ...],
        white: int | None = None,
        name: str = "x",
        missing: bool = False,
        check: Callable[[Tensor], object] | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        check_names(columns, names_of(x), name)
        self.is_tensor = isinstance(x, Tensor)
        if not isinstance(x, Tensor):
            x = as_array(x, name)
        self.x, self.white, self.name, self.missing, self.check = x, white, name, missing, check
        self.bytes = x.dtype in (np.uint8, torch.uint8)
        self.given = tuple(x.shape[1:])
        self.device = x.device if self.is_tensor else torch.device("cpu")
        turned = {shape: "", shape[1:]: "no channel" if shape[0] == 1 and len(shape) == 3 else None}
        if len(shape) == 3 and shape[0] in (1, 3):
            turned.setdefault((*shape[1:], shape[0]), "channel last")
        kind = turned.get(self.given) if x.ndim else None
        if kind is None:
            hint = f": {name}[None] for a single sample" if tuple(x.shape) == shape else ""
            wanted = ", ".join(map(str, ("N", *shape)))
            raise InputError(f"{name} has shape {tuple(x.shape)}; the model takes [{wanted}]{hint}")
        if not len(x):
            raise InputError(f"{name} holds no samples; expected at least one")
        if white is None and self.bytes and int(x.max()) == 1:
            raise InputError(
                f"{name} holds bytes of 0 and 1 alone, which as pixels are all but black; give {name}.astype('float32')"
            )
        self.kind = kind

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, size: int, like: Tensor) -> Iterator[Float[Tensor, "B *D"]]:
        """The samples as the model takes them, ``size`` at a time, on the device and in the precision of ``like``."""
        for start in range(0, len(self.x), positive_int("batch_size", size)):
            part = self.x[start : start + size]
            dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
            values = as_samples(part, dtype=dtype, name=self.name, first=start, missing=self.missing)
            if self.white is not None:
                values = self._on_the_scale_of_pixels(values)
            elif self.check is not None and checked():
                self._look(self.check, values)
            yield self._taken(values).to(like.device)

    def _look(self, check: Callable[[Tensor], object], values: Float[Tensor, "B *D"]) -> None:
        try:
            check(values)
        except InputError as error:
            pixels = f" ({self.name} holds bytes, which are pixels and divided by {WHITE})" if self.bytes else ""
            raise InputError(f"{self.name}: {error}{pixels}") from None

    def _on_the_scale_of_pixels(self, values: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        if not self.bytes:
            return as_images(values)
        # of masks no batch is ambiguous: in bytes of 0 and 255, one without a 255 is black
        bits = self.white == 1 and float(values.max()) < 1.5 / WHITE
        return values * WHITE if bits else values

    def _taken(self, values: Float[Tensor, "B *D"]) -> Float[Tensor, "B *E"]:
        if self.kind == "no channel":
            return values.unsqueeze(-3)
        return values.movedim(-1, -3).contiguous() if self.kind == "channel last" else values

    def answer(self, values: Shaped[Tensor, "..."], of_data: bool = False) -> Any:
        """A result as the kind of array that was given; ``of_data``: its last axes, a sample's, become as they were."""
        if of_data and self.kind == "no channel":
            values = values.squeeze(-3)
        elif of_data and self.kind == "channel last":
            values = values.movedim(-3, -1)
        return values.to(self.device) if self.is_tensor else values.cpu().numpy()


def collected(parts: Iterable[tuple[Tensor, ...]], count: int) -> list[Tensor]:
    """Batches one after the other, on the CPU: written to their places as they come, so that none is there twice."""
    whole: list[Tensor] = []
    done = 0
    for part in parts:
        if not whole:
            whole = [torch.empty(count, *one.shape[1:], dtype=one.dtype) for one in part]
        for place, one in zip(whole, part, strict=True):
            if not bool(one.isfinite().all()):
                raise InputError("the model gives values that are not finite here")
            place[done : done + len(one)] = one
        done += len(part[0])
    return whole
