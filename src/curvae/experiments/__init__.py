"""What the paper shows, made again: each module has a frozen ``Config``, ``run``, ``plot`` and ``reproduce``."""
