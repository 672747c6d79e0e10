"""Every number of an evaluation against a naive computation, in float64."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import hessian, jacrev, vmap

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Categorical, Gaussian, Likelihood, Masked, Mixed, Poisson, SizeFactors
from curvae.metrics import Estimate, Evaluation, evaluate
from curvae.nn import MLPDecoder, MLPEncoder
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64", "seed")

BETA, LATENTS, SHAPE = 0.3, 4, (2, 3)
STRUCTURES = [Diagonal(), BlockDiagonal(3), Full()]
LIKELIHOODS = [Gaussian(), Gaussian(0.5), BernoulliLogits(), Poisson()]


def make_model(structure: Structure | None) -> Autoencoder:
    model = Autoencoder(MLPEncoder(SHAPE, (16, 9)), MLPDecoder(LATENTS, SHAPE, (8, 16)), LATENTS, structure)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(2)
    return model


def mask(structure: Structure) -> torch.Tensor:
    """Which entries of a covariance the structure allows."""
    size = {"Diagonal()": 1, "BlockDiagonal(3)": 3, "Full()": LATENTS}[repr(structure)]
    block = torch.arange(LATENTS) // size
    return (block[:, None] == block).double()


def naive(model: Autoencoder, x: torch.Tensor, likelihood: Likelihood, structure: Structure) -> dict[str, Any]:
    """From Jacobians and Hessians by reverse mode, dense matrices and determinants; one sample at a time."""
    rows = []
    for sample in x:
        h = model.encode(sample[None])[0]
        eta = model.decode(h[None])[0]

        def nll(outputs: torch.Tensor, sample: torch.Tensor = sample) -> torch.Tensor:
            return likelihood.nll(outputs.reshape(1, *SHAPE), sample[None])[0]

        jacobian = jacrev(lambda z: model.decode(z[None])[0].flatten())(h)
        curvature = jacobian.T @ hessian(nll)(eta.flatten()) @ jacobian
        implied = torch.eye(LATENTS) + curvature / BETA
        inside = implied * mask(structure)
        sigma = inside.inverse() if model.structure is None else model.posterior(sample[None]).covariance()[0]
        kl = 0.5 * BETA * (h @ h + sigma.trace() - sigma.logdet() - LATENTS)
        value = nll(eta.flatten())
        prior = 0.5 * BETA * h @ h
        taylor = value + 0.5 * (curvature @ sigma).trace() + kl
        full = value + prior + 0.5 * BETA * implied.logdet()
        rows.append(
            {
                "reconstruction": value,
                "mse": (likelihood.mean(eta[None])[0] - sample).square().mean(),
                "taylor": taylor,
                "grae": value + prior + 0.5 * BETA * inside.logdet(),
                "grae_full": full,
                "penalty_exact": 0.5 * BETA * implied.diagonal().log().sum(),
                "alignment": (sigma.inverse() - implied).norm() / implied.norm(),
                "alignment_structure": (sigma.inverse() - inside).norm() / inside.norm(),
                "gap": taylor - full,
            }
        )
    return {name: torch.stack([row[name] for row in rows]).detach().numpy() for name in rows[0]}


def data_for(likelihood: Likelihood, count: int) -> torch.Tensor:
    return (
        torch.poisson(3 * torch.rand(count, *SHAPE)) if isinstance(likelihood, Poisson) else torch.rand(count, *SHAPE)
    )


@pytest.mark.covering
@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=repr)
@pytest.mark.parametrize("own", [True, False])
def test_every_deterministic_number(structure: Structure, likelihood: Likelihood, own: bool) -> None:
    model, x = make_model(structure if own else None), data_for(likelihood, 11)
    found = evaluate(model, x, BETA, likelihood, structure, generator=torch.Generator(), batch_size=4)
    for name, oracle in naive(model, x, likelihood, structure).items():
        estimate = getattr(found, name)
        assert estimate.mean == pytest.approx(oracle.mean(), rel=1e-9, abs=1e-12), name
        assert estimate.se == pytest.approx(oracle.std(ddof=1) / math.sqrt(11), rel=1e-7, abs=1e-10), name
    assert (found.data, found.beta, found.own_posterior) == (11, BETA, own)
    assert found.gap_error < 1e-12
    assert found.grae_full.mean <= found.grae.mean + 1e-12


@pytest.mark.parametrize(
    ("likelihood", "outputs", "x"),
    [
        (SizeFactors(Poisson()), 3, torch.tensor([[1.0, 0.0, 2.0, 0.5], [3.0, 1.0, 0.0, 4.0]])),
        (Mixed([(Gaussian(), 1), (Categorical(), 2, 6)]), 7, torch.tensor([[0.3, 2.0, 0.0], [1.0, 1.0, 2.0]])),
    ],
    ids=["size-factors", "classes"],
)
def test_data_of_another_shape_than_the_outputs(likelihood: Likelihood, outputs: int, x: torch.Tensor) -> None:
    model = Autoencoder(nn.Linear(x.shape[1], 2), nn.Linear(2, outputs), latents=2)
    x = x.double()
    found = evaluate(model, x, BETA, likelihood, Full(), generator=torch.Generator())
    expected = likelihood.squared_error(model.decode(model.encode(x)), x).mean()
    assert found.mse.mean == pytest.approx(float(expected.detach()), rel=1e-9)


@pytest.mark.cases(1)
@pytest.mark.parametrize("own", [True, False])
def test_beta_vae_is_its_expectation(own: bool) -> None:
    """With a linear decoder (2) in expectation is (7)."""
    encoder, decoder = nn.Linear(6, 8), nn.Linear(LATENTS, 6)
    model = Autoencoder(encoder, decoder, LATENTS, Full() if own else None)
    x = torch.rand(40, 6)
    found = evaluate(model, x, BETA, Gaussian(), Full(), generator=torch.Generator(), samples=1000)
    assert found.beta_vae.mean == pytest.approx(found.taylor.mean, rel=1e-2)
    assert found.beta_vae.mean != found.taylor.mean


def test_sampled_penalty_is_unbiased() -> None:
    model, x = make_model(None), torch.rand(2000, *SHAPE)
    found = evaluate(model, x, BETA, Gaussian(), Diagonal(), generator=torch.Generator().manual_seed(1))
    assert abs(found.penalty_difference.mean) < 5 * found.penalty_difference.se
    assert found.penalty_difference.se < 0.1 * found.penalty_exact.mean
    relative = (found.penalty_sampled.mean - found.penalty_exact.mean) / found.penalty_exact.mean
    assert found.penalty_relative_difference == pytest.approx(relative)


def test_more_columns_say_more() -> None:
    model, x = make_model(None), torch.rand(500, *SHAPE)
    one, many = (
        evaluate(model, x, BETA, Gaussian(), Diagonal(), generator=torch.Generator().manual_seed(1), columns=k)
        for k in (1, 16)
    )
    assert many.penalty_difference.se < 0.5 * one.penalty_difference.se


def test_alignment_of_a_deterministic_model_is_perfect_for_full_only() -> None:
    model, x = make_model(None), torch.rand(9, *SHAPE)
    full, diagonal = (
        evaluate(model, x, BETA, Gaussian(), structure, generator=torch.Generator())
        for structure in (Full(), Diagonal())
    )
    assert full.alignment.mean < 1e-12
    assert full.alignment_correlation == pytest.approx(1.0)
    assert diagonal.alignment.mean > 0.01
    assert diagonal.alignment_correlation is None
    assert diagonal.alignment_structure.mean < 1e-12


def test_examples_are_the_first_data() -> None:
    model, x = make_model(Full()), torch.rand(9, *SHAPE)
    found = evaluate(model, x, BETA, Gaussian(), Full(), generator=torch.Generator(), batch_size=2, examples=3)
    assert found.examples is not None
    np.testing.assert_allclose(found.examples.x, x[:3])
    oracle = model.posterior(x[:3]).covariance().inverse().detach()
    np.testing.assert_allclose(found.examples.precision, oracle, rtol=1e-9)
    jacobian = vmap(jacrev(lambda z: model.decode(z[None])[0].flatten()))(model.encode(x[:3])).detach()
    np.testing.assert_allclose(found.examples.implied, torch.eye(LATENTS) + jacobian.mT @ jacobian / BETA, rtol=1e-9)


def test_batches_do_not_matter_and_mode_is_given_back() -> None:
    decoder = nn.Sequential(nn.Linear(LATENTS, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, 6))
    model = Autoencoder(nn.Linear(6, 8), decoder, LATENTS)
    model.train()
    x, seen = torch.rand(10, 6), []
    found = [
        evaluate(model, x, BETA, Gaussian(), Full(), generator=torch.Generator(), batch_size=size, progress=seen.append)
        for size in (3, 10)
    ]
    assert model.training
    assert seen == [3, 6, 9, 10, 10]
    assert found[0].taylor.mean == pytest.approx(found[1].taylor.mean, rel=1e-12)
    assert found[0].grae.mean == pytest.approx(found[1].grae.mean, rel=1e-12)


def test_the_generator_decides() -> None:
    model, x = make_model(Full()), torch.rand(9, *SHAPE)
    one, again, other = (
        evaluate(model, x, BETA, Gaussian(), Full(), generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one.beta_vae != other.beta_vae


def test_pixels_are_scaled() -> None:
    model = make_model(None).float()
    pixels = torch.randint(0, 256, (6, *SHAPE), dtype=torch.uint8)
    found = [
        evaluate(model, data, BETA, Gaussian(), Full(), generator=torch.Generator())
        for data in (pixels, pixels.float() / 255)
    ]
    assert found[0].reconstruction.mean == pytest.approx(found[1].reconstruction.mean, rel=1e-6)


def test_json_both_ways() -> None:
    found = evaluate(make_model(Full()), torch.rand(5, *SHAPE), BETA, Gaussian(), Full(), generator=torch.Generator())
    again = Evaluation.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found
    assert again.examples is None
    assert isinstance(again.taylor, Estimate)


def test_of_a_single_sample_no_error_is_known() -> None:
    found = evaluate(make_model(Full()), torch.rand(1, *SHAPE), BETA, Gaussian(), Full(), generator=torch.Generator())
    assert found.taylor.se is None
    assert Evaluation.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_sample_of_which_nothing_was_observed_has_no_squared_error() -> None:
    model, x, nothing = make_model(None), torch.rand(5, *SHAPE), torch.full((3, *SHAPE), math.nan)
    x[0, 0, 1] = math.nan
    model.encode = lambda data: torch.zeros(len(data), LATENTS)  # type: ignore[method-assign]
    given: Any = (BETA, Masked(Gaussian()), Full())
    found = evaluate(model, torch.cat([x, nothing]), *given, generator=torch.Generator())
    error = (model.decode(torch.zeros(5, LATENTS)).detach() - x).square().flatten(1).nanmean(1)
    assert found.mse.mean == pytest.approx(float(error.mean()))
    assert found.data == 8
    with pytest.raises(InputError, match="^all of these data are missing"):
        evaluate(model, nothing, *given, generator=torch.Generator())


@pytest.mark.parametrize("missing", ["data", "taylor", "gap_error"])
def test_json_with_a_hole(missing: str) -> None:
    found = evaluate(make_model(None), torch.rand(5, *SHAPE), BETA, Gaussian(), Full(), generator=torch.Generator())
    values = found.to_json()
    del values[missing]
    with pytest.raises(InputError, match=missing):
        Evaluation.from_json(values)


@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize(
    "changes", [{"beta": 0.0}, {"beta": math.nan}, {"samples": 0}, {"columns": 0}, {"batch_size": 0}]
)
def test_bad_arguments(changes: dict[str, Any]) -> None:
    arguments = {"beta": BETA, "generator": torch.Generator()} | changes
    with pytest.raises(InputError, match="expected"):
        evaluate(make_model(None), torch.rand(5, *SHAPE), likelihood=Gaussian(), structure=Full(), **arguments)


def test_no_data() -> None:
    with pytest.raises(InputError, match="no samples"):
        evaluate(make_model(None), torch.rand(0, *SHAPE), BETA, Gaussian(), Full(), generator=torch.Generator())


def test_a_model_that_gives_no_numbers() -> None:
    model = make_model(None)
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(math.nan)
    with pytest.raises(InputError, match="are not finite"):
        evaluate(model, torch.rand(5, *SHAPE), BETA, Gaussian(), Full(), generator=torch.Generator())
