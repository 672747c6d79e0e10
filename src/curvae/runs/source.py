"""The data of a run."""

from __future__ import annotations

from curvae.data import Dataset, load
from curvae.runs.config import RunConfig


def load_data(config: RunConfig) -> Dataset:
    """The data that a configuration names, at its size, in its split.

    Raises:
        InputError: see :func:`curvae.data.load`.

    Example:
        >>> import tempfile, numpy as np
        >>> path = tempfile.mkdtemp() + "/toy.npy"
        >>> np.save(path, np.zeros((20, 3)))
        >>> len(load_data(RunConfig(data=path)).test)
        2
    """
    return load(config.data, size=config.size, split_seed=config.split_seed, damaged=config.damaged)
