"""The learning rate of every step, and β while it rises."""

from __future__ import annotations

import math

from curvae.objectives import Objective
from curvae.runs import RunConfig
from curvae.runs.spelling import own_beta


def learning_rate(config: RunConfig, step: int) -> float:
    r"""The learning rate of the update after so many steps, from their number and the configuration alone.

    After ``warmup`` steps, in which it rises linearly, it is ``lr`` for ``"constant"`` and
    $\mathrm{lr}\,\tfrac12(1+\cos\pi t)$ for ``"cosine"``, where $t$ is the share of the other steps that are done: it
    falls to 0. A run that is resumed has the rates of the unbroken one; lengthening a cosine raises them again.

    Source: Loshchilov & Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, 2017, arXiv 1608.03983.

    Example:
        >>> config = RunConfig(data="mnist", schedule="cosine", lr=1.0, steps=10, warmup=2)
        >>> [round(learning_rate(config, step), 3) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - config.warmup) / (config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * done))


def beta_at(config: RunConfig, beta: float, step: int) -> float:
    """β of the update after so many steps: it rises linearly to the objective's in ``beta_warmup``.

    Example:
        >>> config = RunConfig(data="mnist", beta_warmup=4)
        >>> [round(beta_at(config, 0.2, step), 3) for step in (0, 1, 3, 9)]
        [0.05, 0.1, 0.2, 0.2]
    """
    return beta * min(1.0, (step + 1) / config.beta_warmup) if config.beta_warmup else beta


def warmed(objective: Objective, config: RunConfig, step: int) -> Objective:
    """The objective, which has a β, of the update after so many steps of ``beta_warmup``.

    Example:
        >>> from curvae.objectives import BetaVAE
        >>> warmed(BetaVAE(8.0), RunConfig(data="mnist", beta_warmup=4), 0).beta
        2.0
    """
    return objective.with_beta(beta_at(config, own_beta(objective), step))  # type: ignore
