"""What the paper shows, made again: each module has a frozen ``Config``, ``run``, ``plot`` and ``reproduce``."""

from curvae._extras import require

require("curvae.experiments needs", "lightning", "matplotlib", "rich", "PIL", "filelock")
