"""Memory that is freed stays: counted in pages that the system has to hand out again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource
import torch
from curvae.memory import keep_freed_memory

if {keep}:
    assert keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(16 * 2**20).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to")
def test_large_arrays_find_their_pages_again() -> None:
    """64 MB five times over: by the page without the setting, next to nothing with it."""

    def faults(keep: bool) -> int:
        program = _FAULTS.format(keep=keep)
        return int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout)

    assert faults(keep=True) < faults(keep=False) / 10
