"""Pages that the system has to hand out, counted; and what is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curvae.cpu.page_faults import avoid_page_faults

_FAULTS = """
import resource
from curvae.cpu.page_faults import avoid_page_faults

if {avoid}:
    assert avoid_page_faults()

import torch

torch.ones(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(16 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.slow
@pytest.mark.skipif(
    not _LARGE_PAGES.exists() or "[never]" in _LARGE_PAGES.read_text(), reason="the system has no large pages to give"
)
def test_large_arrays_come_in_large_pages() -> None:
    """64 MB, four times: 16384 small pages each, or 32 large ones."""

    def faults(avoid: bool) -> int:
        free = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
        command = [sys.executable, "-c", _FAULTS.format(avoid=avoid)]
        return int(subprocess.run(command, env=free, capture_output=True, check=True, text=True).stdout)

    assert faults(avoid=False) > 4 * 16000
    assert faults(avoid=True) < 4 * 4000


def test_what_the_user_has_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    avoid_page_faults()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"


def test_nothing_is_done_where_there_is_no_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    monkeypatch.delattr(os, "confstr")
    assert not avoid_page_faults()
