"""The paper's claims beside what became of them: which rule of ``_verdicts`` each figure has, as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from _blocks import summary_of
from _faces import LONGER, faces_summary
from _figures import WIDER_CURVES, curves_summary
from _numbers import RESULTS, counted, read, setting, table, thousands, width
from _verdicts import Judged, blocks, curves, digits, disentangled, distances, funnels, samples, uniqueness

_ROTATION = "with diagonal Σ the ELBO singles out the true latents' rotation, with full Σ it does not"
_ALIKE = "(2), (7) and (13) are close, the closer the smaller β"
_BLOCKS = "the blocks of Σ show in JᵀJ of the decoder"
FIGURES: dict[str, tuple[str, str, Callable[[dict[str, Any]], Judged]]] = {
    "fig1": (
        "Figure 1",
        "as the ELBO rises, diagonal Σ leaves one rotation of the latents, full Σ does not (tanh, amortised)",
        funnels,
    ),
    "fig2": ("Figure 2", _BLOCKS, blocks),
    "fig3": ("Figure 3, app. F", _ALIKE, curves),
    "fig4": ("Figure 4", "Fréchet distances of GRAE≈ and β-VAE are close", distances),
    "fig5": ("Figure 5", f"{_ROTATION} (four ν, amortised, orthogonal W)", uniqueness),
    "fig6": ("Figure 6", f"{_ROTATION} (four ν, unamortised, orthogonal W)", uniqueness),
    "fig7": ("Figure 7, app. E", f"{_BLOCKS}, in more settings", blocks),
    "disentanglement": (
        "§3.2",
        "a diagonal Σ makes the decoder's columns orthogonal, so that single latents stand for single factors",
        disentangled,
    ),
    "table1": ("Table 1, app. G", "samples of GRAE≈ are like those of the β-VAE", samples),
}
"""By folder: the name, the paper's claim, the rule."""
_DISTANCES = FIGURES["fig4"][1]
_FURTHER = {
    WIDER_CURVES: ("Figure 3, wider", _ALIKE, curves),
    "fig7/eighth": ("Figure 7, wider", _BLOCKS, blocks),
    LONGER: ("Figure 4, longer", _DISTANCES, distances),
    "disentanglement/longer": ("§3.2, longer", FIGURES["disentanglement"][1], disentangled),
}
"""The same claims once more, of other training."""
_JOINED = {blocks: summary_of, curves: curves_summary, distances: faces_summary}
"""By rule: the summary of all seeds, where further ones were trained in calls of their own."""


def provenance(summary: dict[str, Any]) -> list[str]:
    """Scale, seeds, commit and device."""
    if "config" not in summary:
        made = [summary["environment"]]
        seeds = f"{max(panel['trials'] for panel in summary['panels'].values())} trials a panel"
        size = ""
    else:
        made = summary["trained_under"]
        training = summary["config"]["training"]
        seeds = counted(len(training["seeds"]), "seed")
        steps = thousands(training["steps"])
        size = f", {steps} steps of batch {training['batch_size']}, networks × {width(training['width'])}"
    devices = ", ".join(dict.fromkeys(each["device"] for each in made))
    return [summary["scale"] + size, seeds, _commits(each["commit"] for each in made), devices]


def _commits(given: Iterable[str]) -> str:
    commits = list(dict.fromkeys(given))
    text = f"`{commits[0][:7]}`" + (f" and {len(commits) - 1} more" if len(commits) > 1 else "")
    dirty = sum(commit.endswith("-dirty") for commit in commits)
    return text + (f", {dirty} not clean" if dirty else ", clean")


def verdicts() -> list[tuple[str, str, str, list[str], str]]:
    """Name, claim, statistic, provenance and verdict of every figure that has results."""
    found = []
    for folder, (name, claim, judge) in (FIGURES | _FURTHER).items():
        if (RESULTS / folder / "summary.json").is_file():
            summary = _JOINED[judge](folder) if judge in _JOINED else read(f"{folder}/summary.json")
            text, verdict = judge(summary)
            found.append((name, claim, text, provenance(summary), verdict))
    for place, what, way in (
        ("long", "digits", "GRAE≈, one column"), ("long/eighth", "digits, wider", "GRAE≈, one column on 1/4"),
    ):  # fmt: skip
        long = read(f"{place}/distances.json")
        text, verdict = digits(long, way)
        claimed = f"{_DISTANCES} (MNIST, one β; {way})"
        found.append((f"Figure 4, {what}", claimed, text, _of_long_runs(long, way), verdict))
    return found


def _of_long_runs(found: dict[str, Any], way: str) -> list[str]:
    seeds = len(found["ways"][way]["less_reference"]["seeds"])
    return [setting(found["setting"]), f"{seeds} seeds", _commits(found["runs"].values()), found["evaluated"]["device"]]


def verdict_table() -> str:
    """All of it as a table."""
    rows = [[name, claim, f"**{verdict}**", text, "; ".join(made)] for name, claim, text, made, verdict in verdicts()]
    head = ["", "the paper's claim", "verdict", "here, with 95 % intervals", "scale; seeds; commit; device"]
    return table(head, rows)
