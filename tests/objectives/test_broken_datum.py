"""One sample that is not finite: its own values are not, everybody else's are what they are without it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from curvae import Autoencoder
from curvae.curvature import Columns, Exact, Fraction, Lanczos, Probes, Signs, Trace, principal_basis
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood
from curvae.metrics import Implied
from curvae.objectives import GRAE, Taylor
from curvae.posteriors import Banded, BlockDiagonal, Diagonal, Full, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64")

LATENTS, BAD = 4, 1
STRUCTURES = [Diagonal(), BlockDiagonal(2), Full(), Banded(1)]


class TheseSigns(Probes):
    """Two sign vectors, the same for every sample."""

    count = 2

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.tensor([[1.0, -1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]]).T.to(z).expand(len(z), -1, -1)


ESTIMATORS = [Exact(), Columns(2), Trace(), Trace(TheseSigns()), Lanczos(3, TheseSigns()), Fraction(Exact(), 1.0)]


def _model(structure: Structure) -> Autoencoder:
    decoder = nn.Sequential(nn.Linear(LATENTS, 8), nn.Tanh(), nn.Linear(8, 5))
    return Autoencoder(nn.Linear(5, 7), decoder, LATENTS, structure)


def _objectives(structure: Structure, likelihood: Likelihood) -> list[GRAE | Taylor]:
    found: list[GRAE | Taylor] = [Taylor(50.0, likelihood, "hessian"), Taylor(50.0, likelihood)]
    found.append(GRAE(50.0, likelihood, structure, curvature="hessian"))
    for estimator in ESTIMATORS:
        try:
            found.append(GRAE(0.5, likelihood, structure, estimator))
        except InputError:  # the estimator does not serve the structure
            continue
    return found


@pytest.mark.covering
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("likelihood", [Gaussian(), BernoulliLogits()], ids=repr)
@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_every_structure_estimator_and_curvature(structure: Structure, likelihood: Likelihood, value: float) -> None:
    torch.manual_seed(0)
    model, x = _model(structure), torch.rand(3, 5)
    broken = x.clone()
    broken[BAD] = value
    others = [i for i in range(3) if i != BAD]
    for objective in _objectives(structure, likelihood):
        good, got = (objective(model, data, torch.Generator().manual_seed(0)).total for data in (x, broken))
        torch.testing.assert_close(got[others], good[others], msg=repr(objective))
        assert not got[BAD].isfinite()
    for curvature in ("gauss-newton", "hessian"):
        implied = Implied(model, 50.0, likelihood, structure, curvature)
        good, got = (implied(data).covariance() for data in (x, broken))
        torch.testing.assert_close(got[others], good[others])
        assert not got[BAD].isfinite().all()


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_a_shared_covariance_has_none_where_one_sample_has_none(structure: Structure) -> None:
    model, broken = _model(structure), torch.rand(3, 5)
    broken[BAD] = math.nan
    for estimator, curvature in itertools.product([Exact()], ["gauss-newton", "hessian"]):
        objective = GRAE(50.0, structure=Shared(structure), estimator=estimator, curvature=curvature)
        assert objective(model, broken).total.isnan().all()


def test_a_basis_of_principal_directions_says_so() -> None:
    z = torch.full((2, LATENTS), math.nan)
    with pytest.raises(InputError, match="derivatives at these data are not finite"):
        principal_basis(_model(Full()).decode, z, torch.zeros(2, 5), Gaussian())
    assert Signs(1).draw(z).isfinite().all()
