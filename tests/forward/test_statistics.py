"""Batch normalisation: the Jacobian of the deployed decoder, gradients of the training loss, statistics once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev
from torch.nn.modules.batchnorm import _BatchNorm

from curvae import Autoencoder, likelihoods, objectives, posteriors
from curvae.curvature import (
    Columns,
    Exact,
    FixedStatistics,
    Fraction,
    Lanczos,
    Linearised,
    Operator,
    hessian,
    jacobian,
    principal_basis,
    pushforward,
    unchecked,
)
from curvae.errors import InputError
from curvae.nn import MNISTDecoder, SameConvTranspose2d

pytestmark = pytest.mark.usefixtures("float64")

BATCH, LATENTS = 5, 3


def _dense(**options: object) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(LATENTS, 8), nn.BatchNorm1d(8, **options), nn.ELU(), nn.Linear(8, 6), nn.BatchNorm1d(6, **options)
    )


def _convolutional(**options: object) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(LATENTS, 4 * 4),
        nn.BatchNorm1d(16, **options),
        nn.Unflatten(1, (4, 2, 2)),
        SameConvTranspose2d(4, 3, 4, 2),
        nn.BatchNorm2d(3, **options),
        nn.ELU(inplace=True),
        nn.Conv2d(3, 2, 3, padding=1),
    )


def _shared() -> nn.Sequential:
    norm = nn.BatchNorm1d(7)
    return nn.Sequential(nn.Linear(LATENTS, 7), norm, nn.Tanh(), nn.Linear(7, 7), norm, nn.Linear(7, 2))


DECODERS: dict[str, Callable[[], nn.Sequential]] = {
    "dense": _dense,
    "convolutional": _convolutional,
    "momentum-none": lambda: _convolutional(momentum=None),
    "momentum-large": lambda: _dense(momentum=0.9, eps=0.1),
    "no-running": lambda: _convolutional(track_running_stats=False),
    "no-affine": lambda: _dense(affine=False),
    "sequence": lambda: nn.Sequential(nn.Linear(LATENTS, 12), nn.Unflatten(1, (3, 4)), nn.BatchNorm1d(3), nn.Tanh()),
    "volume": lambda: nn.Sequential(nn.Linear(LATENTS, 16), nn.Unflatten(1, (2, 2, 2, 2)), nn.BatchNorm3d(2), nn.ELU()),
    "shared": _shared,
}


@pytest.fixture(params=DECODERS.values(), ids=DECODERS.keys())
def decoder(request: pytest.FixtureRequest, seed: int) -> nn.Sequential:
    module = request.param()
    with torch.no_grad():
        for norm in (m for m in module if isinstance(m, _BatchNorm) and m.affine):
            norm.weight.copy_(torch.randn_like(norm.weight))
            norm.bias.copy_(torch.randn_like(norm.bias))
    return module


def _apply(
    layers: Iterable[nn.Module], h: Tensor, given: Iterator[tuple[Tensor, Tensor]] | None
) -> tuple[Tensor, list]:
    """The network in plain code, at given statistics or at the batch's own, which are returned."""
    seen = []
    for layer in layers:
        if isinstance(layer, _BatchNorm):
            dims = [0, *range(2, h.dim())]
            mean, variance = (h.mean(dims), h.var(dims, unbiased=False)) if given is None else next(given)
            seen.append((mean, variance))
            shape = (1, -1, *[1] * (h.dim() - 2))
            h = (h - mean.view(shape)) / (variance.view(shape) + layer.eps).sqrt()
            if layer.affine:
                h = h * layer.weight.view(shape) + layer.bias.view(shape)
        else:
            h = layer(h)
    return h, seen


def _reference(decoder: nn.Sequential, z: Tensor) -> tuple[Tensor, Tensor]:
    """Each sample's Jacobian at frozen statistics, which stay functions of the parameters and the batch."""
    eta, seen = _apply(decoder, z, None)
    alone = [jacrev(lambda p: _apply(decoder, p[None], iter(seen))[0][0])(sample) for sample in z]
    return eta, torch.stack(alone)


@pytest.mark.covering
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_train_mode_is_each_samples_jacobian_at_the_batchs_statistics(
    decoder: nn.Sequential, chunk_size: int | None
) -> None:
    z = torch.randn(BATCH, LATENTS, requires_grad=True)
    ordinary = copy.deepcopy(decoder)
    eta, got = pushforward(decoder, z, torch.eye(LATENTS).expand(BATCH, -1, -1), chunk_size)
    expected_eta, expected = _reference(decoder, z)
    torch.testing.assert_close(eta, expected_eta)
    torch.testing.assert_close(eta, ordinary(z))
    torch.testing.assert_close(got, expected)
    weight, eta_weight = torch.randn_like(got), torch.randn_like(eta)
    wrt = (z, *decoder.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((weight * got.square()).sum() + (eta_weight * eta).sum(), wrt, materialize_grads=True),
        torch.autograd.grad(
            (weight * expected.square()).sum() + (eta_weight * expected_eta).sum(), wrt, materialize_grads=True
        ),
    )


def test_differentiating_through_the_statistics_would_be_another_jacobian(seed: int) -> None:
    """The tests above can tell: with the statistics pushed along, each sample's own block is off by far more."""
    decoder, z = _dense(track_running_stats=False), torch.randn(BATCH, LATENTS)
    through = jacrev(decoder)(z)[torch.arange(BATCH), :, torch.arange(BATCH)]
    error = (jacobian(decoder, z) - through).norm() / through.norm()
    assert error > 0.1


@pytest.mark.covering
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_running_statistics_move_as_in_an_ordinary_pass(decoder: nn.Sequential, chunk_size: int | None) -> None:
    ordinary = copy.deepcopy(decoder)
    for _ in range(3):
        z = torch.randn(BATCH, LATENTS)
        jacobian(decoder, z, chunk_size)
        ordinary(z)
        for (name, got), expected in zip(decoder.named_buffers(), ordinary.buffers(), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12, msg=name)
            assert not got.requires_grad


def _normed_model() -> Autoencoder:
    encoder = nn.Sequential(nn.Linear(6, 7), nn.BatchNorm1d(7), nn.ELU(), nn.Linear(7, LATENTS))
    return Autoencoder(encoder, _dense(), latents=LATENTS, structure=posteriors.Full())


@pytest.mark.parametrize(
    "objective",
    [
        objectives.GRAE(beta=0.3),
        objectives.GRAE(beta=0.3, structure=posteriors.Diagonal(), estimator=Columns(2)),
        objectives.Taylor(beta=0.3),
        objectives.BetaVAE(beta=0.3),
    ],
    ids=["grae", "grae-columns", "taylor", "beta-vae"],
)
def test_one_step_of_an_objective_counts_the_batch_once(
    objective: objectives.GRAE | objectives.Taylor | objectives.BetaVAE, seed: int
) -> None:
    model, x = _normed_model(), torch.randn(BATCH, 6)
    ordinary = copy.deepcopy(model)
    objective(model, x).total.mean().backward()
    ordinary(x)  # encodes, and decodes the code
    expected = dict(ordinary.named_buffers())
    for name, got in model.named_buffers():
        noisy = isinstance(objective, objectives.BetaVAE) and name.startswith("decoder")  # it saw other codes
        if not noisy or name.endswith("num_batches_tracked"):
            torch.testing.assert_close(got, expected[name], msg=name)


ALONE: dict[str, Callable[[nn.Module, Tensor, Tensor], object]] = {
    "jacobian": lambda decoder, z, x: jacobian(decoder, z),
    "chunks": lambda decoder, z, x: jacobian(decoder, z, chunk_size=1),
    "hessian": lambda decoder, z, x: hessian(decoder, z, x, likelihoods.Gaussian()),
    "operator": lambda decoder, z, x: Operator(decoder, z, x, likelihoods.Gaussian()),
    "basis": lambda decoder, z, x: principal_basis(decoder, z, x, likelihoods.Gaussian()),
    "grae": lambda decoder, z, x: objectives.GRAE(0.3)(_around(decoder), x),
    "columns": lambda decoder, z, x: objectives.GRAE(0.3, structure=posteriors.Diagonal(), estimator=Columns(1))(
        _around(decoder), x
    ),
    "lanczos": lambda decoder, z, x: objectives.GRAE(0.3, estimator=Lanczos(2))(_around(decoder), x),
    "fraction": lambda decoder, z, x: objectives.GRAE(0.3, estimator=Fraction(Exact(), 0.5))(_around(decoder), x),
    "taylor": lambda decoder, z, x: objectives.Taylor(0.3)(_around(decoder, posteriors.Full()), x),
    "rae": lambda decoder, z, x: objectives.RAE(0.3)(_around(decoder), x),
}


def _around(decoder: nn.Module, structure: posteriors.Structure | None = None) -> Autoencoder:
    return Autoencoder(nn.Linear(6, 5), decoder, LATENTS, structure)


@pytest.mark.parametrize("look", [True, False], ids=["looked-at", "unchecked"])
@pytest.mark.parametrize("name", ALONE)
def test_one_value_for_each_channel_is_refused_as_by_pytorch(name: str, look: bool) -> None:
    decoder, z, x = _dense(), torch.randn(1, LATENTS), torch.randn(1, 6)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        copy.deepcopy(decoder)(z)
    before = copy.deepcopy(decoder.state_dict())
    with nullcontext() if look else unchecked(), pytest.raises(InputError, match="one value for each channel"):
        ALONE[name](decoder, z, x)
    if look:
        assert all(torch.equal(value, before[key]) for key, value in decoder.state_dict().items())
    ALONE[name](decoder.eval(), z, x)


def test_what_counts_is_values_not_data() -> None:
    with pytest.raises(InputError, match="one value for each channel"), FixedStatistics():
        nn.BatchNorm2d(3)(torch.randn(1, 3, 1, 1))
    assert torch.isfinite(jacobian(nn.Sequential(nn.Unflatten(1, (1, 3)), nn.BatchNorm1d(1)), torch.randn(1, 3))).all()


def test_eval_mode_is_the_folded_decoder(seed: int) -> None:
    decoder = _convolutional()
    for _ in range(5):
        decoder(torch.randn(20, LATENTS))
    decoder.eval()
    before = [b.clone() for b in decoder.buffers()]
    linear, norm1, unflatten, up, norm2, elu, last = decoder
    gain1 = norm1.weight / (norm1.running_var + norm1.eps).sqrt()
    gain2 = norm2.weight / (norm2.running_var + norm2.eps).sqrt()
    folded_linear, folded_up = copy.deepcopy(linear), copy.deepcopy(up)
    with torch.no_grad():
        folded_linear.weight.mul_(gain1[:, None])
        folded_linear.bias.copy_((linear.bias - norm1.running_mean) * gain1 + norm1.bias)
        folded_up.weight.mul_(gain2[None, :, None, None])
        folded_up.bias.copy_((up.bias - norm2.running_mean) * gain2 + norm2.bias)
    folded = nn.Sequential(folded_linear, unflatten, folded_up, elu, last)
    z = torch.randn(BATCH, LATENTS)
    torch.testing.assert_close(jacobian(decoder, z), jacobian(folded, z))
    expected = torch.stack([jacrev(lambda p: folded(p[None])[0])(sample) for sample in z])
    torch.testing.assert_close(jacobian(decoder, z, chunk_size=2), expected)
    for now, then in zip(decoder.buffers(), before, strict=True):
        assert torch.equal(now, then)


def test_some_layers_in_eval_mode(seed: int) -> None:
    """Frozen normalisation inside a decoder that trains."""
    decoder = _dense()
    decoder(torch.randn(20, LATENTS))
    decoder[1].eval()
    z = torch.randn(BATCH, LATENTS)
    frozen = [(decoder[1].running_mean, decoder[1].running_var)]
    hidden, _ = _apply(decoder[:4], z, iter(frozen))
    statistics = [*frozen, (hidden.mean(0), hidden.var(0, unbiased=False))]
    expected = [jacrev(lambda p: _apply(decoder, p[None], iter(statistics))[0][0])(sample) for sample in z]
    before = decoder[1].running_mean.clone()
    torch.testing.assert_close(jacobian(decoder, z), torch.stack(expected))
    assert torch.equal(decoder[1].running_mean, before)
    assert decoder[1].num_batches_tracked == 1
    assert decoder[4].num_batches_tracked == 2


def test_nothing_stays_switched_on_after_an_error() -> None:
    norm = nn.BatchNorm1d(LATENTS)

    def broken(z: Tensor) -> Tensor:
        norm(z)
        raise RuntimeError("from the decoder")

    z = torch.randn(BATCH, LATENTS)
    with pytest.raises(RuntimeError, match="from the decoder"):
        jacobian(broken, z)
    fresh, ordinary = nn.BatchNorm1d(LATENTS), nn.BatchNorm1d(LATENTS)
    jacobian(fresh, z)
    fresh(z)
    ordinary(z)
    ordinary(z)
    for got, expected in zip(fresh.buffers(), ordinary.buffers(), strict=True):
        torch.testing.assert_close(got, expected)


AUTOCAST: dict[str, Callable[[], nn.Sequential]] = {
    "batchnorm": lambda: _mixed(lambda c: nn.BatchNorm2d(c)),
    "groupnorm": lambda: _mixed(lambda c: nn.GroupNorm(2, c)),
    "layernorm": lambda: _mixed(lambda c: nn.LayerNorm((c, 4, 4))),
    "papers": lambda: MNISTDecoder(LATENTS, width=1 / 64).layers,
}


def _mixed(norm: Callable[[int], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(LATENTS, 8 * 16),
        nn.Unflatten(1, (8, 4, 4)),
        nn.Conv2d(8, 8, 3, padding=1),
        norm(8),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ELU(),
        nn.Conv2d(8, 2, 3, padding=1),
    )


@pytest.mark.parametrize("name", AUTOCAST)
@pytest.mark.parametrize(
    ("structure", "estimator"),
    [(posteriors.Full(), None), (posteriors.Diagonal(), Columns(1))],
    ids=["exact", "columns"],
)
def test_half_precision(name: str, structure: posteriors.Structure, estimator: Columns | None, seed: int) -> None:
    """Under bfloat16 autocast the penalty and its gradients are those of float32, up to bfloat16's 3 digits."""
    decoder = AUTOCAST[name]().float()
    objective = objectives.GRAE(beta=0.2, structure=structure, estimator=estimator)
    encoder = nn.Linear(10, LATENTS).float()
    model = Autoencoder(encoder, decoder, latents=LATENTS)
    x = torch.randn(16, 10, dtype=torch.float32)
    target = torch.rand_like(decoder(encoder(x)))
    penalties, gradients = [], []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            h = model.encode(x)
            eta, penalty = objective.estimator.penalty(
                Linearised(model.decode, h, target, likelihoods.Gaussian()),
                structure,
                0.2,
                torch.Generator().manual_seed(seed),
            )
        assert eta.dtype == penalty.dtype == torch.float32
        model.zero_grad()
        penalty.mean().backward()
        penalties.append(penalty.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert gradients[1].isfinite().all()
    torch.testing.assert_close(penalties[1], penalties[0], rtol=0.03, atol=0.01)
    assert (gradients[1] - gradients[0]).norm() < 0.05 * gradients[0].norm()
