"""The same noise in several passes of one decoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Noise:
    """The state of PyTorch's global generators: passes inside :meth:`again` draw what was drawn after this was made.

    Dropout in train mode then has one mask in all of them: it is one decoder whose derivatives are taken.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        self._own: Any = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same, and leave the generators as they are."""
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
        torch.set_rng_state(self._cpu)
        if self._own is not None:
            torch.get_device_module(self._device).set_rng_state(self._own, self._device)
