"""Data that an observation model cannot have made are refused by every objective, and nothing else is."""

import dataclasses
import gc
import re
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from curvae import Autoencoder, curvature, fit, likelihoods, objectives, posteriors
from curvae.errors import InputError
from curvae.forward import looks
from curvae.inspection import inspect
from curvae.likelihoods import Likelihood
from curvae.metrics import importance_weighted_nll
from curvae.objectives.objective import Objective
from curvae.objectives.support import check_support, known_to_fit

UNIT = (likelihoods.Bernoulli(), likelihoods.BernoulliLogits(), likelihoods.ContinuousBernoulli())
COUNTS = (likelihoods.Poisson(), likelihoods.NegativeBinomial(2.0), likelihoods.LearnedNegativeBinomial())
OBJECTIVES: dict[str, Callable[[Likelihood], Objective]] = {
    "beta-vae": lambda likelihood: objectives.BetaVAE(0.2, likelihood),
    "taylor": lambda likelihood: objectives.Taylor(0.2, likelihood),
    "grae": lambda likelihood: objectives.GRAE(0.2, likelihood, posteriors.Diagonal()),
    "rae": lambda likelihood: objectives.RAE(0.2, likelihood=likelihood),
}


def model(posterior: bool = True) -> Autoencoder:
    decoder = nn.Sequential(nn.Linear(2, 4), nn.Sigmoid())
    return Autoencoder(nn.Linear(4, 8), decoder, 2, posteriors.Diagonal() if posterior else None)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("likelihood", [*UNIT, *COUNTS, likelihoods.Categorical()], ids=str)
def test_every_objective_refuses_what_its_observation_model_cannot_have_made(name: str, likelihood: Likelihood) -> None:
    objective, at = OBJECTIVES[name](likelihood), model(name in ("beta-vae", "taylor"))
    x = torch.randint(0, 2, (6, 4)).float()
    if not isinstance(likelihood, likelihoods.Categorical):
        assert objective(at, x).total.isfinite().all()
    for wrong in (-1.0, 1.5):
        x[4, 2] = wrong
        with pytest.raises(InputError, match=rf"^the data have {wrong:g}, but {re.escape(repr(likelihood))} is for"):
            objective(at, x)


WRAPPED = [
    (likelihoods.Masked(likelihoods.Poisson()), range(4)),
    (likelihoods.SizeFactors(likelihoods.Poisson(), typical=2.0), range(4)),
    (likelihoods.SizeFactors(likelihoods.Masked(likelihoods.Poisson())), range(3)),
    (likelihoods.Mixed([(likelihoods.Gaussian(), 2), (likelihoods.Masked(likelihoods.Poisson()), 2)]), range(2, 4)),
    (
        likelihoods.Masked(likelihoods.Mixed([(likelihoods.BernoulliLogits(), 2), (likelihoods.Gaussian(), 2)])),
        range(2),
    ),
]


@pytest.mark.parametrize(("likelihood", "held"), WRAPPED, ids=lambda one: str(one))
def test_wrapped_models_look_at_their_own_columns(likelihood: Likelihood, held: range) -> None:
    """Of the columns some hold counts; others, size factors among them, may hold anything."""
    for column in range(4):
        x = torch.ones(5, 4)
        x[1] = torch.nan
        x[3, column] = -0.5
        with pytest.raises(InputError, match="the data have -0.5") if column in held else nullcontext():
            check_support(likelihood, x)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.bool, torch.float64])
def test_what_is_right_passes_whatever_its_type(kind: torch.dtype) -> None:
    for likelihood in (*UNIT, *COUNTS):
        check_support(likelihood, torch.tensor([[0, 1], [1, 0]]).to(kind))
        check_support(likelihood, torch.zeros(0, 2).to(kind))


def test_a_location_and_what_is_not_finite_are_left_alone() -> None:
    check_support(likelihoods.Gaussian(), torch.full((2, 2), -7.5))
    for likelihood in (likelihoods.Poisson(), likelihoods.BernoulliLogits()):
        check_support(likelihood, torch.tensor([[torch.nan, 1.0, torch.inf, -torch.inf]]))


def test_measures_refuse_them_too() -> None:
    x = torch.full((40, 4), 0.5)
    with pytest.raises(InputError, match=r"the data have 0.5, but Poisson\(\)"):
        importance_weighted_nll(model(), x, likelihoods.Poisson(), samples=2, generator=torch.Generator())
    with pytest.raises(InputError, match=r"the data have 0.5, but Poisson\(\)"):
        inspect(model(), x, likelihood=likelihoods.Poisson())


def test_it_can_be_switched_off() -> None:
    with curvature.unchecked():
        check_support(likelihoods.Poisson(), torch.full((2, 2), -7.5))


def test_on_an_accelerator_ever_fewer_batches_wait_for_the_answer() -> None:
    """The meta device stands for one: it has no values to look at."""

    class Counting(likelihoods.Poisson):
        seen = 0

        def check(self, x: torch.Tensor) -> None:
            self.seen += 1

    likelihood = Counting()
    for _ in range(100):
        check_support(likelihood, torch.zeros(2, 2, device="meta"))
    assert likelihood.seen == 7  # 1, 2, 4, …, 64


def test_transforms_of_an_objective_go_on() -> None:
    objective, at = objectives.BetaVAE(0.2, likelihoods.BernoulliLogits()), model()
    z = torch.randn(3, 2)

    def loss(z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        check_support(objective.likelihood, x)
        return objective.likelihood.nll(at.decode(z[None]), x[None])[0]

    assert torch.func.vmap(loss)(z, torch.rand(3, 4)).shape == (3,)


def test_rounding_of_a_scaler_passes_where_the_formulas_bear_it() -> None:
    x = torch.tensor([[1 + 2**-20, -(2**-20), 1.0, 0.0]])
    for likelihood in UNIT[1:]:
        assert OBJECTIVES["grae"](likelihood)(model(False), x).total.isfinite().all()
    with pytest.raises(InputError, match=r"^the data have 1\.00000095\d*, but Bernoulli\(\) is for"):
        UNIT[0].check(x)


@pytest.mark.parametrize("likelihood", [UNIT[1], COUNTS[0]], ids=str)
def test_tensors_without_values_pass(likelihood: Likelihood) -> None:
    """As those of a model on the meta device, or under PyTorch's fake tensors, whose shapes alone are asked for."""
    with torch.device("meta"):
        assert objectives.BetaVAE(0.2, likelihood)(model(), torch.rand(5, 4)).total.shape == (5,)
    with FakeTensorMode():
        assert objectives.BetaVAE(0.2, likelihood)(model(), torch.rand(5, 4)).total.shape == (5,)


@dataclasses.dataclass
class Own(likelihoods.Poisson):
    """A dataclass that compares, and so has no hash."""

    scale: float = 1.0
    seen: ClassVar[int] = 0

    def check(self, x: torch.Tensor) -> None:
        type(self).seen += 1
        super().check(x)


def test_an_observation_model_without_a_hash_is_told_by_itself() -> None:
    Own.seen = 0
    one, same = Own(), Own()
    assert one == same
    for likelihood in (one, same):
        for _ in range(5):
            check_support(likelihood, torch.zeros(2, 2, device="meta"))
    assert Own.seen == 6  # 1, 2, 4 of each
    dead, alive = weakref.ref(one), len(looks._calls)
    del one, likelihood
    gc.collect()
    assert dead() is None
    assert len(looks._calls) == alive - 1


def test_a_run_looks_at_its_data_once() -> None:
    Own.seen = 0
    likelihood, x = Own(), torch.poisson(torch.ones(40, 4))
    objective = objectives.GRAE(0.2, likelihood, posteriors.Diagonal())
    fit(model(False), x, objective, steps=3, batch_size=8, device="cpu", progress=False)
    few = Own.seen
    fit(model(False), x, objective, steps=9, batch_size=8, device="cpu", progress=False)
    assert Own.seen == 2 * few
    x[-1, -1] = 0.5
    for wrong in (x, x.flip(0)):
        with pytest.raises(InputError, match=r"^data: the data have 0.5, but Own\(scale=1.0\) is for counts"):
            fit(model(False), wrong, objective, steps=3, batch_size=8, device="cpu", progress=False)
    with known_to_fit(likelihood), pytest.raises(InputError, match="the data have 0.5"):
        objectives.GRAE(0.2, likelihoods.Poisson(), posteriors.Diagonal())(model(False), x)


def test_measures_can_be_left_unchecked() -> None:
    x = torch.full((40, 4), 0.5)
    with curvature.unchecked():
        found = importance_weighted_nll(model(), x, likelihoods.Poisson(), samples=2, generator=torch.Generator())
        assert found.nll.isfinite().all()
        assert inspect(model(), x, likelihood=likelihoods.Poisson()).trace > 0
