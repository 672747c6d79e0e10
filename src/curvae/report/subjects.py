"""The runs a page is about: opened, named, coloured, and grouped by the data they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curvae.autoencoder import Autoencoder
from curvae.data import title
from curvae.errors import InputError
from curvae.report.view import View
from curvae.runs import Run
from curvae.runs.fields import PYTHON

Latest = Callable[[Run], tuple[Autoencoder, int] | None]
"""The model that a page shows of a run and the steps it has done; None for no model to look at."""

# mid-tones, to be told apart on a light and on a dark page
COLOURS = ("#3b82c4", "#e07b39", "#2f9e6e", "#c2557a", "#8a6fc9", "#a38b1e", "#2aa1b3", "#b0655a")


@dataclass(frozen=True)
class ShownRun:
    """One run on the page."""

    run: Run
    name: str  # the shortest end of its path that no other run on the page has
    colour: str  # of its lines, as #rrggbb
    view: View | None  # its model; None where there is none to look at yet
    step: int = 0  # that this model has done


@dataclass(frozen=True)
class RunGroup:
    """Runs on the same data, which can be shown side by side on the same images; the title has its name and shape."""

    title: str
    subjects: tuple[ShownRun, ...]

    @property
    def trained(self) -> list[tuple[ShownRun, View]]:
        """The runs that have a model, with it."""
        return [(subject, subject.view) for subject in self.subjects if subject.view is not None]


def finished_model(run: Run) -> tuple[Autoencoder, int] | None:
    """The model of a finished run, and its steps.

    Example:
        >>> import tempfile, torch
        >>> from curvae.data import Dataset
        >>> from curvae.runs import RunConfig
        >>> data = Dataset("toy", torch.rand(9, 3), torch.rand(2, 3), {})
        >>> finished_model(Run.create(Path(tempfile.mkdtemp()), RunConfig("toy"), data, torch.device("cpu"))) is None
        True
    """
    return (run.model(), run.config.steps) if run.finished else None


def open_subjects(folders: Sequence[Path | Run], latest: Latest = finished_model) -> list[ShownRun]:
    """Open the runs and load their models.

    Raises:
        InputError: no runs, the same one twice, a folder that is not a run, or a damaged one.

    Example:
        >>> open_subjects([])
        Traceback (most recent call last):
        curvae.errors.InputError: no runs given; expected at least one folder that curvae train or reproduce wrote
    """
    if not folders:
        raise InputError("no runs given; expected at least one folder that curvae train or reproduce wrote")
    runs = [folder if isinstance(folder, Run) else Run.open(folder) for folder in folders]
    names = short_names([run.path for run in runs])
    return [
        ShownRun(run, name, COLOURS[i % len(COLOURS)], *_view(run, latest))
        for i, (run, name) in enumerate(zip(runs, names, strict=True))
    ]


def group_by_data(subjects: Sequence[ShownRun]) -> list[RunGroup]:
    """Runs with the same data together, in order of first appearance."""
    found: dict[str, list[ShownRun]] = {}
    for subject in subjects:
        found.setdefault(subject.run.data["digest"], []).append(subject)
    return [RunGroup(_title(members[0].run), tuple(members)) for members in found.values()]


def short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths, at least their last part, that tell them apart.

    Raises:
        InputError: two are the same folder.

    Example:
        >>> short_names([Path("runs/a/vae"), Path("runs/b/vae"), Path("runs/b/grae")])
        ['a/vae', 'b/vae', 'grae']
    """
    parts = [Path(path).resolve().parts for path in paths]
    if len(set(parts)) < len(parts):
        twice = next(path for path, own in zip(paths, parts, strict=True) if parts.count(own) > 1)
        raise InputError(f"{twice} is given twice; name each run once")
    return [_shortest(own, [other for other in parts if other != own]) for own in parts]


def _shortest(own: tuple[str, ...], others: list[tuple[str, ...]]) -> str:
    length = 1
    while any(other[-length:] == own[-length:] for other in others):
        length += 1
    return "/".join(own[-length:])


def _title(run: Run) -> str:
    name = "data from Python" if run.config.data == PYTHON else title(run.config.data)
    return f"{name} ({' × '.join(map(str, run.data['shape']))})"


def _view(run: Run, latest: Latest) -> tuple[View | None, int]:
    found = latest(run)
    if found is None:
        return None, 0
    config, (model, step) = run.config, found
    return View(model, *run.noise(model), config.beta), step
