"""How much memory there is, and how this process gets it from the system."""

from __future__ import annotations

import math
import os

from curvae.cpu.page_faults import avoid_page_faults

__all__ = ["avoid_page_faults", "total"]


def total() -> float:
    """Bytes of memory that this machine has; infinite where the system does not say.

    Example:
        >>> total() > 2**20
        True
    """
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # AttributeError: Windows has no sysconf
        return math.inf
