"""Memory of this process in large pages, and kept once it has it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

# of malloc.h; 32 MB is the most that it takes for the second
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_THRESHOLDS = {_M_TRIM_THRESHOLD: 2**30, _M_MMAP_THRESHOLD: 2**25}


def avoid_page_faults() -> bool:
    """Let this process keep up to 1 GB that it frees, and take large arrays in large pages (Linux with glibc).

    Otherwise memory goes back to the system after every step and is fetched again, 4 kB and one fault at a time: a
    third of the time of a step with many tangents, such as exact GRAE's on a CPU (``docs/log.md``). The command
    line and the workers of sweeps call this; in a script of your own, call it first: it holds for the rest of the
    process, and PyTorch reads its part (``THP_MEM_ALLOC_ENABLE``, left alone where it is set) with its first tensor.

    Measured with ``python -m benchmarks cpu``: 27 % of an exact GRAE step (682 to 500 ms, ``docs/log.md``). Switch: not
    to call it.

    Returns:
        Whether the C library took it; where there is no glibc, nothing is done.

    Example:
        >>> avoid_page_faults() or platform.libc_ver()[0] != "glibc"
        True
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) for name, value in _THRESHOLDS.items())
