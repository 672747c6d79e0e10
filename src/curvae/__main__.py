"""The ``curvae`` script, and ``python -m curvae``."""

from __future__ import annotations

import sys
from typing import NoReturn

from curvae.errors import MissingExtraError


def main() -> None:
    """Run the command line, or say in one line what it needs; it comes with an extra."""
    try:
        from curvae.cli import main as run

        run()
    except MissingExtraError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:  # before there is a command that could take it
        _fail("interrupted", 1)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
