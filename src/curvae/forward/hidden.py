"""What a decoder computes where no mode of curvae sees it: TorchScript, and normalisation outside Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from curvae.errors import InputError
from curvae.forward.normalisation import normalises_by_batch

OFF = "; curvature.unchecked() switches this check off"
"""How each refusal at a decoder's first use ends."""
MIXES = (
    "the decoder mixes the samples of a batch: latents of some move the outputs of others, and the penalty of each "
    f"sample would be wrong; give one that decodes each row by itself{OFF}"
)


class Probe(torch.Tensor):
    """Latents that notice when TorchScript takes them."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Refuse TorchScript; pass everything else on."""
        if isinstance(func, torch.jit.ScriptFunction | torch._C.ScriptMethod):
            raise InputError(
                "the decoder contains TorchScript (torch.jit), in which PyTorch loses derivatives of derivatives; "
                f"pass the module from before torch.jit.script or torch.jit.trace{OFF}"
            )
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]


class Hidden(TorchDispatchMode):
    """Inside :class:`FixedStatistics` no normalisation arrives here as one, unless it went round."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the compiler has nothing to skip here, and would be imported to do so, which takes seconds

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Refuse it; pass everything else on."""
        name = func._schema.name.removeprefix("aten::")
        if name == "native_layer_norm" or ("batch_norm" in name and normalises_by_batch(args, kwargs or {})):
            raise InputError(
                f"the decoder normalises by {name} outside Python, where its Jacobian at fixed statistics or "
                f"the gradient of it is wrong; use torch.nn or torch.nn.functional for it{OFF}"
            )
        return func(*args, **(kwargs or {}))
