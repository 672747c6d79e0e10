"""The table of docs/estimators.md, pair by pair: what it says is what comes out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from curvae.curvature import (
    Columns,
    Coordinates,
    Estimator,
    Exact,
    Fraction,
    Lanczos,
    Linearised,
    Secants,
    Signs,
    Sphere,
    Trace,
)
from curvae.errors import InputError
from curvae.likelihoods import Gaussian
from curvae.objectives import GRAE
from curvae.posteriors import Banded, BlockDiagonal, Diagonal, Full, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64")

DATA, COPIES, LATENTS, BETA = 2, 800, 3, 0.4
PAGE = Path(__file__).parents[2] / "docs" / "estimators.md"

PLAIN: dict[str, Structure] = {
    "`Diagonal()`": Diagonal(),
    "`BlockDiagonal(b)`": BlockDiagonal(2),
    "`Full()`": Full(),
    "`Banded(w)`": Banded(1),
}
STRUCTURES = {name: [structure] for name, structure in PLAIN.items()}
STRUCTURES["`Shared(…)` of any"] = [Shared(structure) for structure in PLAIN.values()]

ALONE: dict[str, Estimator] = {
    "Exact()": Exact(),
    "Columns(k)": Columns(2),
    "Secants(k)": Secants(2),
    "Lanczos(m)": Lanczos(depth=1),
    "Trace()": Trace(),
    "Trace(Signs(k))": Trace(Signs(1)),
    "Trace(Sphere(k))": Trace(Sphere(1)),
    "Trace(Coordinates(k))": Trace(Coordinates(1)),
}


def _estimator(name: str) -> Estimator:
    name = name.strip("`")
    if name.startswith("Fraction("):
        return Fraction(ALONE[name.removeprefix("Fraction(").removesuffix(", f)")], 0.5)
    return ALONE[name]


def _table() -> list[tuple[str, str, str]]:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert head[1:] == list(STRUCTURES)
    named = [row[0].strip("`") for row in rows]
    assert {*ALONE, *(f"Fraction({name}, f)" for name in list(ALONE)[:6])} == set(named)
    return [(row[0], head[i], row[i]) for row in rows for i in range(1, len(head))]


def _decoder(z: Tensor) -> Tensor:
    weight = torch.tensor([[1.0, 0.5, -0.3], [0.2, -1.0, 0.6], [0.0, 0.7, 1.0], [0.9, 0.9, 0.1]])
    return torch.tanh(z @ weight.T) * 1.5


def _secant_penalty(points: Tensor) -> Tensor:
    """By hand: every latent, either sign, at the width that a secant of 0.1 implies."""
    total = torch.zeros(DATA)
    for step in (*torch.eye(LATENTS), *-torch.eye(LATENTS)):

        def squared(s: Tensor, step: Tensor = step) -> Tensor:
            return ((_decoder(points + s[:, None] * step) - _decoder(points)) / s[:, None]).square().sum(1)

        width = (1 + squared(torch.full((DATA,), 0.1)) / BETA).rsqrt()
        total += 0.5 * (1 + squared(width) / BETA).log()
    return total


def _penalties(structure: Structure, curvature: Tensor) -> Tensor:
    """By hand, from determinants; the band's optimum has no formula and is held to one elsewhere."""
    if isinstance(structure, Shared):
        return _penalties(structure.structure, curvature.mean(0, keepdim=True)).expand(len(curvature))
    if isinstance(structure, Banded):
        return structure.penalty(curvature, BETA)
    size = {Diagonal: 1, BlockDiagonal: 2, Full: LATENTS}[type(structure)]
    matrix = torch.eye(LATENTS) + curvature / BETA
    blocks = [slice(start, start + size) for start in range(0, LATENTS, size)]
    return torch.stack([torch.linalg.det(matrix[:, block, block]).log() for block in blocks]).sum(0)


@pytest.mark.parametrize(("row", "column", "claim"), _table())
def test_every_pair_gives_what_the_page_says(row: str, column: str, claim: str) -> None:
    torch.manual_seed(0)
    points = torch.randn(DATA, LATENTS)
    jacobians = torch.stack([torch.func.jacrev(_decoder)(point) for point in points])
    for structure in STRUCTURES[column]:
        if claim == "refused":
            with pytest.raises(InputError) as refusal:
                GRAE(BETA, structure=structure, estimator=_estimator(row))
            assert "\n" not in str(refusal.value)
            continue
        secant = claim == "secant"
        expected = _secant_penalty(points) if secant else _penalties(structure, jacobians.mT @ jacobians)
        _check("unbiased" if secant else claim, _estimator(row), structure, points, expected)


def _check(claim: str, estimator: Estimator, structure: Structure, points: Tensor, expected: Tensor) -> None:
    # copies of the data: each is drawn for by itself, and one call is many draws
    z = points.repeat(COPIES, 1)
    generator = torch.Generator().manual_seed(1)
    _, value = estimator.penalty(Linearised(_decoder, z, _decoder(z), Gaussian()), structure, BETA, generator)
    value = value.view(COPIES, DATA)
    if isinstance(structure, Shared) and claim == "bound":  # holds for the mean over data
        value, expected = value.mean(1, keepdim=True), expected[:1]
    mean, error = value.mean(0), value.std(0) / math.sqrt(COPIES)
    if claim == "exact":
        torch.testing.assert_close(value, expected.expand_as(value))
    elif claim == "unbiased":
        assert bool(((mean - expected).abs() < 4 * error).all())
        assert bool(((error > 0) & (error < 0.06 * expected)).all())
    else:
        assert claim == "bound"
        assert bool((mean - 4 * error > expected).all())


@pytest.mark.parametrize("claim", ["exact", "unbiased", "bound"])
def test_the_checks_would_notice(claim: str) -> None:
    """A fraction of a shared covariance, as it was before it was refused, is none of the three."""

    class Unchecked(Fraction):
        def check(self, structure: Structure) -> None:
            pass

    points = torch.randn(DATA, LATENTS, generator=torch.Generator().manual_seed(0))
    jacobians = torch.stack([torch.func.jacrev(_decoder)(point) for point in points])
    expected = _penalties(Shared(Full()), jacobians.mT @ jacobians)
    with pytest.raises(AssertionError):
        _check(claim, Unchecked(Exact(), 1 / (DATA * COPIES)), Shared(Full()), points, expected)
