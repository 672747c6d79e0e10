"""The same noise in several passes of one decoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from curvae._transforms import recording
from curvae.errors import DerivativeError


class Noise:
    """The state of PyTorch's global generators: passes inside :meth:`again` draw what was drawn after this was made.

    Dropout in train mode then has one mask in all of them: it is one decoder whose derivatives are taken.

    A CUDA graph that is being recorded has no such state: there nothing is rewound, and nothing may draw again.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._recording = device, recording(device)
        self._cpu = torch.get_rng_state()
        away = device.type != "cpu" and not self._recording
        self._own: Any = torch.get_device_module(device).get_rng_state(device) if away else None

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same, and leave the generators as they are.

        Raises:
            DerivativeError: a draw while a CUDA graph is being recorded.
        """
        if self._recording:
            with _NoDraws():  # type: ignore[no-untyped-call]
                yield
            return
        devices = [] if self._own is None else [self._device]
        with torch.random.fork_rng(devices, device_type="cuda" if self._own is None else self._device.type):
            self.rewind()
            yield

    def drawn(self) -> bool:
        """Whether the generators are in another state now."""
        now = Noise(self._device)
        same = torch.equal(self._cpu, now._cpu) and (self._own is None or torch.equal(self._own, now._own))
        return not same

    def rewind(self) -> None:
        """Go back there, after a pass that came to nothing."""
        if self._recording:
            return
        torch.set_rng_state(self._cpu)
        if self._own is not None:
            torch.get_device_module(self._device).set_rng_state(self._own, self._device)


class _NoDraws(TorchDispatchMode):
    """Refuses what draws from a generator."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _draws(func, args, kwargs):
            raise DerivativeError(
                "the decoder draws random numbers, which several passes inside a CUDA graph cannot share: put its "
                "dropout into eval mode, or choose an estimator of one pass, such as Columns(1)"
            )
        return func(*args, **kwargs)


def _draws(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether an operation draws; attention, recurrent layers and some others do so in training with dropout alone."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    # what is at its default is not handed on
    given = {argument.name: argument.default_value for argument in func._schema.arguments}
    given |= dict(zip(given, args, strict=False)) | kwargs
    return not any(given.get(name) in (False, 0.0) for name in ("train", "training", "dropout", "dropout_p"))
