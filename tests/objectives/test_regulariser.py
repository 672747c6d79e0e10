"""The penalty alone against GRAE's closed forms by reverse mode, and inside a foreign training step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import curvae
from curvae import Autoencoder
from curvae.curvature import Columns, Estimator, Exact, Fraction, Lanczos, Secants, Signs, Trace
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood, Poisson
from curvae.objectives import GRAE, RAE, regulariser
from curvae.posteriors import BlockDiagonal, Full, Structure

BETA = 0.3


@pytest.fixture
def decoder(float64: None) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 6))


@pytest.mark.parametrize("likelihood", [Gaussian(0.7), BernoulliLogits()], ids=str)
@pytest.mark.parametrize("structure", [None, BlockDiagonal(2)], ids=str)
def test_exact_is_the_log_determinant(
    decoder: nn.Module, likelihood: Likelihood, structure: Structure | None, dense_curvature: Callable[..., Tensor]
) -> None:
    z, x = torch.randn(3, 4), torch.rand(3, 6)
    found = regulariser(decoder, z, BETA, estimator=Exact(), structure=structure, likelihood=likelihood, x=x)
    m = torch.eye(4) + dense_curvature(decoder, z, x, likelihood) / BETA
    blocks = [m] if structure is None else [m[:, :2, :2], m[:, 2:, 2:]]
    expected = sum(BETA / 2 * torch.logdet(block) for block in blocks)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value.sum(), list(decoder.parameters())[:3]) for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_one_column_is_unbiased_for_the_bound(decoder: nn.Module, dense_curvature: Callable[..., Tensor]) -> None:
    z = torch.randn(2, 4)
    diagonal = dense_curvature(decoder, z, torch.zeros(2, 6), Gaussian()).diagonal(dim1=1, dim2=2)
    expected = BETA / 2 * (1 + diagonal / BETA).log().sum(1)
    generator = torch.Generator().manual_seed(0)
    many = z.repeat_interleave(4000, 0)
    found = regulariser(decoder, many, BETA, generator=generator).view(2, 4000)
    error = found.std(1) / 4000**0.5
    assert ((found.mean(1) - expected).abs() < 5 * error).all()


@pytest.mark.parametrize(
    "estimator",
    [Columns(2), Exact(), Lanczos(4), Trace(), Fraction(Columns(1), 0.5), Fraction(Exact(), 0.5)],
    ids=str,
)
def test_the_output_comes_with_it(decoder: nn.Module, estimator: curvae.curvature.Estimator) -> None:
    z = torch.randn(6, 4)
    draw = lambda output: regulariser(  # noqa: E731
        decoder, z, 50.0, estimator=estimator, generator=torch.Generator().manual_seed(1), output=output
    )
    penalty, eta = draw(True)
    torch.testing.assert_close(eta, decoder(z))
    torch.testing.assert_close(penalty, draw(False))


def test_accumulated_halves_are_one_step(decoder: nn.Module) -> None:
    z = torch.randn(6, 4)
    whole = torch.autograd.grad(
        curvae.regulariser(decoder, z, BETA, estimator=Exact()).mean(), list(decoder.parameters())[:3]
    )
    for half in z.chunk(2):
        (curvae.regulariser(decoder, half, BETA, estimator=Exact()).mean() / 2).backward()
    torch.testing.assert_close([p.grad for p in list(decoder.parameters())[:3]], list(whole))


def test_under_autocast_it_stays_near_full_precision() -> None:
    torch.manual_seed(0)
    decoder, z = nn.Sequential(nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 8)), torch.randn(16, 4)
    exact = regulariser(decoder, z, BETA, estimator=Exact())
    with torch.autocast("cpu", torch.bfloat16):
        rough = regulariser(decoder, z, BETA, estimator=Exact())
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.01)


@pytest.mark.parametrize(
    "estimator", [Exact(), Columns(2), Secants(1), Lanczos(3), Trace(Signs(2)), Trace(Signs(2), step=0.1)], ids=repr
)
def test_codes_that_autocast_has_made(estimator: Estimator) -> None:
    """They are in half precision, as an encoder under autocast gives them; the penalty is not."""
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(6, 4), nn.Sequential(nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 8))
    x = torch.randn(16, 6)

    def value(codes: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            z = codes(encoder(x))
            found, eta = regulariser(decoder, z, BETA, estimator=estimator, generator=_generator(), output=True)
        assert z.dtype == codes(torch.zeros(1, dtype=torch.bfloat16)).dtype
        return found, eta, *torch.autograd.grad(found.sum() + eta.sum(), encoder.parameters())

    half, full = value(lambda z: z), value(torch.Tensor.float)
    assert {part.dtype for part in half} == {torch.float32}
    torch.testing.assert_close(half, full, rtol=0, atol=0)


@pytest.mark.parametrize("objective", [GRAE(BETA, estimator=Lanczos(3)), RAE(1.0, 1.0)], ids=repr)
def test_a_model_of_ones_own_under_autocast(objective: GRAE | RAE) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.posterior = self.encode = nn.Linear(6, 4)
            self.decode = nn.Linear(4, 6)

    torch.manual_seed(0)
    model, x = Model(), torch.randn(16, 6)
    with torch.autocast("cpu", torch.bfloat16):
        terms, codes = objective(model, x, _generator()), model.encode(x)  # type: ignore[arg-type]
    assert {part.dtype for part in terms.parts.values()} == {torch.float32}
    weight = getattr(objective, "encoder_weight", BETA)
    torch.testing.assert_close(terms["prior"], 0.5 * weight * codes.float().square().sum(1))


@pytest.mark.parametrize("objective", [GRAE(BETA, Poisson(), decoder_weight=0.0), RAE(1.0, 0.0, Poisson())], ids=repr)
def test_an_ordinary_autoencoder_under_autocast(objective: GRAE | RAE) -> None:
    """Its nll is computed in float32, of outputs in half precision."""
    torch.manual_seed(0)
    model, x = Autoencoder(nn.Linear(50, 4), nn.Linear(4, 50), latents=4), torch.arange(400.0).view(8, 50) % 7
    with torch.autocast("cpu", torch.bfloat16):
        terms, eta = objective(model, x), model.decode(model.encode(x))
    assert eta.dtype == torch.bfloat16
    torch.testing.assert_close(terms["nll"].double(), Poisson().nll(eta.double(), x.double()), rtol=1e-6, atol=1e-5)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_bad_arguments_in_one_line(decoder: nn.Module) -> None:
    z = torch.randn(3, 4)
    with pytest.raises(InputError, match=r"^x is missing; BernoulliLogits\(\) needs the observations"):
        regulariser(decoder, z, BETA, likelihood=BernoulliLogits())
    for wrong in (torch.rand(1, decoder(z).shape[1]), torch.rand(3, 1)):  # which would broadcast
        with pytest.raises(InputError, match=r"^the decoder's output has shape .* but the data has"):
            regulariser(decoder, z, BETA, likelihood=BernoulliLogits(), x=wrong)
    with pytest.raises(InputError, match=r"^beta is 0.0; expected a finite number > 0"):
        regulariser(decoder, z, 0.0)
    with pytest.raises(InputError, match=r"^Columns estimates the penalty of Diagonal"):
        regulariser(decoder, z, BETA, structure=Full())


def test_names_numbers_and_half_precision_are_refused(decoder: nn.Module, as_shipped: None) -> None:
    z = torch.randn(3, 4)
    with pytest.raises(InputError, match=r"^estimator is 'columns'; expected one of curvae.curvature"):
        regulariser(decoder, z, BETA, estimator="columns")  # type: ignore[call-overload]
    for build in (Lanczos, lambda depth, probes: Trace(probes)):
        with pytest.raises(InputError, match=r"^probes is 1; expected a way to draw them, such as Signs\(4\)"):
            build(8, 1)
    half = nn.Linear(4, 3).bfloat16()
    for given in (half, lambda z: half(z)):
        with pytest.raises(InputError, match=r"^the decoder's weights are torch.bfloat16, too coarse; call .float"):
            regulariser(given, z.bfloat16(), BETA)


@pytest.mark.parametrize(
    "estimator",
    [Columns(2), Exact(), Lanczos(2), Trace(), Secants(2), Fraction(Columns(1), 0.5), Fraction(Exact(), 0.5)],
    ids=str,
)
def test_an_empty_batch_has_no_penalties_and_empty_latents_are_refused(
    decoder: nn.Module, estimator: curvae.curvature.Estimator
) -> None:
    assert regulariser(decoder, torch.zeros(0, 4), BETA, estimator=estimator).shape == (0,)
    with pytest.raises(InputError, match="at least one latent"):
        regulariser(lambda z: z.sum(1, keepdim=True), torch.zeros(3, 0), BETA, estimator=estimator)


@pytest.mark.parametrize("estimator", [Columns(1), Exact(), Lanczos(2), Trace(), Secants(1)], ids=str)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex128], ids=str)
def test_an_output_that_is_no_real_number_is_refused(
    decoder: nn.Module, estimator: curvae.curvature.Estimator, dtype: torch.dtype
) -> None:
    with pytest.raises(InputError, match=f"a tensor of {dtype}; expected floating-point"):
        regulariser(lambda z: decoder(z).to(dtype), torch.randn(3, 4), BETA, estimator=estimator)


@pytest.mark.parametrize(("wrap", "part"), [(lambda y: {"sample": y}, r"\['sample'\]"), (lambda y: (y,), r"\[0\]")])
def test_a_decoder_with_several_outputs_is_answered_with_how_to_take_one(wrap: Callable, part: str) -> None:
    layer = torch.nn.Linear(2, 3)
    with pytest.raises(InputError, match=rf"e\.g\. lambda z: decoder\(z\){part}, or Autoencoder"):
        regulariser(lambda z: wrap(layer(z)), torch.randn(4, 2), BETA)
