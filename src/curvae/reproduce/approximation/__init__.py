"""How good approximation (6) is, which the paper does not measure: the exact Hessian against Gauss–Newton.

Small β-VAEs are trained with every combination of activation and observation model. At the posterior's means of
held-out data, before and after training, the exact Hessian (5) is compared with its first term, and so is what each
of the two makes of the objectives: (4) against (7) and (10) against (12).
"""

from __future__ import annotations

from pathlib import Path

import torch
from rich.progress import Progress

from curvae.errors import InputError
from curvae.reproduce.approximation.config import CONFIGS, ApproximationConfig, Observation, cases
from curvae.reproduce.approximation.numbers import Row, load_rows, run, save_rows
from curvae.reproduce.approximation.picture import plot
from curvae.reproduce.approximation.section import SECTIONS
from curvae.reproduce.drawing import save_png
from curvae.reproduce.summary import check_own_files
from curvae.runs.provenance import environment
from curvae.terminal import console

__all__ = ["CONFIGS", "SECTIONS", "ApproximationConfig", "Observation", "plot", "reproduce", "run"]

# of what it was made under
_KEPT = ("commit", "curvae", "torch", "python", "device")


def reproduce(figure: str, scale: str, out: Path) -> None:
    """Run at ``scale`` and write ``summary.json`` and ``approximation.png`` into ``out``.

    The rows are written after every model; a run that was interrupted goes on where it stopped.

    Args:
        figure: ``"approximation"``; there is no other here.
        scale: one of :data:`curvae.reproduce.SCALES`.
        out: folder, made if it is missing.

    Raises:
        InputError: an unknown figure or scale, data that cannot be loaded, or a folder with other rows.
    """
    if (figure, scale) not in CONFIGS:
        scales = ", ".join(scale for _, scale in CONFIGS)
        raise InputError(f"got figure {figure!r}, scale {scale!r}; expected approximation at {scales}")
    config = CONFIGS[figure, scale]
    path = out / "summary.json"
    check_own_files(out, figure)
    # what runs is what is there now, whatever happens to the checkout meanwhile
    found = environment(torch.device("cpu"))
    done, made_under = load_rows(path, config), {name: found[name] for name in _KEPT}
    with Progress(*Progress.get_default_columns(), console=console()) as progress:
        total = 2 * len(config.seeds) * len(list(cases(config)))
        task = progress.add_task("approximation", total=total, completed=len(done))

        def keep(rows: tuple[Row, ...]) -> None:
            save_rows(path, config, rows, made_under)
            progress.update(task, completed=len(rows))

        rows = run(config, done, keep)
    save_png(plot(config, rows), out / "approximation.png")
