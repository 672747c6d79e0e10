"""Figure 4 (§5, App. G): are samples of β-VAE and GRAE≈ equally good, at every β, on 64 × 64 images?

Samples are measured by a Fréchet distance, from the prior and from a mixture fitted to the codes, with sharpness,
reconstruction error and objectives beside it; at one β stand models that differ from GRAE≈ in one thing.
"""

from __future__ import annotations

from curvae.data import cache
from curvae.metrics.sharpness import mean_sharpness
from curvae.reproduce.fig4 import numbers, picture
from curvae.reproduce.fig4.config import CONFIGS, Quality, ablation_runs
from curvae.reproduce.fig4.section import SECTIONS, table
from curvae.reproduce.sweep import Context, FigureResult, Sweep
from curvae.reproduce.sweep.faces import check_images, sweep_runs
from curvae.reproduce.sweep.frechet import batches, frechet_reference, image_extractor

__all__ = ["CONFIGS", "SECTIONS", "reproduce"]


def make(figure: str, config: Quality, context: Context) -> FigureResult:
    """Train, measure and draw."""
    # what is asked for is checked before anything is trained
    check_images(figure, context.dataset)
    wanted = sweep_runs(config.training, config.betas, config.latents, config.training.seeds)
    varied = ablation_runs(config)
    extractor = image_extractor(config.features, config.side, context.dataset)
    reference = frechet_reference(
        extractor, extractor.about, context.dataset, config.images, context.device, cache.default()
    )
    runs = context.runs([*wanted.values(), *varied.values()])
    evaluator = numbers.SampleEvaluator(context.dataset, config, reference, context.device)
    measured = context.measure(runs, evaluator)
    found = numbers.against_beta({place: measured[key] for place, key in wanted.items()})
    real = batches(context.dataset.test[: reference.images], context.device)
    found |= {
        "betas": list(config.betas),
        "test_points": min(config.points, len(context.dataset.test)),
        "objective_points": min(config.objective_points, len(context.dataset.test)),
        "frechet": reference.summary(),
        "sharpness_of_real_images": mean_sharpness(real),
        "answer": {key: numbers.sentence(found["within_spread"][key], config.betas) for key in numbers.DISTANCES},
        "ablation": None,
    }
    drawings = {f"{figure}.png": picture.against_beta(found)}
    if varied:
        changed = numbers.ablation({place: measured[key] for place, key in varied.items()}, config.ablation_beta)
        found["ablation"] = changed
        drawings[f"{figure}-ablation.png"] = picture.ablation(changed)
    return FigureResult(found, table(found), drawings, tuple(runs.values()))


reproduce = Sweep(CONFIGS, make)
