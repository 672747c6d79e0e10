"""The ``curvae`` script, and ``python -m curvae``."""

from __future__ import annotations

import sys

from curvae.errors import MissingExtraError


def main() -> None:
    """Run the command line, or say in one line what it needs; it comes with an extra."""
    try:
        from curvae.cli import main as run
    except MissingExtraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
