r"""Does the penalty help the first stage of a latent diffusion model? ``AutoencoderKL`` on drawn faces, several ways.

``python -m benchmarks.first_stage --scale quick`` trains each way with each seed, at equal steps, and writes
``results/first_stage/summary.json`` and ``first_stage.png``. Finished runs lie in ``--work`` and are not trained again.

- **KL**: the loss of diffusers' ``train_autoencoderkl.py``, squared error and 1e-6 KL, without its perceptual and
  adversarial terms, whose networks are downloaded;
- **noise s**: the same, decoding codes with Gaussian noise of s of their standard deviation;
- **penalty s**: decodes the mean and adds what such noise costs, $s^2\mathrm{tr}M$, by ``curvae.regulariser``: one step
  along random signs for a quarter of every second batch.

Latent noise is in units of the codes' standard deviation, which a diffusion model scales to 1.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import flops
from curvae import regulariser
from curvae.curvature import Fraction, Signs, Trace
from curvae.data import avatars
from curvae.files import write_atomic
from curvae.metrics.efficientnet import EfficientNetLite0
from curvae.metrics.frechet import FrechetDistance
from curvae.reproduce.intervals import paired
from curvae.reproduce.summary import write_text
from curvae.runs.provenance import environment, today

KL_SCALE, FRACTION, EVERY = 1e-6, 1 / 4, 2
TRAINED_AT = (0.4, 0.2)
LEVELS = (0.1, 0.2, 0.3, 0.5)
HEADLINE = "0.3"
ANY_BETA = 1e9  # half of β times the trace over β: it cancels
SAMPLES_SHOWN, PAIRS, POINTS = 8, 64, 9


@dataclass(frozen=True)
class Scale:
    """How much: faces drawn and measured, pixels, batch, steps, seeds, widths of the network."""

    faces: int
    held_out: int
    side: int
    batch: int
    steps: int
    seeds: int
    widths: tuple[int, ...]
    rate: float = 1e-3


SCALES = {
    "smoke": Scale(faces=40, held_out=4, side=16, batch=8, steps=2, seeds=2, widths=(8, 8)),
    "quick": Scale(faces=5000, held_out=250, side=32, batch=4, steps=450, seeds=3, widths=(16, 32, 80)),
    "long": Scale(faces=20_000, held_out=2000, side=64, batch=16, steps=20_000, seeds=3, widths=(32, 64, 96, 96)),
}

Loss = Callable[[AutoencoderKL, Tensor, torch.Generator, int], Tensor]


def network(scale: Scale) -> AutoencoderKL:
    """An ``AutoencoderKL`` of four channels, a stage for each width."""
    stages = len(scale.widths)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=scale.widths,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=scale.side,
    )


def faces(scale: Scale) -> tuple[Tensor, Tensor]:
    """Training and held-out faces in [−1, 1], averaged down from 64 × 64 pixels."""
    pool = avatars.SIDE // scale.side
    halves = avatars.load(scale.faces)[:2]
    train, test = (functional.avg_pool2d(torch.as_tensor(np.array(half)).float() / 127.5 - 1, pool) for half in halves)
    return train, test[: scale.held_out]


def decode(vae: AutoencoderKL, z: Tensor) -> Tensor:
    """The images of codes."""
    return vae.decode(z).sample


def mean_of_sums(values: Tensor) -> Tensor:
    """Summed over outputs, averaged over samples, as diffusers' example does."""
    return values.flatten(1).sum(1).mean()


def plain(vae: AutoencoderKL, x: Tensor, generator: torch.Generator, _: int, noise: float = 0.0) -> Tensor:
    """diffusers' loss, with more noise on the codes if asked for."""
    q = vae.encode(x).latent_dist
    z = q.sample(generator)
    if noise:
        z = z + noise * z.std() * torch.randn(z.shape, generator=generator)
    return mean_of_sums((decode(vae, z) - x).square()) + KL_SCALE * q.kl().mean()


def penalised(vae: AutoencoderKL, x: Tensor, generator: torch.Generator, step: int, level: float) -> Tensor:
    """The same at the mean, and s² tr M in its place, at every ``EVERY``-th step with as many times the weight."""
    q = vae.encode(x).latent_dist
    z = q.mode()
    if step % EVERY:
        return mean_of_sums((decode(vae, z) - x).square()) + KL_SCALE * q.kl().mean()
    variance = z.var()
    estimator = Fraction(Trace(Signs(1), step=0.1 * float(variance.detach().sqrt())), FRACTION)
    penalty, reconstruction = regulariser(
        partial(decode, vae), z, ANY_BETA, estimator=estimator, generator=generator, output=True
    )
    # the variance makes it the penalty of codes scaled to 1: larger codes alone do not lower it
    added = 2 * EVERY * level**2 * variance * penalty.mean()
    return mean_of_sums((reconstruction - x).square()) + added + KL_SCALE * q.kl().mean()


WAYS: dict[str, Loss] = {"KL": plain}
for _level in TRAINED_AT:
    WAYS[f"penalty {_level}"] = partial(penalised, level=_level)
    WAYS[f"noise {_level}"] = partial(plain, noise=_level)
SHOWN = ("KL", "noise 0.4", "penalty 0.4")


def train(loss: Loss, scale: Scale, data: Tensor, seed: int, name: str) -> AutoencoderKL:
    """AdamW, a rate that falls to 0, gradients clipped at norm 1."""
    torch.manual_seed(seed)
    vae = network(scale)
    act = stepper(loss, vae, scale, data, seed)
    start = time.perf_counter()
    for step in range(scale.steps):
        value = act(step)
        if sys.stderr.isatty() or step % 100 == 0 or step + 1 == scale.steps:
            seconds = time.perf_counter() - start
            print(f"{name}: step {step + 1} of {scale.steps}, loss {value:.4g}, {seconds:.0f} s", file=sys.stderr)
    return vae.eval()


def stepper(loss: Loss, vae: AutoencoderKL, scale: Scale, data: Tensor, seed: int) -> Callable[[int], float]:
    """One training step after another."""
    optimiser = torch.optim.AdamW(vae.parameters(), lr=scale.rate)
    generator = torch.Generator().manual_seed(seed)

    def act(step: int) -> float:
        x = data[torch.randint(len(data), (scale.batch,), generator=generator)]
        value = loss(vae, x, generator, step)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        warm = min(1.0, (step + 1) / 20)
        optimiser.param_groups[0]["lr"] = scale.rate * warm * 0.5 * (1 + math.cos(math.pi * step / scale.steps))
        optimiser.step()
        return float(value.detach())

    return act


@torch.no_grad()
def measure(vae: AutoencoderKL, x: Tensor, distance: FrechetDistance) -> dict[str, Any]:
    """Of held-out faces: PSNR in dB, mean squared errors of pixels in [−1, 1], roughness, Fréchet distances."""
    z = torch.cat([vae.encode(part).latent_dist.mode() for part in x.split(50)])
    clean, spread = decoded(vae, z), z.std()
    generator = torch.Generator().manual_seed(0)
    error: dict[str, float] = {}
    total: dict[str, float] = {}
    frechet = {"0": distance([pixels(clean)])}
    for level in LEVELS:
        noisy = decoded(vae, z + level * spread * torch.randn(z.shape, generator=generator))
        error[f"{level:g}"] = float((noisy - clean).square().mean())
        total[f"{level:g}"] = float((noisy - x).square().mean())
        if f"{level:g}" == HEADLINE:
            frechet[HEADLINE] = distance([pixels(noisy)])
    squared = (pixels(clean) - pixels(x)).square().flatten(1).mean(1)
    return {
        "psnr": float(-10 * squared.log10().mean()),
        "decode_error": error,
        "error_to_image": {"0": float((clean - x).square().mean()), **total},
        "roughness": roughness(vae, z[: 2 * PAIRS]),
        "frechet": frechet,
        "codes_std": float(spread),
    }


def roughness(vae: AutoencoderKL, z: Tensor) -> float:
    """Of straight lines between codes of two faces: ∫‖y″‖² over ∫‖y′‖² of the decoded path, 0 for a cross-fade."""
    first, second = z.chunk(2)
    first = first[: len(second)]
    shares = torch.linspace(0, 1, POINTS)
    path = torch.stack([decoded(vae, first.lerp(second, float(share))) for share in shares])
    once, twice = path.diff(dim=0), path.diff(n=2, dim=0)
    return float((twice.square().sum((0, 2, 3, 4)) / once.square().sum((0, 2, 3, 4))).mean()) * (POINTS - 1) ** 2


def decoded(vae: AutoencoderKL, z: Tensor) -> Tensor:
    """In parts."""
    return torch.cat([decode(vae, part) for part in z.split(50)])


def pixels(x: Tensor) -> Tensor:
    """In [0, 1]."""
    return ((x + 1) / 2).clamp(0, 1)


def step_cost(scale: Scale, data: Tensor, rounds: int) -> dict[str, dict[str, float]]:
    """Processor time of ``EVERY`` steps over that of KL's, the ways taking turns: median and quartiles over rounds.

    Beside it the ratio of floating-point operations, which no load of the machine changes.
    """
    torch.manual_seed(0)
    sides = {name: stepper(WAYS[name], network(scale), scale, data, 0) for name in SHOWN}
    for act in sides.values():
        act(0)  # the first use of a decoder has checks
    operations = {name: flops(lambda act=act: [act(step) for step in range(EVERY)]) for name, act in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, act in sides.items():
            start = time.process_time()
            for step in range(EVERY):
                act(step)
            if number:  # the first round warms up
                times[name].append((time.process_time() - start) / EVERY)
    ratios = {name: [a / b for a, b in zip(taken, times["KL"], strict=True)] for name, taken in times.items()}
    return {
        name: {
            "milliseconds": 1e3 * statistics.median(times[name]),
            "ratio": statistics.median(values),
            "operations": operations[name] / operations["KL"],
            "low": float(np.quantile(values, 0.25)),
            "high": float(np.quantile(values, 0.75)),
        }
        for name, values in ratios.items()
    }


def draw(scale: Scale, ways: list[str], work: Path, x: Tensor, path: Path) -> None:
    """Held-out faces, and what each way decodes of their codes with noise; seed 0."""
    import matplotlib.pyplot as plt

    x = x[:SAMPLES_SHOWN]
    rows = [("faces", x)]
    with torch.no_grad():
        for name in [name for name in SHOWN if name in ways]:
            vae = trained(scale, work / f"{name}-0")
            z = vae.encode(x).latent_dist.mode()
            noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
            rows += [
                (name, decode(vae, z)),
                (f"{name}, {HEADLINE}", decode(vae, z + float(HEADLINE) * z.std() * noise)),
            ]
    figure, axes = plt.subplots(len(rows), 1, figsize=(5.2, 0.68 * len(rows)))
    for axis, (name, images) in zip(axes, rows, strict=True):
        axis.imshow(torch.cat(list(pixels(images)), -1).permute(1, 2, 0).numpy(), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def compared(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Each way against KL, seed by seed, with 95 % intervals."""
    found: dict[str, Any] = {}
    for name in [name for name in runs if name != "KL"]:
        pairs = list(zip(runs[name], runs["KL"], strict=True))
        ratios = [math.log(a["decode_error"][HEADLINE] / b["decode_error"][HEADLINE]) for a, b in pairs]
        found[name] = {
            "psnr": paired(np.array([a["psnr"] - b["psnr"] for a, b in pairs])),
            "log_decode_error": paired(np.array(ratios)),
        }
    return found


def run(scale: Scale, ways: list[str], work: Path, data: Tensor, held_out: Tensor) -> dict[str, list[dict[str, Any]]]:
    """Train every way with every seed, then measure; what is there already is not done again."""
    places = {(name, seed): work / f"{name}-{seed}" for seed in range(scale.seeds) for name in ways}
    for (name, seed), place in places.items():
        if not weights(place).exists():
            vae = train(WAYS[name], scale, data, seed, f"{name}, seed {seed}")
            write_atomic(weights(place), partial(save_file, vae.state_dict()))
    distance = FrechetDistance(EfficientNetLite0(side=64), [pixels(held_out)])
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for (name, seed), place in places.items():
        measures = partial(measure, trained(scale, place), held_out, distance)
        runs[name].append(kept(place.with_name(f"{place.name}.json"), measures))
        print(name, seed, json.dumps(runs[name][-1]), file=sys.stderr, flush=True)
    return runs


def kept(place: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is in a file, made and put there if it is not."""
    if not place.exists():
        write_text(place, json.dumps(make()))
    return json.loads(place.read_text())


def weights(place: Path) -> Path:
    """Where a finished run's are."""
    return place.with_name(f"{place.name}.safetensors")


def trained(scale: Scale, place: Path) -> AutoencoderKL:
    """A finished run."""
    vae = network(scale).eval()
    vae.load_state_dict(load_file(weights(place)))
    return vae


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_stage", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="quick")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(SHOWN), help="KL and those to compare with it")
    parser.add_argument("--seeds", type=int, help="fewer or more than the scale has")
    parser.add_argument("--out", type=Path, default=Path("results/first_stage"), help="summary.json and the picture")
    parser.add_argument("--work", type=Path, help="finished runs; default runs/first_stage/SCALE")
    arguments = parser.parse_args()
    if "KL" not in arguments.ways:
        parser.error("--ways needs KL, which the others are compared with")
    scale = SCALES[arguments.scale]
    if arguments.seeds:
        scale = replace(scale, seeds=arguments.seeds)
    work = arguments.work or Path("runs/first_stage") / arguments.scale
    for folder in (work, arguments.out):
        folder.mkdir(parents=True, exist_ok=True)
    smoke = arguments.scale == "smoke"
    data, held_out = faces(scale)
    runs = run(scale, arguments.ways, work, data, held_out)
    summary = {
        "scale": arguments.scale,
        **asdict(scale),
        "parameters": sum(p.numel() for p in network(scale).parameters()),
        "kl_scale": KL_SCALE,
        "trained_at": TRAINED_AT,
        "penalty": {"fraction": FRACTION, "every": EVERY},
        "headline_level": HEADLINE,
        "runs": runs,
        "against_kl": compared(runs),
        "step_cost": kept(work / "step_cost.json", partial(step_cost, scale, data, 3 if smoke else 20)),
        "date": today(),
        "threads": torch.get_num_threads(),
        **environment(torch.device("cpu"), "diffusers"),
    }
    write_text(arguments.out / "summary.json", json.dumps(summary, indent=1))
    write_atomic(arguments.out / "first_stage.png", lambda path: draw(scale, arguments.ways, work, held_out, path))


if __name__ == "__main__":
    main()
