"""What figure 4 trains and measures, as frozen values for each scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from curvae.errors import InputError
from curvae.reproduce.sweep import faces
from curvae.reproduce.sweep.faces import CHALLENGER, GRAE, MODELS, REFERENCE, VAE
from curvae.reproduce.sweep.training import BETAS, TrainingSettings
from curvae.runs import RunConfig

Variants = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Quality:
    """Figure 4.

    Attributes:
        training: of every model.
        betas: the horizontal axis.
        latents: d.
        images: drawn from each model for the Fréchet distance, against as many held-out ones.
        points: held-out images for the reconstruction error.
        objective_points: held-out images for the objectives, which need the whole Jacobian.
        components: of the mixture that is fitted to the codes after training.
        codes: training images whose codes it is fitted to.
        features: ``lite0``, ``inception``, or the file of Inception's weights.
        side: pixels that images are brought to for Lite0.
        ablation_beta: β of the models that differ from GRAE≈ in one thing; one of ``betas`` or not.
        ablation: which of these are trained, by the names that :func:`ablations` knows, or ``none``.
        ablation_seeds: how many of the seeds they are trained with.
    """

    training: TrainingSettings
    betas: tuple[float, ...]
    latents: int
    images: int
    points: int
    objective_points: int
    codes: int
    components: int = 10
    features: str = "lite0"
    side: int = 128
    ablation_beta: float = 0.1
    ablation: tuple[str, ...] = ("k4", "fraction", "exact", "full", "lanczos", "half", "double", "no-norm")
    ablation_seeds: int = 5

    def __post_init__(self) -> None:
        if self.codes < 2:
            raise InputError(f"--set codes is {self.codes}; expected at least 2, to fit a mixture to")


def ablations(beta: float) -> Mapping[str, Variants]:
    """What differs from the two models in one thing, by the names that ``--set ablation=…`` takes.

    Example:
        >>> ablations(0.2)["half"]["GRAE≈, decoder's weight β/2"]["decoder_weight"]
        0.1
    """
    return {
        "k4": {"GRAE≈, four columns": {**GRAE, "estimator": "columns:4"}},
        "fraction": {"GRAE≈, an eighth of the batch": {**GRAE, "estimator": "fraction:1/8:columns:1"}},
        "exact": {"GRAE, diagonal, all columns": {**GRAE, "estimator": "exact"}},
        "full": {"GRAE, full, exact": {**GRAE, "structure": "full", "estimator": "exact"}},
        "lanczos": {"GRAE, full, Lanczos": {**GRAE, "structure": "full", "estimator": "lanczos:1:8"}},
        "half": {"GRAE≈, decoder's weight β/2": {**GRAE, "decoder_weight": beta / 2}},
        "double": {"GRAE≈, decoder's weight 2β": {**GRAE, "decoder_weight": 2 * beta}},
        "no-norm": {
            f"{REFERENCE}, no batch normalisation": {**VAE, "network": "paper-no-norm"},
            f"{CHALLENGER}, no batch normalisation": {**GRAE, "network": "paper-no-norm"},
        },
    }


def ablation_runs(config: Quality) -> dict[tuple[str, int], RunConfig]:
    """GRAE≈ and the β-VAE as they are and what differs from them, at one β; nothing if none was asked for.

    Raises:
        InputError: a name that :func:`ablations` does not have, or batch normalisation to be left out of a network
            that has none.

    Example:
        >>> [name for name, _ in ablation_runs(CONFIGS["fig4", "smoke"])][:3]
        ['β-VAE', 'GRAE≈', 'GRAE≈, four columns']
    """
    wanted, known = [name for name in config.ablation if name not in ("", "none")], ablations(config.ablation_beta)
    if any(name not in known for name in wanted):
        raise InputError(f"--set ablation is {','.join(wanted)!r}; expected any of {', '.join(known)}, or none")
    if "no-norm" in wanted and config.training.network != "paper":
        rest = ",".join(name for name in wanted if name != "no-norm") or "none"
        raise InputError(
            f"network is {config.training.network}, which has no batch normalisation to leave out; add --set "
            f"ablation={rest}"
        )
    found = dict[str, Mapping[str, Any]](MODELS if wanted else {})
    for name in wanted:
        found |= known[name]
    seeds = config.training.seeds[: max(1, config.ablation_seeds)]
    return {
        (name, seed): config.training.run(seed, **{"beta": config.ablation_beta, "latents": config.latents, **choices})
        for name, choices in found.items()
        for seed in seeds
    }


CONFIGS: Mapping[tuple[str, str], Quality] = {
    ("fig4", "smoke"): Quality(
        replace(faces.SMOKE, seeds=(0, 1)), (0.1, 1.0), latents=4, images=6, points=6, objective_points=2, codes=20,
        components=2, side=32, ablation=("k4", "no-norm"), ablation_seeds=1,
    ),
    # without the ablation: four columns alone take as long as three other models
    ("fig4", "quick"): Quality(
        faces.QUICK, faces.QUICK_BETAS, latents=32, images=500, points=500, objective_points=16, codes=2000,
        side=64, ablation=("none",), ablation_seeds=1,
    ),
    # without it, too: the two models at five β are a night already
    ("fig4", "overnight"): Quality(
        faces.OVERNIGHT, faces.OVERNIGHT_BETAS, latents=128, images=2000, points=2000, objective_points=100,
        codes=10_000, ablation=("none",),
    ),
    # without "exact" and "full": all 128 columns of 64 images hold about 120 GB at this width
    ("fig4", "paper"): Quality(
        faces.PAPER, BETAS, latents=128, images=10_000, points=2000, objective_points=200, codes=10_000,
        ablation=("k4", "fraction", "lanczos", "half", "double", "no-norm"),
    ),
}  # fmt: skip
"""By figure and scale."""
