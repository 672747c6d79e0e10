"""What to type to have a run measured, or to go on with it."""

from __future__ import annotations

from pathlib import Path

from curvae.runs.config import RunConfig
from curvae.runs.fields import PYTHON
from curvae.terminal import quoted


def evaluate_command(path: Path, config: RunConfig) -> str:
    """What to type to have a run's objectives measured.

    Example:
        >>> evaluate_command(Path("runs/a"), RunConfig(data="mnist", model="nets.py:build"))
        'curvae evaluate runs/a --model FILE.py:FUNCTION'
    """
    return "run.evaluate()" if config.model == PYTHON else f"curvae evaluate {quoted(path)}{_model(config)}"


def resume_command(path: Path, config: RunConfig, model: str = "FILE.py:FUNCTION", data: str = "") -> str:
    """What to type to go on with a run's training.

    Args:
        path: of the run.
        config: of the run.
        model: what makes a model of one's own. The folder's word for it is not passed on: nobody should run a
            file's code by copying a line.
        data: where they lie now.

    Example:
        >>> resume_command(Path("runs/a"), RunConfig(data="mnist"))
        'curvae train --resume --out runs/a'
        >>> resume_command(Path("runs/a"), RunConfig(data="mnist", model="python"))
        "curvae.fit(…, out='runs/a', resume=True)"
    """
    if config.model == PYTHON:
        return f"curvae.fit(…, {data and data + ', '}out={str(path)!r}, resume=True)"
    return f"curvae train --resume --out {quoted(path)}{_model(config, model)}{data and f' --data {data}'}"


def _model(config: RunConfig, model: str = "FILE.py:FUNCTION") -> str:
    return f" --model {quoted(model)}" if config.model else ""
