"""One-line pictures of a run for notebooks: traversals, precisions, codes, loss curves. Each returns a ``Figure``."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from curvae._extras import require

require("plots need", "matplotlib")

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as MatplotlibFigure

from curvae._checks import shown
from curvae.data import Batch, in_order
from curvae.data.order import conditions_in_order
from curvae.errors import InputError
from curvae.metrics import relative_distance
from curvae.runs import Run
from curvae.runs.lines import by_term

_VALUES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
# of codes in a scatter plot: more are one blot
_SHOWN = 5000
_NAMES = {"total": "objective (the sum)", "nll": "reconstruction", "kl": "β × KL", "prior": "β/2 ‖h‖²"}


class Figure(MatplotlibFigure):
    """A figure of Matplotlib that a notebook shows, made without its global state; ``savefig`` writes it to a file."""

    def _repr_png_(self) -> bytes:
        FigureCanvasAgg(self)
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def traversal(
    run: Run,
    x: Any = None,
    *,
    condition: Any = None,
    latents: Sequence[int] | None = None,
    values: Sequence[float | int] = _VALUES,
) -> Figure:
    """What each latent does: a row of images, or a chart of vectors, as one latent at a time takes each value.

    Args:
        run: a finished run.
        x: one sample ``[1, *D]`` to start from; default the prior's mean.
        condition: of a conditional run, one.
        latents: which; default all.
        values: in units of the prior's standard deviation.

    Raises:
        InputError: as :meth:`curvae.runs.Run.traverse`, or more samples than one.
    """
    trained = _checked(run).trained()
    found = np.asarray(trained.traverse(x, condition=condition, latents=latents, values=values))
    if len(found) != 1:
        raise InputError(f"x holds {len(found)} samples; expected one: x[:1]")
    chosen = list(range(found.shape[1])) if latents is None else list(latents)
    draw = _rows_of_images if found.ndim == 6 and found.shape[3] in (1, 3) else _charts
    return draw(found[0], chosen, values)


def precision(run: Run, x: Any = None, *, condition: Any = None) -> Figure:
    r"""The posterior's precision $\Sigma^{-1}$ beside $I+\tfrac1\beta M$, which (11) says that it should be.

    Args:
        run: a finished run.
        x: samples ``[N, *D]``, of which the mean of the matrices is shown; default the first 64 held-out ones.
        condition: of each sample, of a conditional run; default those of the default samples.

    Raises:
        InputError: samples that cannot be used.
    """
    trained = _checked(run).trained()
    if x is None:
        found = run.dataset().half(test=True)[:64]
        x, known = (found.x, found.c) if isinstance(found, Batch) else (found, None)
        condition = known if condition is None else condition
    pair = trained.precisions(x, condition=condition)
    own, implied = (torch.as_tensor(np.asarray(each)) for each in pair)
    distance = float(relative_distance(own, implied).mean())
    figure = _figure(6.4, 3.0)
    means = [each.mean(0).numpy() for each in (own, implied)]
    top = max(float(np.abs(each).max()) for each in means)
    axes = figure.subplots(1, 2)
    for each, matrix, title in zip(axes, means, ("posterior, Σ⁻¹", "decoder, I + M/β"), strict=True):
        image = each.imshow(matrix, cmap="RdBu_r", vmin=-top, vmax=top)
        each.set_title(title, fontsize=9)
        each.set_xticks([])
        each.set_yticks([])
    figure.colorbar(image, ax=axes, shrink=0.8)
    figure.suptitle(f"mean over {len(own)} samples; ‖difference‖ / ‖I + M/β‖ = {distance:.3g}", fontsize=8)
    return figure


def latents(
    run: Run, x: Any = None, *, condition: Any = None, labels: Any = None, axes: tuple[int, int] | None = None
) -> Figure:
    """A scatter plot of the codes in two latents.

    Args:
        run: a finished run.
        x: samples ``[N, *D]``; default the run's own data, thinned to 5000.
        condition: of each sample, of a conditional run; default those of the run's own data.
        labels: ``[N]``, for the colours.
        axes: which two latents; default those of which the codes vary most.

    Raises:
        InputError: samples, labels or latents that cannot be used.
    """
    trained = _checked(run).trained()
    if x is None:
        dataset = run.dataset()
        x, known = in_order(dataset), conditions_in_order(dataset)
        thin = max(1, -(-len(x) // _SHOWN))
        condition = known if condition is None else condition
        if np.ndim(condition) and len(condition) == len(x):  # and not one for all
            condition = condition[::thin]
        labels = None if labels is None else _one_each(labels, len(x))[::thin]
        x = x[::thin]
    codes = np.asarray(trained.encode(x, condition=condition).mean)
    codes = codes.reshape(len(codes), -1)
    first, second = _pair(codes, axes)
    figure = _figure(4.2, 3.8)
    plane = figure.add_subplot()
    if labels is None:
        plane.scatter(codes[:, first], codes[:, second], s=5, alpha=0.5, linewidths=0)
    else:
        _coloured(plane, codes[:, [first, second]], _one_each(labels, len(codes)))
    plane.set_xlabel(f"latent {first}")
    plane.set_ylabel(f"latent {second}")
    return figure


def losses(run: Run) -> Figure:
    """The objective and its parts over training; dots are means over held-out samples.

    Args:
        run: any run, finished or not, that has logged something.

    Raises:
        InputError: nothing was logged yet.
    """
    records = _checked(run).metrics
    if not records:
        raise InputError(f"{run.path} has no steps logged yet; train it first")
    figure = _figure(5.2, 3.2)
    plane = figure.add_subplot()
    for name, (batches, held_out) in by_term(records).items():
        (drawn,) = plane.plot(*batches, label=_NAMES.get(name, name), linewidth=2.0 if name == "total" else 1.2)
        plane.plot(*held_out, "o", color=drawn.get_color(), markersize=3.5)
    plane.set_xlabel("step")
    plane.set_ylabel("per sample")
    plane.legend(fontsize=8, frameon=False)
    return figure


def _checked(run: Run) -> Run:
    if not isinstance(run, Run):
        raise InputError(f"run is {shown(run)}; expected a Run, as of curvae.runs.Run.open(folder)")
    return run


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _rows_of_images(
    found: Shaped[np.ndarray, "L V C H W"], chosen: Sequence[int], values: Sequence[float | int]
) -> Figure:
    rows, columns, _, height, width = found.shape
    figure = _figure(0.6 + 0.7 * columns, (0.3 + 0.7 * rows) * height / width)
    grid = figure.subplots(rows, columns, squeeze=False)
    for (row, column), plane in np.ndenumerate(grid):
        picture = found[row, column].transpose(1, 2, 0).clip(0, 1)
        plane.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1)
        plane.set_xticks([])
        plane.set_yticks([])
        if row == 0:
            plane.set_title(f"{values[column]:g}", fontsize=8)
        if column == 0:
            plane.set_ylabel(str(chosen[row]), fontsize=8, rotation=0, labelpad=8, va="center")
    return figure


def _charts(found: Shaped[np.ndarray, "L V *D"], chosen: Sequence[int], values: Sequence[float | int]) -> Figure:
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = _figure(2.2 * columns, 1.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for plane, latent, outputs in zip(grid.ravel(), chosen, found, strict=False):
        for value, output in zip(values, outputs, strict=True):
            share = (value - min(values)) / ((max(values) - min(values)) or 1)
            dot = "." if output.size == 1 else None  # a line through one number is not seen
            plane.plot(output.ravel(), marker=dot, color=colormaps["coolwarm"](share), linewidth=1.0)
        plane.set_title(f"latent {latent}", fontsize=8)
        plane.tick_params(labelsize=7)
    for plane in grid.ravel()[len(chosen) :]:
        plane.set_visible(False)
    figure.suptitle(f"each output, as a latent goes from {min(values):g} (blue) to {max(values):g} (red)", fontsize=8)
    return figure


def _pair(codes: Shaped[np.ndarray, "N d"], axes: tuple[int, int] | None) -> tuple[int, int]:
    count = codes.shape[1]
    if count < 2:
        raise InputError("the run has a single latent; expected at least two for a scatter plot")
    if axes is None:
        first, second = sorted(np.argsort(codes.var(0))[-2:].tolist())
        return first, second
    if len(axes) != 2 or not all(isinstance(one, int | np.integer) and 0 <= one < count for one in axes):
        raise InputError(f"axes is {shown(axes)}; expected two latents from 0 to {count - 1}")
    return int(axes[0]), int(axes[1])


def _one_each(labels: Any, count: int) -> Shaped[np.ndarray, " N"]:
    found = np.asarray(labels)
    if found.shape != (count,):
        raise InputError(f"labels have shape {found.shape}; expected ({count},), one for each sample")
    return found


def _coloured(plane: Axes, codes: Shaped[np.ndarray, "N 2"], labels: Shaped[np.ndarray, "..."]) -> None:
    """A colour for each of a few labels with a legend, or a scale for many numbers."""
    names = np.unique(labels)
    if len(names) > 20 and labels.dtype.kind in "biuf":
        drawn = plane.scatter(codes[:, 0], codes[:, 1], c=labels, s=5, alpha=0.7, linewidths=0)
        plane.figure.colorbar(drawn, ax=plane)
        return
    for place, name in enumerate(names):
        mine = codes[labels == name]
        colour = colormaps["tab10" if len(names) <= 10 else "tab20"](place % 20)
        plane.scatter(mine[:, 0], mine[:, 1], color=colour, s=5, alpha=0.7, linewidths=0, label=str(name))
    plane.legend(fontsize=7, markerscale=2, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
