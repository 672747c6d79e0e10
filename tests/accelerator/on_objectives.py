"""A step there: the same numbers as on a CPU, without waiting for the device, and inside a CUDA graph."""

import copy
from typing import Any

import pytest
import torch
from device import NAME, Accelerator
from torch import nn

from curvae import Autoencoder, curvature, likelihoods, objectives, posteriors
from curvae.errors import DerivativeError

D = 4
DIAGONAL, BLOCK, FULL, BANDED = (
    posteriors.Diagonal(), posteriors.BlockDiagonal(2), posteriors.Full(), posteriors.Banded(1)
)  # fmt: skip
GRAE, BetaVAE, Taylor = objectives.GRAE, objectives.BetaVAE, objectives.Taylor
COLUMNS, SECANTS, EXACT = curvature.Columns(1), curvature.Secants(1), curvature.Exact()
WITHOUT_NOISE = [
    (DIAGONAL, EXACT), (DIAGONAL, COLUMNS), (DIAGONAL, SECANTS), (DIAGONAL, curvature.Secants(2, central=True)),
    (DIAGONAL, curvature.Fraction(EXACT, 1 / 2)), (DIAGONAL, curvature.Fraction(COLUMNS, 1 / 2)),
    (DIAGONAL, curvature.Fraction(SECANTS, 1 / 2)), (BLOCK, EXACT), (BLOCK, COLUMNS), (BANDED, EXACT), (FULL, EXACT),
    (FULL, curvature.Lanczos(3, curvature.Signs(2))), (FULL, curvature.Fraction(EXACT, 1 / 2)),
]  # fmt: skip
MODELS = [
    likelihoods.Gaussian(0.5), likelihoods.BernoulliLogits(), likelihoods.Poisson(), likelihoods.ContinuousBernoulli(),
    likelihoods.StudentT(3.0), likelihoods.NegativeBinomial(2.0), likelihoods.Masked(likelihoods.Gaussian()),
]  # fmt: skip
# each waits for one answer: whether a Gram matrix is too badly conditioned for a Cholesky factor
ONE_ANSWER = {str(each) for each in (BLOCK, FULL)}


def networks(convolutional: bool) -> tuple[nn.Module, nn.Module, tuple[int, ...]]:
    if not convolutional:
        decoder = nn.Sequential(nn.Linear(D, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 10))
        return nn.Sequential(nn.Linear(10, 8), nn.Tanh()), decoder, (10,)
    encoder = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8))
    decoder = nn.Sequential(
        nn.Linear(D, 64), nn.Unflatten(1, (4, 4, 4)), nn.BatchNorm2d(4), nn.SiLU(), nn.ConvTranspose2d(4, 1, 4, 2, 1)
    )
    return encoder, decoder, (1, 8, 8)


def made(objective: Any, structure: Any, convolutional: bool) -> tuple[Autoencoder, torch.Tensor]:
    encoder, decoder, shape = networks(convolutional)
    own = structure if isinstance(objective, BetaVAE | Taylor) else None
    return Autoencoder(encoder, decoder, latents=D, structure=own), torch.rand(6, *shape).round()


def cases() -> list[Any]:
    """Every observation model, and every structure and estimator."""
    found = []
    for likelihood in MODELS:
        found.append((BetaVAE(0.2, likelihood=likelihood, samples=2, antithetic=True), DIAGONAL, False))
        found.append((Taylor(0.2, likelihood=likelihood, curvature="hessian"), FULL, False))
        found.append((GRAE(0.2, likelihood=likelihood, structure=BLOCK, estimator=COLUMNS), BLOCK, False))
    found += [(BetaVAE(0.2), structure, True) for structure in (DIAGONAL, BLOCK, FULL, BANDED)]
    found += [
        (GRAE(0.2, structure=structure, estimator=estimator), structure, True) for structure, estimator in WITHOUT_NOISE
    ]
    return found


@pytest.mark.parametrize(("objective", "structure", "convolutional"), cases(), ids=str)
def test_a_step_is_that_of_a_cpu(objective: Any, structure: Any, convolutional: bool, accelerator: Accelerator) -> None:
    model, x = made(objective, structure, convolutional)
    near = copy.deepcopy(model)
    torch.manual_seed(1)
    expected = objective(near, x)
    expected.mean().backward()

    model.to(NAME)
    torch.manual_seed(1)
    found = objective(model, x.to(NAME))
    found.mean().backward()

    assert found.total.device.type == NAME
    torch.testing.assert_close(found.total.detach().cpu(), expected.total.detach(), rtol=1e-4, atol=1e-5)
    for one, other in zip(model.parameters(), near.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            assert one.grad.device.type == NAME
            torch.testing.assert_close(one.grad.cpu(), other.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("objective", "structure"),
    [(BetaVAE(0.2), DIAGONAL), (BetaVAE(0.2), FULL), (Taylor(0.2), DIAGONAL)]
    + [
        (GRAE(0.2, structure=structure, estimator=estimator), structure)
        for structure, estimator in WITHOUT_NOISE
        if structure is not BANDED  # a search, which waits for each of its steps
    ],
    ids=str,
)
def test_a_step_does_not_wait_for_the_device_and_may_be_recorded(
    objective: Any, structure: Any, accelerator: Accelerator
) -> None:
    model, x = made(objective, structure, convolutional=True)
    model.to(NAME)
    x, generator = x.to(NAME), torch.Generator(NAME)
    for _ in range(4):
        objective(model, x, generator).mean().backward()
    accelerator.waits.clear()
    objective(model, x, generator).mean().backward()
    asks = isinstance(objective, GRAE) and str(structure) in ONE_ANSWER
    assert len(accelerator.waits) <= int(asks and not isinstance(objective.estimator, curvature.Lanczos))

    accelerator.recording = True
    found = objective(model, x, generator).mean()
    found.backward()
    accelerator.recording = False
    assert bool(found.isfinite())


def test_data_are_not_looked_at_while_a_graph_is_recorded(accelerator: Accelerator) -> None:
    model, x = made(BetaVAE(0.2), DIAGONAL, convolutional=False)
    model, x = model.to(NAME), x.to(NAME)
    objective = BetaVAE(0.2, likelihood=likelihoods.BernoulliLogits())
    for _ in range(3):  # the fourth batch would be looked at
        objective(model, x)
    accelerator.recording = True
    objective(model, x)


def test_passes_that_would_draw_different_noise_in_a_graph_are_refused(accelerator: Accelerator) -> None:
    decoder = nn.Sequential(nn.Linear(D, 8), nn.Dropout(0.5), nn.Linear(8, 10))
    model = Autoencoder(nn.Linear(10, 6), decoder, latents=D).to(NAME)
    x = torch.rand(6, 10).to(NAME)
    one, several = (GRAE(0.2, structure=DIAGONAL, estimator=each) for each in (COLUMNS, SECANTS))
    for objective in (one, several):
        objective(model, x)
    accelerator.recording = True
    one(model, x)
    with pytest.raises(DerivativeError, match="eval mode, or choose an estimator of one pass"):
        several(model, x)
    several(model.eval(), x)
