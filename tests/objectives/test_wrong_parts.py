"""What is handed to an objective in the place of something else is named in one line."""

import re
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from curvae import Autoencoder, curvature, geometry, inspect, likelihoods, metrics, objectives, posteriors, regulariser
from curvae.errors import DerivativeError, InputError

pytestmark = pytest.mark.usefixtures("as_shipped")
DECODER = nn.Linear(2, 3)
MODEL = Autoencoder(nn.Linear(3, 2), DECODER, latents=2)
X, Z = torch.rand(4, 3), torch.rand(4, 2)
OBJECTIVES = {
    "BetaVAE": objectives.BetaVAE,
    "Taylor": objectives.Taylor,
    "GRAE": objectives.GRAE,
    "RAE": objectives.RAE,
    "Implied": lambda *given, **named: metrics.Implied(MODEL, *given, **named),
    "regulariser": lambda *given, **named: regulariser(DECODER, Z, *given, estimator=curvature.Exact(), **named),
    "evaluate": lambda beta, **named: metrics.evaluate(
        MODEL,
        X,
        beta,
        **{"likelihood": likelihoods.Gaussian(), "structure": posteriors.Full(), **named},
        generator=torch.Generator(),
    ),
}
OTHERS = {
    "Linearised": partial(curvature.Linearised, DECODER, Z, X),
    "Operator": partial(curvature.Operator, DECODER, Z, X),
    "gauss_newton": partial(curvature.gauss_newton, DECODER, Z, X),
    "hessian": partial(curvature.hessian, DECODER, Z, X),
    "principal_basis": partial(curvature.principal_basis, DECODER, Z, X),
    "pullback": partial(geometry.pullback, DECODER, Z),
    "inspect": lambda likelihood: inspect(MODEL, X, likelihood=likelihood),
    "at_unit_beta": lambda likelihood: metrics.at_unit_beta(likelihood, 0.2),
    "importance_weighted_nll": lambda likelihood: metrics.importance_weighted_nll(
        MODEL, X, likelihood, samples=2, generator=torch.Generator()
    ),
}
STRUCTURED = ("GRAE", "Implied", "regulariser", "evaluate")


@pytest.mark.parametrize("name", [*OBJECTIVES, *OTHERS])
@pytest.mark.parametrize(
    "wrong", ["bernoulli", likelihoods.Bernoulli, posteriors.Full(), ""], ids=["name", "class", "other", "empty"]
)
def test_no_likelihood(name: str, wrong: object) -> None:
    with pytest.raises(InputError, match=r"^likelihood is [^\n]*; expected one of curvae.likelihoods[^\n]*$"):
        OTHERS[name](wrong) if name in OTHERS else OBJECTIVES[name](0.2, likelihood=wrong)


@pytest.mark.parametrize("name", [*STRUCTURED, "Autoencoder"])
@pytest.mark.parametrize("wrong", ["diagonal", posteriors.Diagonal, ""], ids=["name", "class", "empty"])
def test_no_structure(name: str, wrong: object) -> None:
    make = OBJECTIVES.get(name, lambda _, structure: Autoencoder(nn.Linear(3, 5), DECODER, 2, structure))
    with pytest.raises(InputError, match=r"^structure is [^\n]*; expected one of curvae.posteriors[^\n]*$"):
        make(0.2, structure=wrong)


def test_no_trace() -> None:
    with pytest.raises(InputError, match=r"^trace is Columns\(1\); expected curvature.Trace\(\)"):
        objectives.RAE(0.2, trace=curvature.Columns(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("network", [lambda x: x, nn.Linear, "decoder"], ids=["function", "class", "name"])
def test_networks_hold_their_weights(network: object) -> None:
    """The weights that a plain function closes over would not be among the model's, and never be trained."""
    with pytest.raises(InputError, match=r"^the encoder is [^\n]*; expected a torch.nn.Module"):
        Autoencoder(network, DECODER, latents=2, features=2)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^the decoder is [^\n]*; expected a torch.nn.Module"):
        Autoencoder(nn.Linear(3, 2), network, latents=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["BetaVAE", "Taylor", "GRAE", "RAE"])
@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(3, 2)), X, None], ids=["module", "data", "nothing"])
def test_no_model(name: str, model: object) -> None:
    with pytest.raises(InputError, match=rf"^the model is a {type(model).__name__}; expected curvae.Autoencoder"):
        OBJECTIVES[name](0.2)(model, X)


def test_no_generator() -> None:
    sampled = objectives.GRAE(0.2, structure=posteriors.Diagonal(), estimator=curvature.Columns(1))
    noisy = Autoencoder(nn.Linear(3, 5), DECODER, latents=2, structure=posteriors.Diagonal())
    for draw in (
        lambda: sampled(MODEL, X, 0),
        lambda: objectives.BetaVAE(0.2)(noisy, X, 0),
        lambda: MODEL.sample(2, 0),
    ):
        with pytest.raises(InputError, match=r"^generator is 0; expected a torch.Generator"):
            draw()


ESTIMATORS = [
    curvature.Columns(1),
    curvature.Exact(),
    curvature.Fraction(curvature.Exact(), 0.5),
    curvature.Secants(1),
    curvature.Trace(curvature.Signs(1), step=0.1),
    curvature.Lanczos(2),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize(
    "decoder",
    [lambda z: DECODER(z).mean(0), lambda z: DECODER(z).mean(0, keepdim=True), lambda z: DECODER(z)[:2], torch.sum],
    ids=["no batch axis", "one row", "some rows", "one number"],
)
def test_a_decoder_gives_a_row_for_each_sample(estimator: curvature.Estimator, decoder: object) -> None:
    """One row would be broadcast over the batch, and give a value."""
    shape = re.escape(str(tuple(decoder(Z).shape)))  # type: ignore[operator]
    with pytest.raises(InputError, match=rf"^the decoder returned shape {shape} for 4 samples; expected \[B, \*D\]"):
        regulariser(decoder, Z, 0.2, estimator=estimator)  # type: ignore[arg-type]


def test_probabilities_are_asked_for() -> None:
    objective, last = objectives.GRAE(0.2, likelihood=likelihoods.Bernoulli()), nn.Linear(3, 3)
    nn.init.constant_(last.bias, -5.0)
    model = Autoencoder(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 3), nn.ReLU(), last), 2)
    with pytest.raises(InputError, match=r"^the decoder's outputs go from [^\n]* end the decoder in a sigmoid"):
        objective(model, X.sigmoid())


def test_what_is_no_model_is_named_with_its_article() -> None:
    for wrong, kind in ((3, "an int"), ([], "a list")):
        with pytest.raises(InputError, match=rf"^the model is {kind}; expected"):
            objectives.GRAE(0.2)(wrong, X)


class Eigenvalues(nn.Module):
    """Two of them are equal, where PyTorch's second derivatives of them are not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvalsh(torch.diag_embed(self.linear(z) * torch.tensor([1.0, 1.0, 2.0])))


@pytest.mark.parametrize("kind", ["taylor", "grae"])
def test_second_derivatives_that_are_not_finite_are_one_line(kind: str) -> None:
    structure = posteriors.Diagonal() if kind == "taylor" else None
    model = Autoencoder(nn.Linear(3, 8), Eigenvalues(), 2, structure)
    made = objectives.Taylor if kind == "taylor" else objectives.GRAE
    with pytest.raises(DerivativeError, match="second derivatives are not finite .* use curvature 'gauss-newton'$"):
        made(5.0, curvature="hessian")(model, X)
    assert made(5.0)(model, X).total.isfinite().all()


@pytest.mark.parametrize("z", [torch.zeros(4, 2, dtype=torch.long), torch.zeros(4, 2) > 0, [[1.0, 2.0]]], ids=repr)
def test_codes_that_are_no_real_numbers_are_one_line(z: Any) -> None:
    for use in (lambda: regulariser(nn.Linear(2, 3), z, 0.2), lambda: curvature.jacobian(nn.Linear(2, 3), z)):
        with pytest.raises(InputError, match=r"^z is a (tensor of torch\.(int64|bool)|list); expected codes"):
            use()
