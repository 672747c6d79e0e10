"""A conditional model at the conditions of its batch, against dense formulas with one condition at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev
from torch.utils.data import DataLoader, TensorDataset

from curvae import Autoencoder
from curvae.curvature import Columns, Estimator, Exact, Fraction, Lanczos, Secants, Signs, Trace
from curvae.curvature.estimator import Subsample
from curvae.errors import InputError
from curvae.likelihoods import Gaussian, Likelihood, Poisson
from curvae.metrics import Implied, active_units, codes, evaluate, importance_weighted_nll, unit_divergence
from curvae.nn import Beside
from curvae.objectives import GRAE, RAE, BetaVAE, Loss, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64")

BATCH, OUTPUTS, LATENTS, CLASSES, BETA = 4, 5, 3, 3, 0.7
LABELS = [2, 0, 1, 0]


class Modulated(nn.Module):
    """A decoder of which the condition scales and shifts a layer, and which joins it again later."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.film = nn.Linear(LATENTS, 6), nn.Linear(CLASSES, 12)
        self.last = nn.Linear(6 + CLASSES, OUTPUTS)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        scale, shift = self.film(c).chunk(2, 1)
        return self.last(torch.cat([torch.tanh(self.first(z) * (1 + scale) + shift), c], 1))


def _model(structure: Structure | None = None, decoder: nn.Module | None = None) -> Autoencoder:
    encoder = Beside(nn.Sequential(nn.Linear(OUTPUTS + CLASSES, 7), nn.Tanh()))
    decoder = Modulated() if decoder is None else decoder
    return Autoencoder(encoder, decoder, LATENTS, structure, features=7, condition="both")


def _batch(counts: bool = False) -> tuple[Tensor, Tensor]:
    x = torch.poisson(torch.ones(BATCH, OUTPUTS)) if counts else torch.randn(BATCH, OUTPUTS)
    return x, torch.eye(CLASSES)[LABELS]


def _curvature(model: Autoencoder, h: Tensor, x: Tensor, c: Tensor, likelihood: Likelihood) -> Iterator[Tensor]:
    """M of each sample, by reverse mode through the decoder at its own condition alone."""
    for i in range(len(h)):
        jacobian = jacrev(lambda z, i=i: model.decoder(z[None], c[i : i + 1])[0])(h[i])
        eta = model.decoder(h[i : i + 1], c[i : i + 1])[0]
        outer = hessian(lambda e, i=i: likelihood.nll(e[None], x[i : i + 1])[0])(eta)
        yield jacobian.T @ outer @ jacobian


def _penalty(structure: Structure, m: Tensor) -> Tensor:
    size = {Diagonal: 1, BlockDiagonal: 2, Full: LATENTS}[type(structure)]
    blocks = (m[i : i + size, i : i + size] for i in range(0, LATENTS, size))
    return sum(torch.logdet(torch.eye(len(block)) + block / BETA) for block in blocks)


def _compare(model: Autoencoder, c: Tensor, found: Tensor, expected: Tensor, **tolerance: float) -> None:
    """Each sample's value, and the gradients for the weights and the conditions of sums that tell samples apart."""
    weights = torch.arange(1.0, len(found) + 1)
    wrt = (c, *model.parameters())
    torch.testing.assert_close(found, expected, **tolerance)
    one, other = (_gradients((weights * each).sum(), wrt) for each in (found, expected))
    torch.testing.assert_close(one, other, **tolerance)


def _gradients(value: Tensor, wrt: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, wrt, retain_graph=True, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("likelihood", [Gaussian(0.6), Poisson()], ids=str)
@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full()], ids=str)
def test_closed_forms_of_every_structure(structure: Structure, likelihood: Likelihood, seed: int) -> None:
    model, (x, c) = _model(), _batch(counts=isinstance(likelihood, Poisson))
    c.requires_grad_()
    found = GRAE(BETA, likelihood, structure, Exact())(model.given(c), x)
    h = model.mean_head(model.encoder(x, c))
    m = _curvature(model, h, x, c, likelihood)
    penalty = torch.stack([_penalty(structure, each) for each in m])
    nll = likelihood.nll(model.decoder(h, c), x)
    _compare(model, c, found.total, nll + 0.5 * BETA * (h.square().sum(1) + penalty))


def test_taylor_by_the_trace_and_by_the_hessian(seed: int) -> None:
    model, (x, c) = _model(Full()), _batch(counts=True)
    c.requires_grad_()
    q, likelihood = model.posterior(x, c), Poisson()
    nll = likelihood.nll(model.decoder(q.mean, c), x)
    m = torch.stack(list(_curvature(model, q.mean, x, c, likelihood)))
    trace = (m * q.covariance()).sum((1, 2))
    _compare(model, c, Taylor(BETA, likelihood)(model.given(c), x).total, nll + 0.5 * trace + BETA * q.kl())

    def log_prob(i: int) -> Callable[[Tensor], Tensor]:
        return lambda z: likelihood.nll(model.decoder(z[None], c[i : i + 1]), x[i : i + 1])[0]

    m = torch.stack([hessian(log_prob(i))(q.mean[i]) for i in range(BATCH)])
    trace = (m * q.covariance()).sum((1, 2))
    exact = Taylor(BETA, likelihood, "hessian")(model.given(c), x)
    _compare(model, c, exact.total, nll + 0.5 * trace + BETA * q.kl())


def test_the_noise_of_a_beta_vae(seed: int) -> None:
    model, (x, c) = _model(Diagonal()), _batch()
    c.requires_grad_()
    found = BetaVAE(BETA, samples=3)(model.given(c), x, torch.Generator().manual_seed(0))
    q = model.posterior(x, c)
    draws = q.rsample(torch.Generator().manual_seed(0), (3,))
    nll = torch.stack([0.5 * (model.decoder(z, c) - x).square().sum(1) for z in draws]).mean(0)
    _compare(model, c, found.total, nll + BETA * q.kl())


def _enumerated(
    estimator: Estimator, structure: Structure, model: Autoencoder, x: Tensor, c: Tensor, patch: pytest.MonkeyPatch
) -> Tensor:
    """The mean of an estimator's penalty over all that it can draw."""
    inner = estimator.estimator if isinstance(estimator, Fraction) else estimator
    parts = range(BATCH) if isinstance(estimator, Fraction) else [None]
    signs = list(itertools.product([-1.0, 1.0], repeat=LATENTS))
    draws = signs if isinstance(inner, Lanczos | Trace) else list(range(LATENTS)) if inner.__class__ is Columns else [0]
    if isinstance(inner, Secants):
        draws = list(itertools.product(range(LATENTS), [-1.0, 1.0]))
    objective, values = GRAE(BETA, structure=structure, estimator=estimator), []
    for part, draw in itertools.product(parts, draws):
        patch.setattr(Fraction, "subsample", lambda self, z, g=None, part=part: Subsample(torch.tensor([part]), BATCH))
        patch.setattr(Columns, "draw", lambda self, z, g=None, draw=draw: torch.full((len(z), 1), draw))
        patch.setattr(Signs, "draw", lambda self, z, g=None, draw=draw: torch.tensor([draw]).mT.expand(len(z), -1, 1))
        patch.setattr(Secants, "draw", lambda self, z, g=None, draw=draw: _secant(z, *draw))
        values.append(objective(model.given(c), x)["penalty"])
    return torch.stack(values).mean(0)


def _secant(z: Tensor, latent: int, sign: float) -> tuple[Tensor, Tensor, Tensor]:
    shape = (len(z), 1)
    return torch.full(shape, latent), torch.full(shape, 1 / LATENTS), torch.full(shape, sign)


SERVED: list[tuple[Estimator, Structure]] = [
    *((Columns(1), structure) for structure in (Diagonal(), BlockDiagonal(2))),
    *((Fraction(Columns(1), 0.25), structure) for structure in (Diagonal(), BlockDiagonal(2))),
    *((Fraction(Exact(), 0.25), structure) for structure in (Diagonal(), BlockDiagonal(2), Full())),
    *((Exact(chunk_size=2), structure) for structure in (Diagonal(), Full())),
    *((estimator, Diagonal()) for estimator in (Secants(1, step=1e-4), Fraction(Secants(1, step=1e-4), 0.25))),
    (Lanczos(LATENTS, Signs(1)), Full()),
]


@pytest.mark.covering
@pytest.mark.parametrize(("estimator", "structure"), SERVED, ids=str)
def test_every_estimator_over_all_its_draws(
    estimator: Estimator, structure: Structure, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (x, c) = _model(), _batch()
    c.requires_grad_()
    found = _enumerated(estimator, structure, model, x, c, monkeypatch)
    m = _curvature(model, model.encode(x, c), x, c, Gaussian())
    expected = 0.5 * BETA * torch.stack([_penalty(structure, each) for each in m])
    inner = estimator.estimator if isinstance(estimator, Fraction) else estimator
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if isinstance(inner, Secants) else {}
    _compare(model, c, found, expected, **tolerance)


@pytest.mark.cases(1)
@pytest.mark.parametrize("estimator", [Trace(Signs(1)), Fraction(Trace(Signs(1)), 0.25)], ids=str)
@pytest.mark.filterwarnings("ignore:Trace is the penalty to first order")
def test_the_first_order_over_all_its_draws(estimator: Estimator, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, c) = _model(), _batch()
    c.requires_grad_()
    found = _enumerated(estimator, Full(), model, x, c, monkeypatch)
    trace = torch.stack([m.trace() for m in _curvature(model, model.encode(x, c), x, c, Gaussian())])
    _compare(model, c, found, 0.5 * trace)
    _compare(model, c, RAE(BETA)(model.given(c), x)["penalty"], 0.5 * trace)


def test_a_part_of_the_batch_follows_layers_and_falls_back(seed: int) -> None:
    class Unknown(Modulated):
        def forward(self, z: Tensor, c: Tensor) -> Tensor:
            return super().forward(z, c).roll(1, dims=1)  # a function without a rule for rows

    x, c = _batch()
    for decoder in (Modulated(), Unknown()):
        model = _model(decoder=decoder)
        exact = GRAE(BETA, structure=Full())(model.given(c), x)["penalty"]
        for fraction in (0.5, 1.0):
            estimator = Fraction(Exact(), fraction)
            part = GRAE(BETA, structure=Full(), estimator=estimator)(model.given(c), x, torch.Generator())["penalty"]
            drawn = part != 0
            assert drawn.sum() == fraction * BATCH
            torch.testing.assert_close(part[drawn] * fraction, exact[drawn])


def test_secants_of_a_part_after_a_batch_of_one_class(seed: int) -> None:
    """Whether a decoder can do with some of its samples is remembered: a batch of one class must not settle it."""
    model, (x, c) = _model(), _batch()
    objective = GRAE(BETA, structure=Diagonal(), estimator=Fraction(Secants(1, step=1e-4), 0.5))
    objective(model.given(c[:1].expand(BATCH, -1)), x, torch.Generator())
    decoded: list[int] = []
    hook = model.decoder.register_forward_hook(lambda *call: decoded.append(len(call[-1])))
    found = objective(model.given(c), x, torch.Generator().manual_seed(3))["penalty"]
    hook.remove()
    assert decoded == [BATCH, BATCH // 2]  # the part alone is decoded again
    subsample = objective.estimator.subsample(model.encode(x, c), torch.Generator().manual_seed(3))
    for i in subsample.chosen.tolist():  # one of the three terms, three times, and twice for half of the samples
        m = list(_curvature(model, model.encode(x, c), x, c, Gaussian()))[i]
        terms = (1 + m.diagonal() / BETA).log() * 0.5 * BETA * LATENTS * 2
        assert (found[i] - terms).abs().min() < 1e-3 * terms.min()


@pytest.mark.parametrize("condition", ["both", "encoder", "decoder"])
def test_which_networks_take_it(condition: str) -> None:
    x, c = _batch()
    wide, narrow = OUTPUTS + CLASSES * (condition != "decoder"), LATENTS + CLASSES * (condition != "encoder")
    encoder, decoder = nn.Linear(wide, LATENTS), nn.Linear(narrow, OUTPUTS)
    networks = [Beside(n) if wants else n for n, wants in ((encoder, wide > OUTPUTS), (decoder, narrow > LATENTS))]
    model = Autoencoder(*networks, LATENTS, features=LATENTS, condition=condition)
    z = encoder(torch.cat([x, c], 1) if wide > OUTPUTS else x)
    eta = decoder(torch.cat([z, c], 1) if narrow > LATENTS else z)
    for found in (model.reconstruct(x, c), model(x, c), model.given(c).reconstruct(x)):
        torch.testing.assert_close(found, eta)
    torch.testing.assert_close(model.encode(x, c), z)
    draws = torch.randn(BATCH, LATENTS, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.sample(BATCH, torch.Generator().manual_seed(1), c), model.decode(draws, c))
    total = Loss(model, GRAE(BETA))(x, condition=c).total
    torch.testing.assert_close(total, GRAE(BETA)(model.given(c), x).total)


@pytest.mark.usefixtures("as_shipped")
def test_what_does_not_go_together_is_refused() -> None:
    x, c = _batch()
    model, plain = _model(), Autoencoder(nn.Linear(OUTPUTS, LATENTS), nn.Linear(LATENTS, OUTPUTS), LATENTS)
    takes_none = "a condition is given but this autoencoder takes none; build it with condition='both'"
    for call in (
        lambda: plain.encode(x, c),
        lambda: plain.decode(torch.zeros(BATCH, LATENTS), c),
        lambda: plain.given(c),
        lambda: Loss(plain, GRAE(BETA))(x, condition=c),
    ):
        with pytest.raises(InputError, match=takes_none):
            call()
    needs_one = r"conditional \(condition='both'\) and no condition is given; .* model.given\(c\)"
    for call in (lambda: model.encode(x), lambda: model.sample(2), lambda: GRAE(BETA)(model, x), lambda: model(x)):
        with pytest.raises(InputError, match=needs_one):
            call()
    with pytest.raises(InputError, match=r"the condition has shape \(3, 3\) for 4 samples; expected a row each"):
        model.encode(x, c[:3])
    with pytest.raises(InputError, match=r"the condition is \[0, 1\]; expected a tensor"):
        model.given([0, 1])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="condition is 'labels'; expected 'both', 'encoder', 'decoder' or None"):
        Autoencoder(nn.Linear(5, 3), nn.Linear(3, 5), 3, condition="labels")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"the condition is int64 \[4\]; expected floating-point numbers \[B, C\]"):
        model.encode(x, torch.tensor(LABELS))
    with pytest.raises(InputError, match="join is 'middle'; expected 'input' or 'features'"):
        Beside(nn.Linear(2, 2), "middle")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="weights are torch.bfloat16, too coarse"):
        GRAE(BETA)(_model().bfloat16().given(c), x)


def test_metrics_give_each_piece_its_conditions(seed: int) -> None:
    model, (x, c) = _model(), _batch()
    objective = GRAE(BETA, structure=Diagonal())
    loader = DataLoader(TensorDataset(x, c), batch_size=3)
    for at, data in ((model.given(c), x), (model, loader)):
        torch.testing.assert_close(codes(at, data, 3), model.encode(x, c).detach())
        found = evaluate(at, data, BETA, Gaussian(), Diagonal(), generator=torch.Generator(), batch_size=3)
        torch.testing.assert_close(found.grae.mean, objective(model.given(c), x).total.mean().item())
        assert found.gap_error < 1e-9
        assert active_units(at, data, batch_size=3).variance.shape == (LATENTS,)
        implied = Implied(at, BETA, structure=Diagonal())
        q = Implied(model.given(c), BETA, structure=Diagonal()).posterior(x)
        divergence = 0.5 * (q.mean.square() + q.factor.variance() - q.factor.variance().log() - 1).mean(0)
        torch.testing.assert_close(unit_divergence(implied, data, 3), divergence.detach())


@pytest.mark.parametrize("structure", [None, Full()], ids=str)
def test_importance_weights_decode_each_draw_at_its_condition(structure: Structure | None, seed: int) -> None:
    model, (x, c) = _model(structure), _batch()
    at = model.given(c) if structure is not None else Implied(model.given(c), 1.0)
    noise = torch.randn(6, LATENTS)
    found = importance_weighted_nll(at, x, Gaussian(), samples=6, noise=noise, batch_size=3, chunk_size=4)
    q = at.posterior(x)
    z = torch.stack([q.mean + q.factor.apply(each.expand(BATCH, -1)) for each in noise])
    log_p = torch.stack([Gaussian().log_prob(model.decode(each, c), x) for each in z])
    prior = torch.distributions.Normal(0, 1).log_prob(z).sum(-1)
    expected = torch.log(torch.tensor(6.0)) - (log_p + prior - q.log_prob(z)).logsumexp(0)
    torch.testing.assert_close(found.nll, expected.detach())


def test_metrics_put_an_implied_model_into_eval_mode(seed: int) -> None:
    decoder = Beside(nn.Sequential(nn.Linear(LATENTS + CLASSES, 6), nn.BatchNorm1d(6), nn.Linear(6, OUTPUTS)))
    model, (x, c) = _model(decoder=decoder), _batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    unit_divergence(Implied(model.given(c), BETA), x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


def test_metrics_take_conditions_as_any_array() -> None:
    model, (x, c) = _model(), _batch()
    for beside in (c.flip(0).numpy()[::-1], c.numpy().astype(">f8"), c.tolist()):
        torch.testing.assert_close(codes(model, iter([(x, beside)])), model.encode(x, c).detach())
    with pytest.raises(InputError, match="the condition holds <U1 values; expected real numbers"):
        codes(model, iter([(x, np.array(["a"] * BATCH))]))


def test_metrics_refuse_missing_conditions() -> None:
    model, (x, c) = _model(), _batch()
    with pytest.raises(InputError, match=r"conditional and the data hold no conditions; give model.given\(c\)"):
        codes(model, x)
    for wrong in (c[:2], torch.cat([c, c])):
        with pytest.raises(InputError, match=r"condition"):
            codes(model.given(wrong), x, 2)


def test_shared_structure_and_compiled_weights_by_functional_call(seed: int) -> None:
    """The batch's mean curvature has every sample's condition, also under torch.func."""
    model, (x, c) = _model(), _batch()
    loss = Loss(model, GRAE(BETA, structure=Shared(Full())))
    m = torch.stack(list(_curvature(model, model.encode(x, c), x, c, Gaussian()))).mean(0)
    expected = 0.5 * BETA * torch.logdet(torch.eye(LATENTS) + m / BETA)
    found = functional_call(loss, dict(loss.named_parameters()), (x, None, c))
    torch.testing.assert_close(found["penalty"], expected.expand(BATCH))
