"""The data of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curvae.data import Coding, Dataset, load
from curvae.data.names import is_table
from curvae.runs.config import RunConfig
from curvae.runs.fields import PYTHON
from curvae.runs.mixed import may_miss


def load_data(config: RunConfig, data: Mapping[str, Any] | None = None, coding: Coding | None = None) -> Dataset:
    """The data that a configuration names, at its size, in its split.

    Args:
        config: the run's.
        data: what a run has found of them already, its ``data``.
        coding: of the conditions, where a run has it already.

    Raises:
        InputError: see :func:`curvae.data.load`.

    Example:
        >>> import tempfile, numpy as np
        >>> path = tempfile.mkdtemp() + "/toy.npy"
        >>> np.save(path, np.zeros((20, 3)))
        >>> len(load_data(RunConfig(data=path)).test)
        2
    """
    condition = coding or config.condition
    return load(config.data, split_seed=config.split_seed, condition=condition, **reading(config, data or {}))


def reading(config: RunConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """How a run reads samples, its own or others, as options of :func:`curvae.data.load`.

    Args:
        config: the run's.
        data: what the run keeps of its data.
    """
    texts = {"labels": config.labels, "drop": config.drop}
    columns = {key: [name.strip() for name in text.split(",") if name.strip()] for key, text in texts.items()}
    # of an observation model that was handed over it is not known here
    missing = config.likelihood == PYTHON or may_miss(config.likelihood)
    like = {"white": data.get("white"), "known": data.get("columns")}
    return {"size": config.size, "damaged": config.damaged, "missing": missing, **like, **columns}


def reading_others(config: RunConfig, data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The same for data that a run was not trained on: labels and what was left out of its table may be absent."""
    options = reading(config, data) | {"absent": True}
    # an array has no columns to leave out
    return options if is_table(source) else options | {"labels": (), "drop": ()}
