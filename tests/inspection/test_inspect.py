"""Every number of an inspection against another way to compute it, on decoders small enough for the whole matrix."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.fft import dctn
from torch import nn
from torch.func import jacrev, vmap

import curvae
from curvae import Autoencoder, adapters, inspection
from curvae.errors import InputError
from curvae.inspection import opening, page
from curvae.inspection.budget import Budget
from curvae.inspection.measure import draw, measure, spectra
from curvae.inspection.noise import summarise
from curvae.inspection.page import figures
from curvae.inspection.subject import subject_of
from curvae.likelihoods import Bernoulli, BernoulliLogits, Gaussian
from curvae.metrics import Implied
from curvae.posteriors import Diagonal, Full
from curvae.report.charts import chart

D, LATENTS, N = 7, 3, 6
STRUCTURES = [Diagonal(), Full()]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))


def _model(structure=None) -> Autoencoder:
    return Autoencoder(_network(D, 9), _network(LATENTS, D), latents=LATENTS, structure=structure, head=True)


def _curvature(model, x, weight=None):
    """M of every sample from reverse-mode rows, where the library pushes forward-mode columns."""
    jacobian = vmap(jacrev(lambda z: model.decode(z[None])[0].flatten()))(model.encode(x)).flatten(2)
    root = jacobian if weight is None else weight[..., None].sqrt() * jacobian
    return root.mT @ root


@pytest.mark.parametrize("structure", STRUCTURES)
def test_numbers_of_a_posterior(structure, float64, seed):
    model, x = _model(structure), torch.randn(N, D)
    found = curvae.inspect(model, x, generator=_generator())
    M, precision = _curvature(model, x).detach().numpy(), model.posterior(x).precision().detach().numpy()
    diagonal, prec = np.einsum("bii->bi", M), np.einsum("bii->bi", precision)
    narrow = prec > 1 / 0.95
    ratio = diagonal[narrow] / (prec[narrow] - 1)
    assert found.beta_hat is not None
    assert found.beta_hat.entries == narrow.sum()
    assert math.isclose(found.beta_hat.median, np.median(ratio), rel_tol=1e-9)
    assert np.allclose(found.beta_hat.quartiles, np.quantile(ratio, [0.25, 0.75]), rtol=1e-9)
    assert found.beta_hat.interval[0] <= found.beta_hat.median <= found.beta_hat.interval[1]
    beta = found.beta
    assert beta == found.beta_hat.median
    theory = np.log(1 / (1 + diagonal / beta))
    assert math.isclose(found.log_variance_correlation, np.corrcoef(theory.ravel(), np.log(1 / prec).ravel())[0, 1])
    slope = np.polyfit(np.log(diagonal[narrow]), np.log(prec[narrow] - 1), 1)[0]
    assert math.isclose(found.beta_hat.slope, slope, rel_tol=1e-6)
    for group in found.per_latent:
        assert math.isclose(group.shipped, np.exp(np.log(1 / prec[:, group.index]).mean()), rel_tol=1e-9)
        assert math.isclose(group.implied, np.exp(theory[:, group.index].mean()), rel_tol=1e-9)


def test_spectral_numbers(float64, seed):
    model, x, beta = _model(), torch.randn(N, D), 0.3
    found = curvae.inspect(model, x, beta=beta)
    M = _curvature(model, x).detach().numpy()
    values = np.linalg.eigvalsh(M)
    whole = np.linalg.slogdet(np.eye(LATENTS) + M / beta)[1]
    bound = np.log1p(np.einsum("bii->bi", M) / beta).sum(1)
    root_n = math.sqrt(N)
    assert math.isclose(found.trace, np.trace(M, axis1=1, axis2=2).mean())
    assert math.isclose(found.trace_se, np.trace(M, axis1=1, axis2=2).std(ddof=1) / root_n)
    assert math.isclose(found.log_det.value, whole.mean())
    assert math.isclose(found.log_det.standard_error, whole.std(ddof=1) / root_n)
    assert (found.log_det.products, found.log_det.method) == (LATENTS, "exact")
    dimension = np.trace(M @ np.linalg.inv(M + beta * np.eye(LATENTS)), axis1=1, axis2=2)
    assert math.isclose(found.effective_dimension, dimension.mean())
    assert math.isclose(found.hadamard_gap, (bound - whole).mean(), rel_tol=1e-8)
    assert np.allclose(found.eigenvalues, np.sort(values, 1)[:, ::-1].mean(0))
    assert math.isclose(found.condition, np.median(values[:, -1] / values[:, 0]), rel_tol=1e-6)
    assert math.isclose(found.largest, values[:, -1].mean())
    assert math.isclose(sum(count for _, count in found.spectrum), LATENTS)
    size = np.sqrt(np.einsum("bii->bi", M))
    cosine = np.abs(M / size[:, :, None] / size[:, None])[:, *np.triu_indices(LATENTS, 1)].mean()
    assert math.isclose(found.column_cosine, cosine, rel_tol=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_implied_posterior_is_found_to_be_the_implied_one(structure, float64, seed):
    found = curvae.inspect(Implied(_model(), 0.37, structure=structure), torch.randn(N, D), beta=0.37)
    hat = found.beta_hat
    if isinstance(structure, Full):  # (Σ*)⁻¹ = I + M/β, its diagonal too
        assert np.allclose([hat.median, *hat.quartiles, *hat.interval], 0.37)
    assert math.isclose(hat.median, 0.37)
    assert math.isclose(hat.slope, 1.0)
    assert max(hat.spread_over_latents, hat.spread_over_samples) < 1e-9
    assert math.isclose(found.log_variance_correlation, 1.0)
    assert {group.verdict for group in found.per_latent} <= {"as implied", "unused"}


def test_the_observation_model_weighs_the_outputs(float64, seed):
    model, x = _model(), (torch.rand(N, D) > 0.5).double()
    found = curvae.inspect(model, x, beta=0.5, likelihood=BernoulliLogits())
    p = model.reconstruct(x).sigmoid()
    M = _curvature(model, x, p * (1 - p))
    assert math.isclose(found.trace, M.diagonal(dim1=1, dim2=2).sum(1).mean().item())
    assert math.isclose(found.noise[0].predicted, 1e-4 * found.trace)


def _image_model(scale: float | torch.Tensor = 1.0):
    """Latents [2, 2, 3] of data [5, 4]; what decode takes and encode gives is ``scale`` times the maker's."""
    torch.manual_seed(1)
    encode, spread, decode = nn.Linear(20, 12), nn.Linear(20, 12), nn.Sequential(nn.Linear(12, 20), nn.Softplus())

    def encoded(x):
        mean, std = encode(x.flatten(1)), 0.4 * spread(x.flatten(1)).sigmoid() + 0.05
        return mean.view(-1, 2, 2, 3) * scale, std.view(-1, 2, 2, 3) * scale

    def decoded(z):
        return decode((z / scale).flatten(1)).view(-1, 5, 4)

    return adapters.callables(encoded, decoded, prior_std=scale)


def test_channels_and_frequencies_of_images(float64):
    model, x = _image_model(), torch.randn(N, 5, 4)
    found = curvae.inspect(model, x, beta=0.2)
    jacobian = vmap(jacrev(lambda z: model.decode(z[None])[0].flatten()))(model.encode(x)).flatten(2)
    M = (jacobian.mT @ jacobian).detach().numpy()
    assert found.latents == (2, 2, 3)
    diagonal = np.einsum("bii->bi", M).reshape(N, 2, 6)
    assert np.allclose([group.curvature for group in found.per_channel], diagonal.mean((0, 2)))
    basis = np.stack([dctn(each.reshape(2, 2, 3), axes=(1, 2), norm="ortho").ravel() for each in np.eye(12)], 1)
    along = np.einsum("fi,bij,fj->bf", basis, M, basis)
    prec = np.einsum("fi,bi,fi->bf", basis, 1 / model._encode(x)[1].detach().numpy().reshape(N, 12) ** 2, basis)
    band = np.tile([0, 1, 2, 2, 3, 3], 2)  # of places (0 0) (0 ½) (0 1) (1 0) (1 ½) (1 1)
    assert [group.index for group in found.per_frequency] == [0, 1, 2, 3]
    for group in found.per_frequency:
        inside = band == group.index
        assert math.isclose(group.curvature, along[:, inside].mean())
        assert math.isclose(group.shipped, np.exp(-np.log(prec[:, inside]).mean()))
        assert math.isclose(group.implied, np.exp(-np.log1p(along[:, inside] / 0.2).mean()))


@pytest.mark.parametrize("scale", [0.18, torch.tensor([0.5, 3.0], dtype=torch.float64)[:, None, None]])
def test_scaled_latents_have_the_same_theory_in_units_of_their_prior(scale, float64):
    x = torch.randn(N, 5, 4)
    plain, scaled = (curvae.inspect(_image_model(s), x, generator=_generator()) for s in (1.0, scale))
    assert math.isclose(scaled.beta_hat.median, plain.beta_hat.median)
    assert math.isclose(scaled.log_det.value, plain.log_det.value)
    assert math.isclose(scaled.trace, plain.trace)
    assert np.allclose([g.curvature for g in scaled.per_frequency], [g.curvature for g in plain.per_frequency])
    model = _image_model(scale)  # but noise is in the latents' own units
    jacobian = vmap(jacrev(lambda z: model.decode(z[None])[0].flatten()))(model.encode(x))
    assert math.isclose(scaled.noise[0].predicted, 1e-4 * (jacobian.square().sum() / N).item())


def _estimated(model, x, budget):
    subject = subject_of(model, x)
    tangents = draw(subject, budget, _generator())
    with torch.no_grad():
        return subject, tangents, measure(subject, tangents, budget, torch.tensor([0.1]))


def test_estimates_agree_with_the_exact_matrix(float64):
    """Few products for each sample, but many samples at one place: means within a few of their standard errors."""
    model = _image_model()
    x = torch.randn(1, 5, 4).expand(400, 5, 4)
    subject, tangents, found = _estimated(model, x, Budget(False, 4, pairs=8, bands=4, draws=2))
    exact = curvae.inspect(model, x[:1], beta=0.2)

    def close(values, truth):
        values = values.detach()
        assert abs(values.mean() - truth) < 5 * values.std() / math.sqrt(len(values))

    close(12 * found.curvature.mean(1), exact.trace)
    close(found.linear.mean(1), exact.trace)
    close(found.trace, exact.trace)
    det = spectra(subject, Budget(False, 4, pairs=8, bands=4, draws=2), 0.2, _generator())
    close(det.value, exact.log_det.value)
    assert abs(12 * (det.weights * det.nodes).sum(-1).mean() / exact.trace - 1) < 0.1
    close(found.cosines, exact.column_cosine)
    # a band is measured along one tangent for all samples: exact along it, and the band's mean over signs
    for index, wave in enumerate(tangents.waves):
        jacobian = vmap(jacrev(lambda z: model.decode(z[None])[0].flatten()))(model.encode(x[:1])).flatten(2)
        assert math.isclose(float(found.waves[0, index]), (jacobian[0] @ wave).square().sum().item())
    assert all(len(set(row.tolist())) == 4 for row in tangents.columns)
    assert all(sum(c < 6 for c in row.tolist()) == 2 for row in tangents.columns)  # two of each channel


def test_a_large_model_keeps_to_its_products(float64, monkeypatch):
    calls = {"push": 0, "pull": 0}
    from curvae.curvature import Operator

    for name in calls:
        plain = getattr(Operator, name)

        def counted(self, tangents, name=name, plain=plain):
            calls[name] += tangents.shape[-1]
            return plain(self, tangents)

        monkeypatch.setattr(Operator, name, counted)
    decoder = nn.Sequential(nn.Unflatten(1, (2, 6, 6)), nn.ConvTranspose2d(2, 3, 2, 2), nn.Tanh())
    model = adapters.callables(lambda x: x.flatten(1)[:, :72].view(-1, 72), decoder)
    found = curvae.inspect(model, torch.randn(3, 3, 12, 12), beta=0.1, products=40, generator=_generator())
    assert calls["push"] + calls["pull"] == found.cost.products <= 40
    assert found.log_det.method == "lanczos"
    exact = _curvature(model, torch.randn(3, 3, 12, 12))
    assert exact.shape == (3, 72, 72)
    assert found.per_latent == ()


def test_noise_of_a_linear_decoder_is_predicted_exactly(float64):
    model = Autoencoder(nn.Linear(D, LATENTS), nn.Linear(LATENTS, D), latents=LATENTS)
    found = curvae.inspect(model, torch.randn(N, D), beta=1.0)
    for level in found.noise:
        assert math.isclose(level.measured, level.predicted)
        assert level.standard_error < 1e-9 * level.predicted
    assert found.radius is None


def test_noise_of_a_quadratic_decoder(float64):
    r"""g = z²: E‖g(h+sε) − g(h)‖² = Σ (4 h² s² + 3 s⁴), of which the first is the prediction."""
    model, h = adapters.callables(lambda x: x, lambda z: z.square()), torch.tensor([[1.0, -0.5, 2.0]]).expand(2000, 3)
    subject = subject_of(model, h)
    budget = Budget(True, 3, 0, 0, 8)
    tangents = draw(subject, budget, _generator())
    levels = (0.05, 0.3, 1.0)
    with torch.no_grad():
        found = measure(subject, tangents, budget, torch.tensor(levels))
    noise = summarise(levels, *(each.numpy() for each in (found.trace, found.errors, found.linear)))
    for level in noise:
        assert math.isclose(level.predicted, 4 * level.std**2 * float(h[0].square().sum()))
        truth = level.predicted + 9 * level.std**4
        assert abs(level.measured - truth) < 5 * level.standard_error + 1e-12
        assert abs(level.measured / truth - 1) < 0.02
    for sign in (-1, 1):  # each draw is what it says
        moved = (h + sign * 0.3 * tangents.noise[..., 0]).square() - h.square()
        other = (h - sign * 0.3 * tangents.noise[..., 0]).square() - h.square()
        assert torch.allclose(found.errors[:, 1, 0], (moved.square() + other.square()).sum(1) / 2)


def test_radius_where_a_quadratic_decoder_bends(float64):
    model, h = adapters.callables(lambda x: x, lambda z: z.square()), torch.full((64, 8), 1.5)
    levels = tuple(np.geomspace(0.2, 1.2, 12))
    found = curvae.inspect(model, h, beta=1.0, noise=levels, generator=_generator())
    # 3 s⁴ / (4 h² s²) = 1/10
    assert abs(found.radius / math.sqrt(0.4 * 1.5**2 / 3) - 1) < 0.05


def test_a_decoder_of_steps_is_nowhere_linear(float64):
    """Its derivative is 0, and its outputs move all the same."""
    found = curvae.inspect(
        adapters.callables(lambda x: x, lambda z: (20 * z).round() + 0 * z), torch.randn(N, D), beta=1.0
    )
    assert (found.trace, found.noise[-1].predicted) == (0.0, 0.0)
    assert found.noise[-1].measured > 1
    assert found.radius == next(level.std for level in found.noise if level.measured > 0)
    still = curvae.inspect(adapters.callables(lambda x: x, lambda z: 0 * z), torch.randn(N, D), beta=1.0)
    assert still.radius is None


def test_noise_that_the_decoder_draws_is_not_the_latents(float64):
    model = adapters.callables(lambda x: x, lambda z: 2 * z + torch.randn(len(z), D))
    found = curvae.inspect(model, torch.randn(N, D), beta=1.0)
    for level in found.noise:
        assert math.isclose(level.measured, level.predicted)


@pytest.mark.parametrize("latents", [1, 3])
def test_equal_eigenvalues_are_one_bar(latents, float64):
    model = adapters.callables(lambda x: x, lambda z: 2.0 * z)
    spectrum = curvae.inspect(model, torch.randn(N, latents), beta=1.0).spectrum
    assert np.allclose(spectrum, [(4.0, latents)])
    flat = adapters.callables(lambda x: x, lambda z: z * torch.tensor([1.0] * latents + [0.0]))
    spectrum = curvae.inspect(flat, torch.randn(N, latents + 1), beta=1.0).spectrum
    assert np.allclose([count for _, count in spectrum], [1.0, latents])  # what the decoder ignores stands apart
    assert spectrum[0][0] < 1e-7


def test_too_few_products_are_refused_before_the_data_are_encoded():
    seen = []
    model = adapters.callables(lambda x: seen.append(len(x)) or x, lambda z: z)
    with pytest.raises(InputError, match="products is 5 for 100 latents; expected at least 24"):
        curvae.inspect(model, torch.randn(50, 100), products=5)
    assert max(seen) == 1


def test_a_deterministic_model_without_beta_says_what_it_can(float64):
    found = curvae.inspect(_model(), torch.randn(N, D))
    kept = found.to_dict()
    json.dumps(kept, allow_nan=False)
    assert kept["beta_hat"] is None
    assert kept["log_det"] is None
    assert kept["trace"] > 0
    (missing,) = [advice["reason"] for advice in kept["advice"] if advice["what"] == "give beta"]
    assert missing == "there is no posterior to read β from; what needs β is left out"
    assert [title for title, _ in figures(found)[2:]] == []


def test_a_posterior_as_wide_as_the_prior_is_not_said_to_be_missing(float64, monkeypatch):
    model = adapters.callables(lambda x: (x, torch.ones_like(x)), torch.nn.Linear(D, D))
    found = curvae.inspect(model, torch.randn(N, D))
    assert found.beta is found.beta_hat is None
    (missing,) = [advice.reason for advice in found.advice if advice.what == "give beta"]
    assert missing.startswith("no β can be read off this posterior")
    labels: list[str] = []
    monkeypatch.setattr(page, "chart", lambda *drawn: labels.append(drawn[2].label) or chart(*drawn))
    assert [title for title, _ in figures(found)[2:]] == ["Variance by latent: shipped (blue points)"]
    assert labels[-1] == "latent"


def test_one_sample_has_no_standard_error(float64):
    kept = curvae.inspect(_model(), torch.randn(1, D), beta=0.2).to_dict()
    assert kept["trace_se"] is kept["log_det"]["standard_error"] is None
    assert kept["noise"][0]["standard_error"] >= 0  # over the draws


def test_a_posterior_that_is_not_the_implied_one_is_said_to_be_none(float64):
    def advice(model):
        return [a.what for a in curvae.inspect(model, 2 * torch.randn(N, D)).advice]

    decode = nn.Linear(2, D)
    decode.weight.data[:, 0] *= 10
    same = adapters.callables(lambda x: (x[:, :2], torch.full((len(x), 2), 0.3)), decode)
    assert "do not take β̂ for a β" in advice(same)
    assert "do not take β̂ for a β" not in advice(Implied(_model(), 0.4, structure=Diagonal()))


def test_promised_keys(float64):
    kept = curvae.inspect(_model(Diagonal()), torch.randn(N, D), beta=0.2).to_dict()
    assert {"median", "quartiles"} <= set(kept["beta_hat"])
    assert {"value", "standard_error", "products"} <= set(kept["log_det"])
    assert {"std", "predicted", "measured"} <= set(kept["noise"][0])
    assert {"log_variance_correlation", "column_cosine", "effective_dimension", "advice"} <= set(kept)
    assert kept["maker_beta"] == kept["beta"] == 0.2


def test_the_makers_convention_is_seen_from_a_factor(float64):
    """A posterior of β D/2, as of a mean of squares, with β given as it stands in the maker's script."""
    found = curvae.inspect(Implied(_model(), 0.01 * D / 2, structure=Diagonal()), torch.randn(N, D), beta=0.01)
    advice = next(a for a in found.advice if a.what == "convert the maker's beta")
    assert math.isclose(advice.value, 0.01 * D / 2)
    assert "a mean over the outputs" in advice.reason


def test_codes_advise_scales(float64):
    codes = torch.randn(50, 2, 3, 3) * torch.tensor([2.0, 0.5])[:, None, None] + torch.tensor([1.0, 0.0])[:, None, None]
    model = adapters.callables(lambda x: x, lambda z: z)
    advice = curvae.inspect(model, codes, beta=1.0, samples=50).advice
    found = {a.what: a.value for a in advice}
    assert "latents of these 50 samples have" in next(a.reason for a in advice if a.what == "scale factor")
    channels = codes.movedim(1, 0).flatten(1)
    assert math.isclose(found["scale factor"], 1 / codes.std(correction=0), rel_tol=1e-9)
    assert np.allclose(found["scale of each channel"], 1 / channels.std(1, correction=0))
    assert np.allclose(found["shift of each channel"], channels.mean(1))


def test_beta_for_wanted_noise(float64):
    """At that β the implied variance of the latent with the median curvature is the wanted one."""
    model = adapters.callables(lambda x: x, lambda z: 2.0 * z)
    found = {a.what: a.value for a in curvae.inspect(model, torch.randn(5, 3), beta=1.0).advice}
    beta = found["beta for latent noise 0.3"]
    assert math.isclose(beta / (beta + 4.0), 0.3**2)


def test_modes_are_given_back_and_draws_are_the_generators(float64):
    model = _model(Diagonal()).train()
    first, again, other = (curvae.inspect(model, torch.ones(N, D), generator=_generator(s)) for s in (0, 0, 1))
    assert model.training
    assert first.noise == again.noise != other.noise


@pytest.mark.parametrize("kind", [lambda x: x, list, lambda x: list(x.numpy())], ids=["tensor", "tensors", "arrays"])
def test_uint8_pixels_are_brought_to_the_models_range(float64, kind):
    seen = []
    model = adapters.callables(lambda x: seen.append(x) or x.flatten(1)[:, :2], nn.Linear(2, 4), pixels=(-1.0, 1.0))
    curvae.inspect(model, kind(torch.tensor([[[[0, 255], [51, 255]]]], dtype=torch.uint8)), beta=1.0)
    assert seen[-1].flatten().tolist() == pytest.approx([-1.0, 1.0, -0.6, 1.0])


def test_a_range_of_pixels_that_nobody_has_said_is_remarked_on():
    x = torch.randint(256, (5, 4), dtype=torch.uint8)
    kinds = {None: (x, None), "said": (x, (0.0, 1.0)), "floats": (x / 255, None)}
    found = {
        kind: curvae.inspect(adapters.callables(lambda x: x, lambda z: z, pixels=pixels), data, beta=1.0).advice
        for kind, (data, pixels) in kinds.items()
    }
    remarked = [kind for kind, advice in found.items() if "say the range of pixels" in {each.what for each in advice}]
    assert remarked == [None]


@pytest.mark.parametrize(("offset", "expected"), [(0.0, None), (3.0, 9.0)])
def test_data_on_another_scale_are_remarked_on(float64, offset, expected):
    """Reconstructions that are off by a constant, beside an unbiased variance of 1."""
    x = torch.randn(64, 2)
    x = (x - x.mean(0)) / x.std(0)
    model = adapters.callables(lambda x: x - offset, lambda z: z)
    found = {each.what: each.value for each in curvae.inspect(model, x, beta=1.0).advice}
    assert found.get("check the data's scale") == (None if expected is None else pytest.approx(expected))


def test_a_decoder_alone_is_inspected_at_codes(float64):
    decoder, codes = nn.Sequential(_network(LATENTS, D), nn.Sigmoid()), torch.randn(N, LATENTS)
    alone = adapters.callables(encode=None, decode=decoder, latents=LATENTS, likelihood=Bernoulli())
    found = curvae.inspect(alone, codes, beta=0.1, generator=_generator())
    probability = decoder(codes).detach()
    whole = adapters.callables(lambda x: codes[: len(x)], decoder, likelihood=Bernoulli())
    expected = curvae.inspect(whole, probability, beta=0.1, generator=_generator())
    assert (found.trace, found.noise, found.latents) == (expected.trace, expected.noise, (LATENTS,))
    assert opening.decoded_draws(alone, 5, _generator()).equal(torch.randn(5, LATENTS, generator=_generator()))


def test_data_are_whatever_holds_samples():
    model, x = _model(Diagonal()).double(), torch.randn(9, 7, dtype=torch.float64, generator=_generator())
    found = [curvae.inspect(model, each, beta=0.1, generator=_generator()) for each in (x, x.tolist(), list(x.numpy()))]
    assert found[0].trace == pytest.approx(found[1].trace, rel=1e-12) == found[2].trace


class Counted:
    """Samples that know how often they were read."""

    def __init__(self, values):
        self.values, self.reads = values, 0

    def __array__(self, dtype=None, copy=None):
        self.reads += 1
        return self.values


def test_data_of_every_kind_are_read_once_and_checked_alike():
    model, x = _model(Diagonal()), torch.randn(40, 7, generator=_generator())
    drawn = torch.randperm(40, generator=_generator())[:4]
    spared = next(number for number in range(1, 40) if number not in drawn)
    x[spared] = torch.nan
    counted = Counted(x.numpy())
    kinds = (x, x.numpy(), x.tolist(), counted)
    traces = {curvae.inspect(model, kind, beta=0.1, samples=4, generator=_generator()).trace for kind in kinds}
    assert (len(traces), counted.reads) == (1, 1)
    x[drawn] = torch.nan
    for kind in (x.numpy(), x.tolist(), pd.DataFrame(x.numpy())):
        with pytest.raises(InputError, match="x: sample 0 holds NaN, infinity"):
            curvae.inspect(model, kind, samples=4, generator=_generator())
    for kind in (pd.DataFrame({"name": ["a", "b"]}), np.array([["a"], ["b"]]), [[1j], [2.0]]):
        with pytest.raises(InputError, match="^x holds .* expected real numbers"):
            curvae.inspect(model, kind)


def _exponential():
    return adapters.callables(lambda x: x, torch.exp)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: curvae.inspect(m, x, beta=0.0), "beta is 0.0; expected a finite number > 0"),
        (lambda m, x: curvae.inspect(m, x[0]), "at least two axes"),
        (lambda m, x: curvae.inspect(m, x[:, :2]), "the model fails on data of shape"),
        (lambda m, x: curvae.inspect(m, x * torch.nan), "x: sample 0 holds NaN, infinity"),
        (lambda m, x: curvae.inspect(nn.Linear(2, 3), x), "a Linear is not a model that curvae knows"),
        (lambda m, x: curvae.inspect(m, x, noise=[]), "noise is empty"),
        (lambda m, x: curvae.inspect(m, x, products=2), "products is 2 for 3 latents; expected at least 3"),
        (lambda m, x: curvae.inspect(m, x, samples=0), "samples is 0; expected a whole number >= 1"),
        (lambda m, x: curvae.inspect(m, x, products="9"), "products is '9'; expected a whole number >= 1"),
        (lambda m, x: curvae.inspect(m.bfloat16(), x), "the model is in half precision"),
        (
            lambda m, x: curvae.inspect(m, x, likelihood=Bernoulli()),
            r"the decoder.s outputs go from .*; Bernoulli\(\) expects probabilities",
        ),
        (
            lambda m, x: curvae.inspect(
                _exponential(), 500.0 * (x[:, :2] > 3).double().index_fill(0, torch.tensor(4), 2.0)
            ),
            "decodes some of these samples to numbers that are not finite",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call(_model(), torch.randn(N, D))


def test_names():
    assert curvae.inspect is inspection.inspect
    assert repr(Gaussian()) == curvae.inspect(_model(), torch.randn(2, D)).likelihood
