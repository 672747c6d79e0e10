"""What a person should know about how data were read, though nothing is wrong with it."""

from __future__ import annotations

import os
import sys


def note(line: str) -> None:
    """Say it on stderr, on one line; of several processes that read the same data the first one does."""
    if os.environ.get("RANK", "0") == "0":
        print(f"note: {' '.join(line.split())}", file=sys.stderr)
