"""What to run: panels, schedules and scales, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curvae.errors import InputError
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.trial import GenerativeModel, Guard, MixingColumns

Schedule = tuple[tuple[int, int], ...]
"""Pairs (n, trials): the learning rate drops every n iterations, 5n in all."""

PAPER_SCHEDULE: Schedule = (
    (100, 20), (500, 20), *((1000 * k, 20) for k in range(1, 10)), (10_000, 100), (20_000, 100)
)  # fmt: skip
DRAWS = 8
"""How many W figure 1 has a panel for: those of the first trials, whatever they are."""


@dataclass(frozen=True)
class Panel:
    """One scatter plot of the paper: a model, a family and how it is optimised.

    Attributes:
        model: generates the data.
        mean_field: diagonal Σ; otherwise full.
        amortised: q(z|x) = N(Cx + d, Σ); otherwise a free μ_i, Σ_i for every sample.
        guard: what is learned in a rotated frame.
    """

    model: GenerativeModel
    mean_field: bool
    amortised: bool = True
    guard: Guard = Guard.PAPER

    @property
    def name(self) -> str:
        """Its table's name, e.g. ``tanh-diagonal-orthogonal-amortised``; with the guard if it is not the paper's."""
        family = "diagonal" if self.mean_field else "full"
        kind = "amortised" if self.amortised else "unamortised"
        guard = "" if self.guard is Guard.PAPER else f"-guard-{self.guard.value}"
        return f"{self.model.nu.value}-{family}-{self.model.name}-{kind}{guard}"


def grid(
    nus: tuple[Nonlinearity, ...],
    amortised: bool,
    columns: tuple[MixingColumns, ...] = (MixingColumns.ORTHOGONAL,),
    guards: tuple[Guard, ...] = (Guard.PAPER,),
    points: int = 4000,
    draws: tuple[int | None, ...] = (None,),
) -> tuple[Panel, ...]:
    """All panels of these choices, both families, in the order in which they are run.

    Example:
        >>> [p.name for p in grid((Nonlinearity.TANH,), amortised=True)]
        ['tanh-diagonal-orthogonal-amortised', 'tanh-full-orthogonal-amortised']
    """
    return tuple(
        Panel(GenerativeModel(nu, column, points=points, draw=draw), mean_field, amortised, guard)
        for guard in guards
        for column in columns
        for draw in draws
        for nu in nus
        for mean_field in (True, False)
    )


@dataclass(frozen=True)
class Config:
    """An experiment.

    Attributes:
        figure: which of the paper's it makes: ``"fig1"``, ``"fig5"`` or ``"fig6"``.
        scale: its name, for the record.
        panels: what to run.
        schedule: pairs (n, trials).
        seed: of all trials.
        threads: trials that run at the same time; None is one a core.
        optima: find the ELBO's own optimum on every trial's data as well (amortised panels).

    Example:
        >>> cfg = CONFIGS["fig5", "paper"]
        >>> cfg.trials, sum(5 * n * k for n, k in cfg.schedule)
        (420, 19560000)
    """

    figure: str
    scale: str
    panels: tuple[Panel, ...]
    schedule: Schedule
    seed: int = 0
    threads: int | None = None
    optima: bool = True

    def __post_init__(self) -> None:
        if not self.panels or not self.schedule:
            raise InputError("the experiment has no panels or no schedule; expected at least one of each")
        if any(n < 1 or k < 1 for n, k in self.schedule):
            raise InputError(f"the schedule is {self.schedule}; expected pairs (n, trials) of numbers >= 1")

    @property
    def trials(self) -> int:
        """How many trials a panel has."""
        return sum(k for _, k in self.schedule)

    @property
    def periods(self) -> tuple[int, ...]:
        """n of every trial, in the order of their indices."""
        return tuple(n for n, k in self.schedule for _ in range(k))


def _panels(figure: str, every: bool, points: int) -> tuple[Panel, ...]:
    """The figure's panels; ``every`` adds the Gaussian mixing and the other guards to the paper's own."""
    if figure == "fig1":
        # one W and data set a panel, whose ELBOs can be compared, and the panel in which every trial has its own
        return grid((Nonlinearity.TANH,), amortised=True, points=points, draws=(*range(DRAWS), None))
    amortised = figure == "fig5"
    order = (Nonlinearity.TANH, Nonlinearity.IDENTITY, Nonlinearity.SIGMOID, Nonlinearity.ELU)
    own = grid(order, amortised, points=points)
    if not every:
        return own
    mixed = grid(order, amortised, columns=(MixingColumns.GAUSSIAN,), points=points)
    # figure 6 costs five times as much: its decoder's guard is left out
    guards = (Guard.OFF, Guard.ALL) if amortised else (Guard.OFF,)
    return own + mixed + grid(order, amortised, guards=guards, points=points)


# schedule, whether with every mixing and guard, points, and at most how many panels
_SCALES: Mapping[str, tuple[Schedule, bool, int, int | None]] = {
    # four trials of 256 points and a few iterations: shows that it runs, nothing else
    "smoke": (((10, 2), (40, 2)), False, 256, 4),
    # five schedules up to n = 5000, 20 trials each; minutes on two cores
    "quick": (((100, 20), (500, 20), (1000, 20), (2000, 20), (5000, 20)), False, 4000, None),
    # the paper's own, which two cores finish in an hour (figure 5) to two (figure 6)
    "overnight": (PAPER_SCHEDULE, True, 4000, None),
    "paper": (PAPER_SCHEDULE, True, 4000, None),
}
CONFIGS: Mapping[tuple[str, str], Config] = {
    (figure, scale): Config(figure, scale, _panels(figure, every, points)[:most], schedule)
    for figure in ("fig1", "fig5", "fig6")
    for scale, (schedule, every, points, most) in _SCALES.items()
}
"""By figure and scale."""
