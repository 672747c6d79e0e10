"""What a person should know about how data were read, though nothing is wrong with it."""

from __future__ import annotations

import sys


def note(line: str) -> None:
    """Say it on stderr, on one line."""
    print(f"note: {' '.join(line.split())}", file=sys.stderr)
