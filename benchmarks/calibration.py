"""Do credible intervals of the latents cover what they should? Simulated data with known latents, per likelihood.

``python -m benchmarks.calibration --out results/calibration`` writes ``summary.json`` and ``calibration.png``.

The decoder is known and fixed, z ~ N(0, I), x ~ p(x | g(z)), so that the true posterior is the model's own; only an
encoder is trained. Four intervals: the encoder's own covariance (β-VAE, full), Σ* of (11) at the same means, Σ* at the
means of a GRAE's encoder, and Σ* at the posterior's mode. The effective share of importance draws from the second says
how near to Gaussian the true posterior is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import commit
from curvae import Autoencoder, objectives
from curvae.data import Dataset
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood, NegativeBinomial, Poisson, SizeFactors
from curvae.metrics import Implied, importance_weighted_nll
from curvae.posteriors import Full, Normal
from curvae.reproduce.summary import write_text
from curvae.runs.provenance import environment
from curvae.training.fit import fit

LATENTS, OUTPUTS = 2, 40
LEVELS = (0.5, 0.8, 0.9, 0.95)
LIKELIHOODS: dict[str, tuple[Likelihood, float]] = {  # with where the outputs are
    "gaussian": (Gaussian(0.5), 0.0),
    "bernoulli": (BernoulliLogits(), 0.0),
    "poisson": (Poisson(), 0.5),
    "negative binomial, size factors": (SizeFactors(NegativeBinomial(5.0)), 0.5),
    "bernoulli, 8 outputs": (BernoulliLogits(), 0.0),
}
KINDS = (("amortised", "o"), ("sigma star", "s"), ("sigma star of a GRAE", "^"), ("sigma star at the mode", "d"))
SCALES = {"smoke": (200, 200, 3), "quick": (3000, 1500, 300), "full": (20_000, 5000, 5000)}
"""Samples to train on, samples to test, steps."""


class Inputs(nn.Module):
    """Counts by their logarithms: what any encoder of counts would see."""

    def __init__(self, counts: bool) -> None:
        super().__init__()
        self.counts = counts

    def forward(self, x: Tensor) -> Tensor:
        return x.log1p() if self.counts else x


def simulate(name: str, count: int, seed: int) -> tuple[nn.Module, Likelihood, Tensor, Tensor]:
    """A decoder, its likelihood, latents and data."""
    likelihood, centre = LIKELIHOODS[name]
    outputs = 8 if "8 outputs" in name else OUTPUTS
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder = nn.Sequential(nn.Linear(LATENTS, 16), nn.Tanh(), nn.Linear(16, outputs))
        with torch.no_grad():
            decoder[0].weight.normal_(0, 0.5)
            decoder[2].weight.normal_(0, 0.5)
            decoder[2].bias.fill_(centre)
            z = torch.randn(count, LATENTS)
            eta = decoder(z)
            if isinstance(likelihood, SizeFactors):
                factors = torch.empty(count, 1).uniform_(0.3, 3)
                x = torch.cat([likelihood.likelihood.sample(eta + factors.log()), factors], 1)
            else:
                x = likelihood.sample(eta)
    return decoder.requires_grad_(False), likelihood, z, x


def trained(name: str, objective: str, scale: str, seed: int) -> tuple[Autoencoder, Likelihood, Tensor, Tensor]:
    """An encoder for a known decoder, with the latents and data to test it."""
    train, test, steps = SCALES[scale]
    decoder, likelihood, z, x = simulate(name, train + test, seed)
    counts = name.startswith(("poisson", "negative"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = nn.Sequential(Inputs(counts), nn.Linear(x.shape[1], 128), nn.ELU(), nn.Linear(128, 64), nn.ELU())
        structure = Full() if objective == "beta-vae" else None
        model = Autoencoder(encoder, decoder, LATENTS, structure, features=64)
    loss = objectives.BetaVAE(1.0, likelihood) if structure else objectives.GRAE(1.0, likelihood)
    data = Dataset("simulated", x[:train], x[train:], {"kind": "given"})
    fit(model, data, loss, steps=steps, batch_size=128, lr=1e-2, schedule="cosine", seed=seed, progress=False)
    return model.eval(), likelihood, z[train:], x[train:]


def coverage(q: Normal, z: Tensor) -> list[float]:
    """How many latents lie in their central intervals, by level."""
    covariance = q.covariance().detach().double()
    distance = (z.double() - q.mean.detach().double()).abs() / covariance.diagonal(dim1=1, dim2=2).sqrt()
    inside = 2 * torch.special.ndtr(distance) - 1
    return [float((inside <= level).double().mean()) for level in LEVELS]


def measure(name: str, scale: str, seed: int) -> dict[str, Any]:
    """Coverages of one likelihood."""
    model, likelihood, z, x = trained(name, "beta-vae", scale, seed)
    implied = Implied(model, 1.0, likelihood)
    grae = trained(name, "grae", scale, seed)[0]
    generator = torch.Generator().manual_seed(seed)
    found = importance_weighted_nll(implied, x[:200], likelihood, samples=256, generator=generator, chunk_size=64)
    return {
        "amortised": coverage(model.posterior(x), z),
        "sigma star": coverage(implied.posterior(x), z),
        "sigma star at the mode": coverage(Implied(model, 1.0, likelihood, refine=3).posterior(x), z),
        "sigma star of a GRAE": coverage(Implied(grae, 1.0, likelihood).posterior(x), z),
        "effective share of draws": float(found.ess.median()) / 256,
    }


def draw(summary: dict[str, Any], path: Path) -> None:
    """Coverage beside the level, a panel for each likelihood."""
    import matplotlib.pyplot as plt

    found = summary["likelihoods"]
    figure, axes = plt.subplots(1, len(found), figsize=(2.6 * len(found), 2.8), sharey=True)
    for axis, (name, values) in zip(axes, found.items(), strict=True):
        axis.axhspan(-2, 2, color="0.9")
        for kind, marker in KINDS:
            curve = [100 * (sum(run) / len(run) - level) for run, level in zip(zip(*values[kind]), LEVELS)]  # noqa: B905
            axis.plot([100 * level for level in LEVELS], curve, marker=marker, ms=4, lw=1, label=kind)
        axis.axhline(0, color="k", lw=0.5)
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("credible level, %")
    axes[0].set_ylabel("coverage − level, points")
    axes[0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure all and write them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="quick")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="folder for summary.json and calibration.png")
    arguments = parser.parse_args()
    likelihoods: dict[str, Any] = {}
    for name in LIKELIHOODS:
        runs = [measure(name, arguments.scale, seed) for seed in range(arguments.seeds)]
        likelihoods[name] = {key: [run[key] for run in runs] for key in runs[0]}
        print(name, json.dumps(likelihoods[name]), flush=True)
    train, test, steps = SCALES[arguments.scale]
    summary = {
        "scale": arguments.scale,
        "seeds": list(range(arguments.seeds)),
        "training samples": train,
        "test samples": test,
        "steps": steps,
        "latents": LATENTS,
        "levels": LEVELS,
        "likelihoods": likelihoods,
        **environment(torch.device("cpu")),
        "commit": commit(),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out / "summary.json", json.dumps(summary, indent=1))
    draw(summary, arguments.out / "calibration.png")


if __name__ == "__main__":
    main()
