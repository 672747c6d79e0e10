"""How many processor cores there are to share."""

from __future__ import annotations

import os


def usable() -> int:
    """The cores that this process may run on; where the system does not say (macOS, Windows), those of the machine.

    Example:
        >>> 1 <= usable() <= (os.cpu_count() or 1)
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
