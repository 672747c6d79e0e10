"""Training steps of decoders as people have them: diffusers' ``AutoencoderKL`` and a transformer over tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from benchmarks import first_stage
from benchmarks.measure import Act, Row, Stopwatch, flops, interleaved, training_step
from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.curvature import Columns, Fraction, Secants
from curvae.objectives import Objective

BETA, SHARE = 0.2, 1 / 8
VAE = "β-VAE"
WIDTH, TOKENS, PATCH, LATENTS = 128, 64, 48, 32


class Encode(nn.Module):
    """The encoder of an ``AutoencoderKL`` as it stands: means and log standard deviations."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.encoder, self.quant = vae.encoder, vae.quant_conv

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.quant(self.encoder(x)).chunk(2, 1)
        return mean, log_variance.clamp(-30, 20) / 2


class Decode(nn.Module):
    """Its decoder."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.decoder, self.quant = vae.decoder, vae.post_quant_conv

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(self.quant(z))


def _blocks(count: int) -> nn.Sequential:
    layer = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
    return nn.Sequential(*(nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, **layer) for _ in range(count)))


class TokenEncoder(nn.Module):
    """Patches as tokens, two blocks, their mean."""

    out_features = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Linear(PATCH, WIDTH), _blocks(2)
        self.place = nn.Parameter(torch.randn(TOKENS, WIDTH) / 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.embed(x) + self.place).mean(1)


class TokenDecoder(nn.Module):
    """A token for each patch, three blocks, a patch for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.blocks = nn.Linear(LATENTS, TOKENS * WIDTH // 2), _blocks(3)
        self.up, self.norm, self.out = nn.Linear(WIDTH // 2, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, PATCH)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(self.norm(self.blocks(self.up(self.start(z).unflatten(1, (TOKENS, -1))))))


def _kl() -> Autoencoder:
    scale = first_stage.SCALES["quick"]
    vae = first_stage.network(scale)
    side = scale.side >> (len(scale.widths) - 1)
    return Autoencoder(Encode(vae), Decode(vae), (4, side, side), posteriors.Diagonal(), head=False)


def _transformer() -> Autoencoder:
    return Autoencoder(TokenEncoder(), TokenDecoder(), LATENTS, posteriors.Diagonal())


NETWORKS: dict[str, tuple[Callable[[], Autoencoder], tuple[int, ...]]] = {
    "AutoencoderKL": (_kl, (3, 32, 32)),
    "transformer, 64 tokens": (_transformer, (TOKENS, PATCH)),
}


def step(model: Autoencoder, objective: Objective, x: Tensor) -> Act:
    """Forwards, backwards and Adam."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    generator = torch.Generator(x.device).manual_seed(0)
    return training_step(lambda: objective(model, x, generator).mean(), optimiser)


def objective_of(estimator: curvature.Estimator | None) -> Objective:
    """The β-VAE, or GRAE≈ by an estimator."""
    if estimator is None:
        return objectives.BetaVAE(BETA)
    return objectives.GRAE(BETA, structure=posteriors.Diagonal(), estimator=estimator)


ESTIMATORS: dict[str, curvature.Estimator | None] = {
    VAE: None,
    "GRAE≈, one column of every sample": Columns(1),
    "GRAE≈, one column of 1/8 of the data": Fraction(Columns(1), SHARE),
    "GRAE≈, one secant of every sample": Secants(1),
    "GRAE≈, one secant of 1/8 of the data": Fraction(Secants(1), SHARE),
}


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """Each against the β-VAE's step, in time and in floating-point operations."""
    rows = []
    for name, (network, shape) in NETWORKS.items():
        batch = 16 if watch.device.type == "cpu" else 64
        x = torch.rand(batch, *shape, device=watch.device)
        sides = {
            side: step(network().to(watch.device), objective_of(estimator), x) for side, estimator in ESTIMATORS.items()
        }
        for act in sides.values():
            act()  # the first use of a decoder has checks
        operations = {side: flops(act) for side, act in sides.items()}
        medians = interleaved(sides, 5 if quick else 9, watch)
        weights = sum(weight.numel() for weight in network().parameters()) / 1e6
        size = f"{name}, {weights:.2f} M weights, batch {batch}"
        rows += [
            Row(side, size, medians[side], VAE, medians[VAE], operations_ratio=operations[side] / operations[VAE])
            for side in sides
            if side != VAE
        ]
    return rows
