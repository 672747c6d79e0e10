"""The models of table 1 and figure 4, and those that differ from GRAE≈ in one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curvae.errors import InputError
from curvae.experiments.faces.config import Quality
from curvae.experiments.sweeps.training import Training
from curvae.runs import RunConfig

REFERENCE, CHALLENGER = "β-VAE", "GRAE≈"
_VAE = {"objective": "beta-vae", "structure": "diagonal"}
_GRAE = {"objective": "grae", "structure": "diagonal", "estimator": "columns:1"}
MODELS: Mapping[str, Mapping[str, Any]] = {REFERENCE: _VAE, CHALLENGER: _GRAE}
"""The two that the paper compares: what of a run's configuration makes each."""

Variants = Mapping[str, Mapping[str, Any]]


def ablations(beta: float) -> Mapping[str, Variants]:
    """What differs from the two models in one thing, by the names that ``--set ablation=…`` takes.

    Example:
        >>> ablations(0.2)["half"]["GRAE≈, decoder's weight β/2"]["decoder_weight"]
        0.1
    """
    return {
        "k4": {"GRAE≈, four columns": {**_GRAE, "estimator": "columns:4"}},
        "fraction": {"GRAE≈, an eighth of the batch": {**_GRAE, "estimator": "fraction:1/8:columns:1"}},
        "exact": {"GRAE, diagonal, all columns": {**_GRAE, "estimator": "exact"}},
        "full": {"GRAE, full, exact": {**_GRAE, "structure": "full", "estimator": "exact"}},
        "lanczos": {"GRAE, full, Lanczos": {**_GRAE, "structure": "full", "estimator": "lanczos:1:8"}},
        "half": {"GRAE≈, decoder's weight β/2": {**_GRAE, "decoder_weight": beta / 2}},
        "double": {"GRAE≈, decoder's weight 2β": {**_GRAE, "decoder_weight": 2 * beta}},
        "no-norm": {
            f"{REFERENCE}, no batch normalisation": {**_VAE, "network": "paper-no-norm"},
            f"{CHALLENGER}, no batch normalisation": {**_GRAE, "network": "paper-no-norm"},
        },
    }


def sweep_runs(
    training: Training, betas: tuple[float, ...], latents: int, seeds: tuple[int, ...]
) -> dict[tuple[str, float, int], RunConfig]:
    """Both models, by name, β and seed."""
    return {
        (name, beta, seed): training.run(seed, beta=beta, latents=latents, **choices)
        for beta in betas
        for name, choices in MODELS.items()
        for seed in seeds
    }


def ablation_runs(config: Quality) -> dict[tuple[str, int], RunConfig]:
    """GRAE≈ and the β-VAE as they are and what differs from them, at one β; nothing if none was asked for.

    Raises:
        InputError: a name that :func:`ablations` does not have, or batch normalisation to be left out of a network
            that has none.

    Example:
        >>> from curvae.experiments.faces.config import CONFIGS
        >>> [name for name, _ in ablation_runs(CONFIGS["fig4", "smoke"])][:3]
        ['β-VAE', 'GRAE≈', 'GRAE≈, four columns']
    """
    wanted, known = [name for name in config.ablation if name not in ("", "none")], ablations(config.ablation_beta)
    if any(name not in known for name in wanted):
        raise InputError(f"--set ablation is {','.join(wanted)!r}; expected of {', '.join(known)}, or none")
    if "no-norm" in wanted and config.training.network != "paper":
        rest = ",".join(name for name in wanted if name != "no-norm") or "none"
        raise InputError(
            f"network is {config.training.network}, from which no batch normalisation can be left out; add --set "
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
