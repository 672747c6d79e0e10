"""Training steps on the paper's MNIST networks against pythae's: forwards, backwards and Adam."""

from __future__ import annotations

import statistics
from collections.abc import Collection

import torch
from pythae.data.datasets import DatasetOutput
from pythae.models import RAE_GP, BetaVAE, BetaVAEConfig, RAE_GP_Config
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from benchmarks.measure import Act, Row, Stopwatch, flops, interleaved, matrix_throughput, training_step
from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.nn import MNISTDecoder, MNISTEncoder
from curvae.objectives import Objective
from curvae.training.module import Training

LATENTS, BETA = 12, 0.2
PYTHAE, PYTHAE_RAE = "pythae BetaVAE", "pythae RAE_GP"
VAE = "β-VAE"
ROUNDS = 4


class Encoder(BaseEncoder):
    """The paper's encoder with pythae's heads: two for a β-VAE, one for a regularised autoencoder."""

    def __init__(self, width: float, covariance: bool) -> None:
        super().__init__()
        self.layers = MNISTEncoder(width)
        self.embedding = nn.Linear(self.layers.out_features, LATENTS)
        self.log_var = nn.Linear(self.layers.out_features, LATENTS) if covariance else None

    def forward(self, x: Tensor) -> ModelOutput:
        features = self.layers(x)
        output = ModelOutput(embedding=self.embedding(features))
        if self.log_var is not None:
            output["log_covariance"] = self.log_var(features)
        return output


class Decoder(BaseDecoder):
    """The paper's decoder in pythae's wrapping."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.layers = MNISTDecoder(LATENTS, width)

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


def theirs(kind: str, width: float, x: Tensor) -> Act:
    """A step of one of pythae's models with the optimiser of its trainer."""
    shape = {"input_dim": tuple(x.shape[1:]), "latent_dim": LATENTS}
    if kind == PYTHAE:
        model: nn.Module = BetaVAE(BetaVAEConfig(**shape, beta=BETA), Encoder(width, True), Decoder(width))
    else:
        model = RAE_GP(RAE_GP_Config(**shape), Encoder(width, False), Decoder(width))
    model.to(x.device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    return training_step(lambda: model(DatasetOutput(data=x)).loss, optimiser)


def ours(objective: Objective, structure: posteriors.Structure | None, width: float, x: Tensor, bf16: bool) -> Act:
    """A step as :class:`~curvae.training.module.Training` makes it, without the loop around it."""
    model = Autoencoder(MNISTEncoder(width), MNISTDecoder(LATENTS, width), LATENTS, structure).to(x.device)
    if bf16:
        model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    module = Training(model, objective, optimiser, seed=0, bf16=bf16)
    generator = torch.Generator(x.device).manual_seed(0)
    return training_step(lambda: objective(model, x, generator).mean(), optimiser, module.precision)


def _sides(width: float, x: Tensor) -> dict[str, Act]:
    diagonal = posteriors.Diagonal()
    column, exact = curvature.Columns(1), curvature.Exact()

    def columns(estimator: curvature.Estimator) -> tuple[Objective, None]:
        return objectives.GRAE(BETA, structure=diagonal, estimator=estimator), None

    def log_determinant(estimator: curvature.Estimator) -> tuple[Objective, None]:
        return objectives.GRAE(BETA, estimator=estimator), None

    kinds: dict[str, tuple[Objective, posteriors.Structure | None]] = {
        VAE: (objectives.BetaVAE(BETA), diagonal),
        "GRAE≈, one column of every sample": columns(column),
        "GRAE≈, one column of 1/4 of the data": columns(curvature.Fraction(column, 1 / 4)),
        "GRAE≈, one column of 3/16 of the data": columns(curvature.Fraction(column, 3 / 16)),
        "GRAE≈, one column of 1/8 of the data": columns(curvature.Fraction(column, 1 / 8)),
        "GRAE≈, one column of 1/16 of the data": columns(curvature.Fraction(column, 1 / 16)),
        "GRAE, all 12 columns of every sample": log_determinant(exact),
        "GRAE, all 12 columns of 1/16 of the data": log_determinant(curvature.Fraction(exact, 1 / 16)),
        "GRAE, all 12 columns of 1/32 of the data": log_determinant(curvature.Fraction(exact, 1 / 32)),
    }
    sides = {kind: theirs(kind, width, x) for kind in (PYTHAE, PYTHAE_RAE)}
    for name, (objective, structure) in kinds.items():
        for bf16 in (False, True):
            sides[name + ", bf16" * bf16] = ours(objective, structure, width, x, bf16)
    return sides


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """Each side against pythae's β-VAE in float32, and the float32 ones against our β-VAE.

    By FLOPs one column costs 1.63 β-VAE steps and the exact Jacobian 8.5 at full width.
    """
    rows = []
    sizes = [(0.125, 64)] if quick else [(0.125, 64), (1.0, 64)]
    for width, batch in sizes + ([(1.0, 512)] if watch.device.type == "cuda" else []):
        rows += _rows(width, batch, 2 if width == 1 and watch.device.type == "cpu" else 5, watch)
    return rows


def _rows(width: float, batch: int, repetitions: int, watch: Stopwatch) -> list[Row]:
    x = torch.rand(batch, 1, 28, 28, device=watch.device)
    operations = {name: flops(step) for name, step in _sides(width, x).items()}
    throughput = {half: matrix_throughput(watch, torch.bfloat16 if half else torch.float32) for half in (False, True)}
    size = f"paper's MNIST networks × {width:g}, batch {batch}, d = {LATENTS}"

    def row(name: str, medians: dict[str, float], reference: str) -> Row:
        seconds = medians[name] / 1e3
        share = operations[name] / seconds / throughput["bf16" in name]
        return Row(
            name,
            size,
            medians[name],
            reference,
            medians[reference],
            images_per_second=batch / seconds,
            share_of_matrix_throughput=share,
            operations_ratio=operations[name] / operations[reference],
        )

    rows = []
    # the references take part in both groups, so that a slow side does not cost the fast ones their repetitions
    slow = {name for name in operations if operations[name] > 1.5 * operations[VAE]}
    for names, rounds in ((operations.keys() - slow, ROUNDS), (slow | {PYTHAE, VAE}, ROUNDS // 2)):
        medians = _medians(width, x, names, rounds, repetitions, watch)
        new = [name for name in medians if name in slow or slow.isdisjoint(names)]
        rows += [row(name, medians, PYTHAE) for name in new if name != PYTHAE]
        rows += [row(name, medians, VAE) for name in new if "bf16" not in name and name not in (VAE, PYTHAE)]
    return rows


def _medians(
    width: float, x: Tensor, names: Collection[str], rounds: int, repetitions: int, watch: Stopwatch
) -> dict[str, float]:
    """Medians over networks made anew: where in memory one lies can change a step by some percent, lastingly."""
    found = []
    for _ in range(rounds):
        sides = {name: step for name, step in _sides(width, x).items() if name in names}
        found.append(interleaved(sides, repetitions, watch))
    return {name: statistics.median(times[name] for times in found) for name in found[0]}
