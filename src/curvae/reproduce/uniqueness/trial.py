"""One random trial: its data, its starting point, its fixed rotations and its noise, all from one seed (App. C).

A trial is a function of (model, guard, seed, index) alone. What is drawn does not depend on the panel: trial 7 has the
same W, z, ε, start and rotations for every ν and for both families, so that panels can be compared pair by pair. Where
a model says whose, all its trials have one W and one data set, and only start, rotations and noise are their own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curvae.errors import InputError
from curvae.reproduce.uniqueness.activations import Nonlinearity

Array = NDArray[np.float64]
TABLE_LENGTHS = 8
"""The noise table holds this many times the data's length."""


class MixingColumns(enum.Enum):
    """How the mixing matrix W is drawn before its columns get their norms."""

    ORTHOGONAL = "orthogonal"
    """Orthogonal columns: the true latents are the decoder's principal axes."""
    GAUSSIAN = "gaussian"
    """Independent normal entries, as the paper's text says."""


class Guard(enum.Enum):
    """Which parameters are learned in a randomly rotated frame, against the optimiser's preference for axes."""

    OFF = "off"
    PAPER = "paper"
    """C = O₁C' and Σ = O₂D'D'ᵀO₂ᵀ."""
    ALL = "all"
    """The decoder's latent side too: A = A'O₃ᵀ. Gradient descent does not need it; Adam is not rotation-equivariant."""


@dataclass(frozen=True)
class GenerativeModel:
    """The generative model x = ν(Wz) + ε, z ~ N(0, I), ε ~ N(0, σ²I), in two dimensions.

    Attributes:
        nu: the output function.
        columns: how W is drawn.
        norms: the norms of W's two columns.
        points: data in a trial; a multiple of 32.
        sigma: standard deviation of the observation noise, > 0; the decoder knows it.
        draw: all trials have the W and the data of trial ``draw``, >= 0; None: each trial has its own.
    """

    nu: Nonlinearity
    columns: MixingColumns = MixingColumns.ORTHOGONAL
    norms: tuple[float, float] = (2.0, 1.0)
    points: int = 4000
    sigma: float = 0.05
    draw: int | None = None

    def __post_init__(self) -> None:
        if self.points < 32 or self.points % 32:
            raise InputError(f"points is {self.points}; expected a positive multiple of 32")
        if not self.sigma > 0:
            raise InputError(f"sigma is {self.sigma}; expected a number > 0")
        if self.draw is not None and self.draw < 0:
            raise InputError(f"draw is {self.draw}; expected None or a number >= 0")

    @property
    def name(self) -> str:
        """Of its mixing, for tables; with whose it is where all trials have one, e.g. ``orthogonal-w3``."""
        return self.columns.value + ("" if self.draw is None else f"-w{self.draw}")


@dataclass(frozen=True)
class Trial:
    """What one trial starts from.

    Attributes:
        mixing: W [2, 2].
        latents: the true z [N, 2].
        x: the data [N, 2].
        start: the parameters A, b, C', d, D' [16] at the start.
        start_local: μ_i and D_i' [6, N] at the start, for the unamortised case.
        rotations: O₁, O₂, O₃ by rows [3, 4].
        table: two rows of standard normals [2, 8 N], each with mean 0 and variance 1 exactly.
        key: the key of the counter that picks noise from the table.
    """

    mixing: Array
    latents: Array
    x: Array
    start: Array
    start_local: Array
    rotations: Array
    table: Array
    key: int


def draw_mixing(model: GenerativeModel, generator: np.random.Generator) -> Array:
    """Draw W [2, 2]: normal entries, orthogonalised if asked for, columns scaled to the model's norms.

    Example:
        >>> w = draw_mixing(GenerativeModel(Nonlinearity.TANH), np.random.default_rng(0))
        >>> (w.T @ w).round(12)
        array([[4., 0.],
               [0., 1.]])
    """
    entries = generator.normal(size=(2, 2))
    if model.columns is MixingColumns.ORTHOGONAL:
        # QR with R's diagonal made positive is uniform over the orthogonal group
        q, r = np.linalg.qr(entries)
        entries = q * np.sign(np.diag(r))
    return entries / np.linalg.norm(entries, axis=0) * np.array(model.norms)


def _rotations(guard: Guard, generator: np.random.Generator) -> Array:
    angles = generator.uniform(0.0, 2.0 * np.pi, size=3)
    used = {Guard.OFF: (False, False, False), Guard.PAPER: (True, True, False), Guard.ALL: (True, True, True)}[guard]
    angles = np.where(used, angles, 0.0)
    c, s = np.cos(angles), np.sin(angles)
    return np.stack([c, -s, s, c], axis=1)


def _table(points: int, generator: np.random.Generator) -> Array:
    table = generator.normal(size=(2, TABLE_LENGTHS * points))
    table -= table.mean(axis=1, keepdims=True)
    return table / table.std(axis=1, keepdims=True)


def _streams(seed: int, index: int) -> list[np.random.Generator]:
    streams = np.random.SeedSequence(seed, spawn_key=(index,)).spawn(5)
    return [np.random.default_rng(stream) for stream in streams]


def make_trial(model: GenerativeModel, guard: Guard, seed: int, index: int) -> Trial:
    """Draw trial ``index`` of the experiment with this seed.

    Raises:
        InputError: seed or index is negative.

    Example:
        >>> model = GenerativeModel(Nonlinearity.ELU, points=32)
        >>> one, two = (make_trial(model, Guard.PAPER, seed=0, index=3) for _ in range(2))
        >>> bool((one.x == two.x).all())
        True
    """
    if seed < 0 or index < 0:
        raise InputError(f"seed is {seed} and index {index}; expected numbers >= 0")
    _, start, rotations, noise, local = _streams(seed, index)
    data = _streams(seed, index if model.draw is None else model.draw)[0]
    mixing = draw_mixing(model, data)
    latents = data.normal(size=(model.points, 2))
    x = model.nu(latents @ mixing.T) + model.sigma * data.normal(size=(model.points, 2))
    theta = start.normal(size=16)
    theta[[4, 5, 10, 11]] = 0.0  # the offsets b and d start at zero
    return Trial(
        mixing=mixing,
        latents=latents,
        x=x,
        start=theta,
        start_local=local.normal(size=(6, model.points)),
        rotations=_rotations(guard, rotations),
        table=_table(model.points, noise),
        key=int(noise.integers(2**63)),
    )
