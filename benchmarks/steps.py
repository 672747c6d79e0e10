"""Training steps on the paper's MNIST networks: pythae's β-VAE, ours, GRAE≈ and the exact GRAE."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pythae.data.datasets import DatasetOutput
from pythae.models import BetaVAE as PythaeBetaVAE
from pythae.models import BetaVAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from benchmarks.measure import Row, interleaved
from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.nn import MNISTDecoder, MNISTEncoder

BATCH, LATENTS, BETA = 64, 12, 0.2


class Encoder(BaseEncoder):
    """The paper's encoder with pythae's two heads."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.layers = MNISTEncoder(width)
        self.embedding = nn.Linear(self.layers.out_features, LATENTS)
        self.log_var = nn.Linear(self.layers.out_features, LATENTS)

    def forward(self, x: Tensor) -> ModelOutput:
        features = self.layers(x)
        return ModelOutput(embedding=self.embedding(features), log_covariance=self.log_var(features))


class Decoder(BaseDecoder):
    """The paper's decoder in pythae's wrapping."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.layers = MNISTDecoder(LATENTS, width)

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


def _step(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    return step


def _sides(width: float) -> dict[str, Callable[[], None]]:
    x = torch.rand(BATCH, 1, 28, 28)
    config = BetaVAEConfig(input_dim=(1, 28, 28), latent_dim=LATENTS, beta=BETA)
    theirs = PythaeBetaVAE(config, encoder=Encoder(width), decoder=Decoder(width))

    def ours(structure: posteriors.Structure | None) -> Autoencoder:
        return Autoencoder(MNISTEncoder(width), MNISTDecoder(LATENTS, width), LATENTS, structure)

    vae, sampled, exact = ours(posteriors.Diagonal()), ours(None), ours(None)
    elbo = objectives.BetaVAE(BETA)
    columns = objectives.GRAE(BETA, structure=posteriors.Diagonal(), estimator=curvature.Columns(1))
    full = objectives.GRAE(BETA)
    return {
        "β-VAE": _step(vae, lambda: elbo(vae, x).mean()),
        "pythae β-VAE": _step(theirs, lambda: theirs(DatasetOutput(data=x)).loss),
        "GRAE≈ (one column)": _step(sampled, lambda: columns(sampled, x).mean()),
        "GRAE (exact, d = 12)": _step(exact, lambda: full(exact, x).mean()),
    }


def run(quick: bool) -> list[Row]:
    """Each side against our β-VAE; by FLOPs one column costs 1.63 and the exact Jacobian 8.5 at full width."""
    width, repetitions = (0.125, 15) if quick else (1.0, 7)
    medians = interleaved(_sides(width), repetitions)
    size = f"paper's MNIST networks × {width:g}, batch {BATCH}, d = {LATENTS}, float32"
    base = "β-VAE"
    return [Row(name, size, ms, base, medians[base]) for name, ms in medians.items() if name != base]
