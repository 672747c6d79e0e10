"""Gradients of a decoder's derivatives that do not exist are refused, and no others."""

import io

import pytest
import torch
from torch import Tensor, nn

from curvae import Autoencoder, curvature, objectives, posteriors, regulariser
from curvae.curvature.hessian import hessian_products
from curvae.errors import DerivativeError
from curvae.forward.pushforward import pushforward
from curvae.likelihoods import Gaussian

pytestmark = pytest.mark.usefixtures("float64")

B, D = 6, 4


class Spectrum(nn.Module):
    """Eigenvalues that meet at z = 0 alone, for whatever weights."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, D, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        y = self.linear(z)
        return torch.linalg.eigvalsh(torch.diag_embed(y) + y.unsqueeze(-1) * y.unsqueeze(-2) + torch.eye(D).to(y))


def _model(decoder: nn.Module, structure: posteriors.Structure | None, at_zero: bool) -> Autoencoder:
    model = Autoencoder(nn.Linear(D, 8), decoder, 2, structure)
    if at_zero:
        assert isinstance(model.mean_head, nn.Linear)
        nn.init.zeros_(model.mean_head.weight)
        nn.init.zeros_(model.mean_head.bias)
    return model


OBJECTIVES = [
    objectives.GRAE(0.5),
    objectives.GRAE(0.5, structure=posteriors.Diagonal(), estimator=curvature.Columns(1)),
    objectives.GRAE(0.5, estimator=curvature.Lanczos(2)),
    objectives.Taylor(0.5),
    objectives.RAE(0.5),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_equal_eigenvalues_have_no_second_derivatives(objective: objectives.Objective) -> None:
    structure = posteriors.Diagonal() if isinstance(objective, objectives.Taylor) else None
    total = objective(_model(Spectrum(), structure, True), torch.randn(B, D), torch.Generator()).total.mean()
    assert total.isfinite()
    with pytest.raises(DerivativeError, match=r"^the gradient of the decoder's derivatives is not finite where .*eigv"):
        total.backward()
    model = _model(Spectrum(), structure, False)
    objective(model, torch.randn(B, D), torch.Generator()).total.mean().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


def test_codes_without_a_gradient() -> None:
    decoder = Spectrum()
    penalty = regulariser(decoder, torch.zeros(B, 2), 0.5)
    with pytest.raises(DerivativeError, match="no second derivative"):
        penalty.sum().backward()
    with curvature.unchecked():
        penalty = regulariser(decoder, torch.zeros(B, 2), 0.5)
    penalty.sum().backward()
    assert decoder.linear.weight.grad is not None
    assert decoder.linear.weight.grad.isnan().any()
    assert not regulariser(lambda z: 3 * z, torch.zeros(B, 2), 0.5).requires_grad


def test_who_cleans_gradients_himself_is_told_how() -> None:
    decoder, z = Spectrum(), torch.zeros(B, 2, requires_grad=True)
    for leaf in (z, decoder.linear.weight):
        leaf.register_hook(torch.nan_to_num)
    with pytest.raises(DerivativeError, match=r"curvature.unchecked\(\) switches this check off$"):
        regulariser(decoder, z, 0.5).sum().backward()
    with curvature.unchecked():
        penalty = regulariser(decoder, z, 0.5)
    penalty.sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in (z, decoder.linear.weight))


def test_results_without_a_gradient_have_none() -> None:
    """Of a decoder whose weights are fixed in a model that trains the rest, and of codes made in inference mode."""
    model = Autoencoder(nn.Linear(D, 8), nn.Sequential(nn.Linear(2, D), nn.Tanh()), 2)
    model.decoder.requires_grad_(False)
    x, z, tangents = torch.randn(B, D), torch.randn(B, 2), torch.randn(B, 2, 2)
    results = [
        *pushforward(model.decode, z, tangents),
        *hessian_products(model.decode, z, x, Gaussian(), tangents),
        curvature.Operator(model.decode, z, x, Gaussian()).root(tangents),
    ]
    assert not any(result.requires_grad for result in results)
    model.decoder.requires_grad_(True)
    assert all(result.requires_grad for result in pushforward(model.decode, z, tangents))
    model.decoder.requires_grad_(False)
    with torch.inference_mode():
        made = z.clone()
    assert not pushforward(model.decode, made, tangents)[1].requires_grad


def test_half_precision_overflows_on_purpose() -> None:
    """A scaler halves its scale where gradients overflow."""
    decoder = nn.Sequential(nn.Linear(2, 30), nn.Tanh(), nn.Linear(30, D)).float()
    with torch.no_grad():
        decoder[2].weight.fill_(100.0)
    z, scaler = torch.randn(B, 2, requires_grad=True, dtype=torch.float32), torch.amp.GradScaler("cpu", 2.0**14)
    optimiser = torch.optim.SGD(decoder.parameters())
    with torch.autocast("cpu", torch.float16):
        eta = pushforward(decoder, z, torch.randn(B, 2, 1, dtype=torch.float32))[0]
        loss = eta.float().mean()
    scaler.scale(loss).backward()
    assert not decoder[0].weight.grad.isfinite().all()
    scaler.step(optimiser)
    scaler.update()
    assert scaler.get_scale() == 2.0**13


def test_a_result_may_be_saved(recwarn: pytest.WarningsRecorder) -> None:
    torch.save(pushforward(torch.sin, torch.ones(B, 2, requires_grad=True), torch.ones(B, 2, 1))[0], io.BytesIO())
    assert not recwarn.list


def test_a_sample_that_is_not_finite_is_not_refused() -> None:
    """Its loss shows it, and so does its gradient."""
    model, x = _model(nn.Sequential(nn.Linear(2, D), nn.Tanh()), None, False), torch.randn(B, D)
    x[1, 2] = torch.nan
    for objective in OBJECTIVES[:3]:
        total = objective(model, x, torch.Generator()).total
        assert total.isnan().sum() == 1
        total.sum().backward()
        total = objective(model, x.nan_to_num(), torch.Generator()).total
        (total.sum() * torch.inf).backward()  # as where a loss is scaled too far
