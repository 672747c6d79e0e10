"""The page itself: everything in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, DictLoader, Environment, PackageLoader, StrictUndefined

import curvae
from curvae.errors import InputError
from curvae.files import write_atomic
from curvae.report.conclusion import conclusions
from curvae.report.figures import Kind, Section, section
from curvae.report.losses import TERM_NAMES, loss_charts, term_colour
from curvae.report.pictures import colour_scale
from curvae.report.results import is_result, open_results
from curvae.report.sections import look
from curvae.report.subjects import Latest, ShownRun, finished_model, group_by_data, open_subjects
from curvae.report.tables import measure_rows, objective_rows, setting_rows
from curvae.runs import Run
from curvae.runs.commands import evaluate_command, resume_command


def write_report(
    folders: Sequence[Path | Run],
    out: Path,
    figures: Callable[[], Mapping[str, Kind]] = dict[str, Kind],
    latest: Latest = finished_model,
) -> None:
    r"""Write one self-contained HTML page about runs, side by side, and about reproduced figures.

    The page needs no network and no other file. It shows the settings, loss curves by term, the objectives (2), (7)
    and (13) on held-out data where ``curvae evaluate`` has measured them, reconstructions, samples from the prior,
    latent traversals, straight and geodesic ways between images, and $\Sigma^{-1}$ beside $I+\tfrac1\beta M$
    ($=I+\tfrac1\beta J^\top J$ for unit Gaussian observations). Runs on different data are shown separately. Data that
    are no images are drawn as lines. A run that is not finished yet appears with its settings and loss curves.

    A results folder of ``curvae reproduce`` becomes a section before the runs: the question, the pictures with how to
    read them, what came out, tables with intervals, and under what it was made.

    Args:
        folders: runs, run folders that ``curvae train`` wrote and results folders that ``curvae reproduce`` wrote, in
            any order, at least one.
        out: the page, usually ``report.html``; replaced if it exists.
        figures: how the figures among the results are shown, by name: :func:`curvae.reproduce.sections`. Asked only if
            there are results.
        latest: gives the model of a run and the steps it has done, for runs with a model of one's own or that are not
            finished; default the finished ones.

    Raises:
        InputError: no folder, one that is neither run nor results or is damaged, the same one twice, results of a
            figure without a page, data that is gone or has changed, or an ``out`` that cannot be written.

    Example:
        >>> write_report([], Path("report.html"))
        Traceback (most recent call last):
        curvae.errors.InputError: no runs given; expected at least one folder that curvae train or reproduce wrote
    """
    results = [folder for folder in folders if isinstance(folder, Path) and is_result(folder)]
    runs = [folder for folder in folders if isinstance(folder, Run) or not is_result(folder)]
    kinds = figures() if results else {}
    shown = [section(result, place, kinds) for place, result in enumerate(open_results(results), 1)]
    subjects = open_subjects(runs, latest) if runs or not results else []
    if out.is_dir():
        raise InputError(f"{out} is a folder; expected the name of a file, for example {out / 'report.html'}")
    page = render(subjects, shown)
    try:
        write_atomic(out, lambda temporary: temporary.write_text(page, encoding="utf-8", errors="backslashreplace"))
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}; choose another place") from error


def render(subjects: list[ShownRun], figures: list[Section]) -> str:
    """The page's HTML.

    Raises:
        InputError: as :func:`write_report`.
    """
    explanations = {section.anchor: section.kind.template.read_text(encoding="utf-8") for section in figures}
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("curvae.report"), DictLoader(explanations)]),
        autoescape=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("report.html").render(figures=figures, **_context(subjects))


def _context(subjects: list[ShownRun]) -> dict[str, Any]:
    groups = group_by_data(subjects)
    losses = [(group.title, *loss_charts(list(group.subjects))) for group in groups]
    terms = dict.fromkeys(name for *_, names in losses for name in names)
    read = [(subject, subject.run.evaluation) for subject in subjects]  # once: one may be written meanwhile
    measured = [(subject, evaluation) for subject, evaluation in read if evaluation is not None]
    numbers = [(subject.run.config, evaluation) for subject, evaluation in measured]
    missing = [subject for subject, evaluation in read if evaluation is None]
    return {
        "version": curvae.__version__,
        "conclusions": [found for group in groups for found in conclusions(group)],
        "subjects": subjects,
        "several_data": len(groups) > 1,
        "settings": setting_rows(subjects),
        "losses": losses,
        "terms": [(TERM_NAMES.get(name, name), term_colour(name)) for name in terms],
        "measured": [subject for subject, _ in measured],
        "deterministic": [subject for subject, evaluation in measured if not evaluation.own_posterior],
        "objectives": objective_rows(numbers) if numbers else [],
        "measures": measure_rows(numbers) if numbers else [],
        "commands": [(subject, evaluate_command(subject.run.path, subject.run.config)) for subject in missing],
        "looks": [shown for group in groups if (shown := look(group, len(subjects))) is not None],
        "scale": colour_scale(),
        "unfinished": [
            (subject, resume_command(subject.run.path, subject.run.config))
            for subject in subjects
            if not subject.run.finished
        ],
    }
