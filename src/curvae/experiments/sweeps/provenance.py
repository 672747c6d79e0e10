"""What stands at the head of every summary: under what the models were trained and measured."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curvae.data import Dataset, title
from curvae.experiments.sweeps.training import Configuration
from curvae.runs import Run
from curvae.runs.device import choose_device
from curvae.runs.provenance import environment


def provenance(runs: Iterable[Run], dataset: Dataset) -> dict[str, Any]:
    """Date, versions and devices: of the measurement here, and of the training, which may have been elsewhere."""
    runs = list(runs)
    trained = [dict(pairs) for pairs in dict.fromkeys(tuple(run.environment.items()) for run in runs)]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "measured_under": environment(choose_device("auto")),
        "trained_under": trained,
        "runs": len(runs),
        "data_digest": dataset.digest,
    }


def plain(config: Configuration) -> dict[str, Any]:
    """A configuration fit for JSON, without the place of a person's data."""
    values = asdict(config)
    return {**values, "training": {**values["training"], "data": title(config.training.data)}}


def named(changes: Mapping[str, str]) -> dict[str, str]:
    """The changes without the place of a person's files, which means nothing elsewhere."""
    return {key: Path(value).name if key in ("data", "features") else value for key, value in changes.items()}


def rounded(value: Any) -> Any:
    """Five significant digits for every float in a tree of plain values.

    Example:
        >>> rounded({"a": (0.123456789, 3)})
        {'a': [0.12346, 3]}
    """
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list | tuple) else value
