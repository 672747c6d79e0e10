"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import platform

# of malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, so that the next step finds it ready (Linux with glibc).

    glibc gives arrays over 32 MB back to the system at once and zeroed pages are fetched again for the next one. Steps
    that hold many tangents spend a third of their time on that: the exact Jacobian's on a CPU is 1.4 times as fast
    without, for 3 to 6 % more memory at the peak (``docs/decisions.md``). The command line and the workers of sweeps
    call this; in a script of your own, call it before training on a CPU. It holds for the rest of the process.

    Returns:
        Whether it took effect; where there is no glibc, nothing is done.

    Example:
        >>> keep_freed_memory() or platform.libc_ver()[0] != "glibc"
        True
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_TRIM_THRESHOLD, -1)) and bool(mallopt(_M_MMAP_MAX, 0))
