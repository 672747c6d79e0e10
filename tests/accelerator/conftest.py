"""The second device, and what the library asks about CUDA graphs, answered by it."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from device import NAME, Accelerator


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Accelerator]:
    import curvae.forward  # the modules that ask

    assert isinstance(curvae.forward, ModuleType)
    with Accelerator() as found:
        for name, module in list(sys.modules.items()):
            if name.startswith("curvae.") and hasattr(module, "recording"):
                monkeypatch.setattr(module, "recording", lambda device: device.type == NAME and found.recording)
        yield found
