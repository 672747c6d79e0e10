"""``python -m curvae``."""

from curvae.cli import main

if __name__ == "__main__":
    main()
