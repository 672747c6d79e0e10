"""What the scores of :mod:`curvae.metrics.disentanglement` have in common: they see codes and factors in pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import nn

from curvae._extras import require
from curvae._typing import Float, Tensor
from curvae.data.convert import as_tensor
from curvae.errors import InputError

require("disentanglement is measured by", "torchmetrics")

from torchmetrics import Metric  # noqa: E402
from torchmetrics.utilities import dim_zero_cat  # noqa: E402
from torchmetrics.utilities.distributed import gather_all_tensors  # noqa: E402


class OfPairs(Metric):
    """Keeps the codes and factors of all samples until the end."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    codes: list[Tensor]
    factors: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("codes", [], dist_reduce_fx="cat")
        self.add_state("factors", [], dist_reduce_fx="cat")

    def update(self, codes: Any, factors: Any) -> None:
        """Take a batch.

        Args:
            codes: ``[B, d]`` floating point, d ≥ 2; arrays, lists and frames, too.
            factors: ``[B, F]`` whole numbers, a factor's values in their order.

        Raises:
            InputError: other shapes or types, than in the batches before too, or codes beyond float32.
        """
        codes, factors = as_tensor(codes, "codes"), as_tensor(factors, "factors")
        two = codes.ndim == factors.ndim == 2
        if not two or len(codes) != len(factors) or codes.shape[1] < 2 or factors.shape[1] < 1:
            raise InputError(
                f"codes have shape {tuple(codes.shape)} and factors {tuple(factors.shape)}; expected [B, d] with d >= "
                "2, and [B, F] with F >= 1"
            )
        if factors.is_floating_point() or not codes.is_floating_point():
            raise InputError(f"codes are {codes.dtype}, factors {factors.dtype}; expected floats and whole numbers")
        if not bool(codes.float().isfinite().all()):
            raise InputError("codes are not finite, or beyond float32; look at the data or the model that gave them")
        for name, new, old in (("codes", codes, self.codes), ("factors", factors, self.factors)):
            if old and new.shape[1] != old[0].shape[1]:
                raise InputError(f"{name} have {new.shape[1]} columns after a batch of {old[0].shape[1]}")
        # copies: the caller may fill the same tensors with the next batch
        self.codes.append(codes.detach().to(torch.float64, copy=True))
        self.factors.append(factors.to(torch.int64, copy=True))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        # to another device, but to no other type: a score is of the codes, and of whole numbers
        def moved(state: Tensor) -> Tensor:
            found = fn(state)
            return found if found.dtype == state.dtype else state.to(found.device)

        return super()._apply(moved, exclude_state)

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None) -> None:
        own = dist_sync_fn is gather_all_tensors  # which does not know of a process without a batch
        super()._sync_dist(gathered if own else dist_sync_fn, process_group)

    def _arrays(self) -> tuple[Float[np.ndarray, "N d"], Any]:
        if not any(len(part) for part in self.codes):
            raise InputError("there are no samples yet; expected update(codes, factors) before compute()")
        codes, factors = (dim_zero_cat(state).cpu().numpy() for state in (self.codes, self.factors))
        constant = [k for k in range(factors.shape[1]) if (factors[:, k] == factors[0, k]).all()]
        if constant:
            raise InputError(f"factor {constant[0]} has one value in all {len(factors)} samples; expected at least two")
        return codes, factors - factors.min(0)  # float64 does not tell large whole numbers apart


def gathered(state: Shaped[Tensor, "*S"], group: Any = None) -> list[Tensor]:
    """The samples of all processes; those that have seen none do not know of what shape and type they would be."""
    found: list[Any] = [None] * dist.get_world_size(group)
    with torch.cuda.device_of(state):  # NCCL takes the current device; nothing on a CPU
        dist.all_gather_object(found, state.cpu(), group)
    return [each.to(state.device) for each in found if each.numel()] or [state]
