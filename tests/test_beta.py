"""A maker's loss on random tensors is a constant times curvae's objective with the converted β."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from curvae import beta
from curvae._typing import Tensor
from curvae.errors import InputError
from curvae.likelihoods import Bernoulli, Categorical, Gaussian, Laplace, Likelihood, Masked

B, C, H, W, LATENTS = 3, 3, 4, 5, 6
D = C * H * W

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _kl(mu: Tensor, log_var: Tensor) -> Tensor:
    return 0.5 * (mu.square() + log_var.exp() - log_var - 1)


def _pythae(x, g, mu, log_var):
    return (
        functional.mse_loss(g.flatten(1), x.flatten(1), reduction="none").sum(-1) + 3 * _kl(mu, log_var).sum(-1)
    ).mean(0)


def _pythae_bce(x, g, mu, log_var):
    entropy = functional.binary_cross_entropy(g.flatten(1), x.flatten(1), reduction="none").sum(-1)
    return (entropy + 3 * _kl(mu, log_var).sum(-1)).mean(0)


def _diffusers(x, g, mu, log_var):
    rec_loss = functional.mse_loss(g, x, reduction="none")
    return rec_loss.sum() / len(x) + 1e-2 * _kl(mu, log_var).sum() / len(x)


def _diffusers_l1(x, g, mu, log_var):
    return functional.l1_loss(g, x, reduction="none").sum() / len(x) + 1e-2 * _kl(mu, log_var).sum() / len(x)


def _latent_diffusion(x, g, mu, log_var):
    nll = (x - g).abs() / math.exp(0.7)  # + logvar, a constant here
    return nll.sum() / len(x) + 1e-2 * _kl(mu, log_var).sum() / len(x)


def _pytorch_vae(x, g, mu, log_var):
    return functional.mse_loss(g, x) + 4 * 0.025 * _kl(mu, log_var).sum(1).mean(0)


def _bolts(x, g, mu, log_var):
    q = torch.distributions.Normal(mu, (log_var / 2).exp())
    p = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return functional.mse_loss(g, x) + 0.1 * torch.distributions.kl_divergence(q, p).mean()


def _disentanglement_lib(x, g, mu, log_var):
    return (x - g).square().sum((1, 2, 3)).mean() + 4 * _kl(mu, log_var).sum(1).mean()


def _disentanglement_lib_bernoulli(x, g, mu, log_var):
    entropy = -(x * g.log() + (1 - x) * (1 - g).log()).flatten(1).sum(1)
    return entropy.mean() + 4 * _kl(mu, log_var).sum(1).mean()


def _disvae(x, g, mu, log_var):
    squares = functional.mse_loss(g * 255, x * 255, reduction="sum") / 255
    return squares / len(x) + 4 * _kl(mu, log_var).mean(0).sum()


def _konny(x, g, mu, log_var):
    return functional.mse_loss(g, x, reduction="sum").div(len(x)) + 4 * _kl(mu, log_var).sum(1).mean()


def _keras(x, g, mu, log_var):
    entropy = functional.binary_cross_entropy(g, x, reduction="none").mean(1)  # Keras' last axis: the channels
    return entropy.sum((1, 2)).mean() + _kl(mu, log_var).sum(1).mean()


def _pytorch(x, g, mu, log_var):
    return functional.binary_cross_entropy(g, x, reduction="sum") + _kl(mu, log_var).sum()


def _scvi(x, g, mu, log_var):
    nll = -torch.distributions.Bernoulli(g).log_prob((x > 0.5).to(x)).flatten(1).sum(-1)  # any log_prob, summed
    return (nll + 0.8 * _kl(mu, log_var).sum(-1)).mean()


def _mean_squares(x, g, mu, log_var):
    return (x - g).square().mean() + 1e-2 * _kl(mu, log_var).sum(1).mean()


def _normalised(x, g, mu, log_var):
    beta_norm = 0.5
    return 0.5 * (x - g).square().sum() / len(x) + beta_norm * D / LATENTS * _kl(mu, log_var).sum() / len(x)


def _variance(x, g, mu, log_var):
    p = torch.distributions.Normal(g, 0.2)  # its constant is the same for every input
    return (
        -p.log_prob(x).flatten(1).sum(1).mean()
        + math.log(1 / 0.2 / math.sqrt(2 * math.pi)) * D
        + _kl(mu, log_var).sum(1).mean()
    )


def _weighted_squares(x, g, mu, log_var):
    return 3 * (x - g).square().sum() + _kl(mu, log_var).sum()


def _mean_entropy(x, g, mu, log_var):
    return functional.binary_cross_entropy(g, x) + 1e-2 * _kl(mu, log_var).sum(1).mean()


def _mean_absolute(x, g, mu, log_var):
    return functional.l1_loss(g, x) + 1e-2 * _kl(mu, log_var).sum(1).mean()


def _mean_over_places(x, g, mu, log_var):
    """Latents of 2 channels at 3 places, and no ½ in the KL."""
    without_half = (mu.square() + log_var.exp() - log_var - 1).unflatten(1, (2, 3)).sum(1).mean()
    return 0.5 * (x - g).square().sum() / len(x) + 0.1 * without_half


ROWS: dict[str, tuple[Loss, float, Likelihood]] = {
    "pythae before 0.1.2": (_pythae, beta.from_pythae(3.0, halved=False), Gaussian()),
    "pythae bce": (_pythae_bce, beta.from_pythae(3.0, "bce"), Bernoulli()),
    "diffusers": (_diffusers, beta.from_diffusers(1e-2), Gaussian()),
    "diffusers l1": (_diffusers_l1, beta.from_diffusers(1e-2, "l1"), Laplace(1.0)),
    "latent-diffusion": (_latent_diffusion, beta.from_latent_diffusion(1e-2, 0.7), Laplace(1.0)),
    "PyTorch-VAE": (_pytorch_vae, beta.from_pytorch_vae(4.0, D, 0.025), Gaussian()),
    "bolts": (_bolts, beta.from_lightning_bolts(0.1, D, LATENTS), Gaussian()),
    "disentanglement_lib": (_disentanglement_lib_bernoulli, beta.from_disentanglement_lib(4.0), Bernoulli()),
    "disentanglement_lib l2": (_disentanglement_lib, beta.from_disentanglement_lib(4.0, "l2_loss"), Gaussian()),
    "disvae": (_disvae, beta.from_disentangling_vae(4.0, "gaussian"), Gaussian()),
    "1Konny": (_konny, beta.from_beta_vae_pytorch(4.0), Gaussian()),
    "keras": (_keras, beta.from_keras(channels=C), Bernoulli()),
    "PyTorch": (_pytorch, beta.from_pytorch_examples(), Bernoulli()),
    "scvi": (_scvi, beta.from_scvi(0.8), Bernoulli()),
    "mean squares": (_mean_squares, beta.from_mean_squares(1e-2, D), Gaussian()),
    "normalised": (_normalised, beta.from_normalised(0.5, D, LATENTS), Gaussian()),
    "own: weighted squares": (_weighted_squares, 1 / (2 * 3), Gaussian()),
    "own: mean entropy": (_mean_entropy, 1e-2 * D, Bernoulli()),
    "own: mean of absolute errors": (_mean_absolute, 1e-2 * D, Laplace(1.0)),
    "own: KL without its half, in mean over places": (_mean_over_places, 2 * 0.1 / 3, Gaussian()),
    "variance": (_variance, beta.from_decoder_variance(0.04), Gaussian()),
}


def _ratios(loss: Loss, converted: float, likelihood: Likelihood, binary: bool) -> Tensor:
    """The maker's loss over curvae's, for a few random inputs."""
    found = []
    for _ in range(5):
        x, g = torch.rand(2, B, C, H, W).clamp(0.02, 0.98)
        x = (x > 0.5).to(x) if binary else x
        mu, log_var = torch.randn(2, B, LATENTS)
        # curvae's own terms: the likelihood's, and the closed form of (8)
        ours = likelihood.nll(g, x).mean() + converted * _kl(mu, log_var).sum(1).mean()
        found.append(loss(x, g, mu, log_var) / ours)
    return torch.stack(found)


@pytest.mark.parametrize("row", ROWS)
def test_the_makers_loss_is_a_constant_times_ours(row, float64, seed):
    loss, converted, likelihood = ROWS[row]
    ratios = _ratios(loss, converted, likelihood, binary=row == "scvi")
    assert torch.allclose(ratios, ratios[0].expand(5), rtol=1e-9)
    # and a β that is off by a hundredth is seen
    wrong = _ratios(loss, converted * 1.01, likelihood, binary=row == "scvi")
    assert not torch.allclose(wrong, wrong[0].expand(5), rtol=1e-6)


def test_a_mean_over_tokens_of_sequences_of_different_lengths(float64):
    """As molecule and text VAEs have it: padding is ignored, and the mean is over what is left of the whole batch."""
    logits, tokens, (mu, log_var) = torch.randn(B, 5, 7), torch.randint(5, (B, 7)), torch.randn(2, B, LATENTS)
    tokens[0, 4:] = tokens[1, 2:] = -100
    theirs = functional.cross_entropy(logits, tokens, ignore_index=-100) + 0.1 * _kl(mu, log_var).sum(1).mean()
    length = float((tokens >= 0).sum()) / B
    x = tokens.double().where(tokens >= 0, torch.nan)
    ours = Masked(Categorical()).nll(logits, x).mean() + 0.1 * length * _kl(mu, log_var).sum(1).mean()
    torch.testing.assert_close(theirs * length, ours)


@pytest.mark.skipif(importlib.util.find_spec("pythae") is None, reason="pythae is not installed")
@pytest.mark.parametrize(("name", "likelihood"), [("mse", Gaussian()), ("bce", Bernoulli())])
def test_pythae_itself(name, likelihood, float64):
    from pythae.models import BetaVAE, BetaVAEConfig

    model = BetaVAE(BetaVAEConfig(input_dim=(C, H, W), latent_dim=LATENTS, beta=3.0, reconstruction_loss=name))

    def loss(x, g, mu, log_var):
        return model.loss_function(g, x, mu, log_var, mu)[0]

    ratios = _ratios(loss, beta.from_pythae(3.0, name), likelihood, binary=False)
    assert torch.allclose(ratios, ratios[0].expand(5), rtol=1e-9)


def test_every_converter_stands_in_the_table_and_in_a_test():
    converters = [name for name, _ in inspect.getmembers(beta, inspect.isfunction) if name.startswith("from_")]
    table = (Path(__file__).parents[1] / "docs" / "beta.md").read_text(encoding="utf-8")
    here = Path(__file__).read_text(encoding="utf-8")
    assert len(converters) >= 10
    for name in converters:
        assert f"`{name}(" in table
        assert f"beta.{name}(" in here


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: beta.from_pythae(-1.0), "beta is -1.0; expected a finite number > 0"),
        (lambda: beta.from_pythae(1.0, "l3"), "reconstruction_loss is 'l3'; expected mse or bce"),
        (lambda: beta.from_latent_diffusion(1.0, math.nan), "logvar is nan; expected the logarithm of a scale"),
        (lambda: beta.from_latent_diffusion(1.0, torch.zeros(2)), "logvar is tensor"),
        (lambda: beta.from_latent_diffusion(1.0, 1e3), "logvar is 1000.0; expected the logarithm of a scale"),
        (lambda: beta.from_mean_squares(1.0, 0), "outputs is 0; expected a whole number >= 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
