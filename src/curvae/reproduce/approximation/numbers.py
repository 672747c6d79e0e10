"""Training and measuring."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.curvature import gauss_newton, hessian
from curvae.data import Dataset, as_float, load
from curvae.errors import InputError
from curvae.metrics import Estimate
from curvae.nn import MLPDecoder, MLPEncoder, MNISTDecoder, MNISTEncoder
from curvae.objectives import GRAE, BetaVAE, Taylor
from curvae.posteriors import Diagonal
from curvae.reproduce.approximation.config import ACTIVATIONS, PAPER_NETWORK, ApproximationConfig, Observation, cases
from curvae.reproduce.descent import descend
from curvae.reproduce.summary import plain
from curvae.runs.documents import read_document, write_document
from curvae.runs.provenance import today
from curvae.runs.schema import amount, anything, flag, listing, mapping, number, optional, record, text

Row = dict[str, Any]
r"""One model at one stage, measured over held-out data, as the document has it.

``network`` (the activation of the perceptron, or ``PAPER_NETWORK``), ``observation``, whether it is ``trained``, and
``seed``; ``error``, the mean of $\|H+M\|_F/\|H\|_F$ for $H$ and $-M$ the exact Hessian and the first term of (5);
``taylor_exact``, (4), minimised, at the model's own posterior, and ``taylor_difference``, (7) less (4); ``missing``,
the share of the data at which (10) does not exist; ``closed_exact``, (10) where it exists, and ``closed_difference``,
(12) less (10) at those data, both None if it exists nowhere.
"""


def run(
    config: ApproximationConfig,
    done: tuple[Row, ...] = (),
    progress: Callable[[tuple[Row, ...]], object] | None = None,
) -> tuple[Row, ...]:
    """Train and measure all models, each before and after training.

    Args:
        config: what to run.
        done: rows of an interrupted run with the same configuration; those models are not trained again, and the result
            is the same.
        progress: called after every model, with all rows so far.

    Example:
        >>> import dataclasses
        >>> from curvae.reproduce.approximation.config import CONFIGS
        >>> rows = run(dataclasses.replace(CONFIGS["approximation", "smoke"], activations=("relu",)))
        >>> len(rows), rows[0]["observation"], rows[0]["error"]["mean"] < 1e-12   # (6) is exact for relu
        (8, 'Gaussian', True)
    """
    dataset = load(config.data)
    rows = done
    known = {(row["network"], row["observation"], row["seed"]) for row in done}
    for (network, observation), seed in itertools.product(cases(config), config.seeds):
        if (network, observation.name, seed) not in known:
            rows += tuple(_rows(config, dataset, network, observation, seed))
            if progress is not None:
                progress(rows)
    return rows


def _rows(
    config: ApproximationConfig, dataset: Dataset, network: str, observation: Observation, seed: int
) -> Iterator[Row]:
    named = {"network": network, "observation": observation.name}
    held_out = as_float(dataset.test[: config.points]).double()
    model = _model(config, dataset.shape, network, observation, seed)
    yield {**named, "trained": False, "seed": seed, **measure(model, held_out, observation)}
    _train(model, config, dataset.train[:], observation, seed)
    yield {**named, "trained": True, "seed": seed, **measure(model, held_out, observation)}


def _model(
    config: ApproximationConfig, shape: tuple[int, ...], network: str, observation: Observation, seed: int
) -> Autoencoder:
    encoder: nn.Module
    decoder: nn.Module
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if network == PAPER_NETWORK and config.paper_width is not None:
            encoder = MNISTEncoder(config.paper_width)
            decoder = MNISTDecoder(config.latents, config.paper_width, observation.sigmoid)
        else:
            activation, output = ACTIVATIONS[network], nn.Sigmoid() if observation.sigmoid else None
            encoder = MLPEncoder(shape, config.hidden[::-1], activation)
            decoder = MLPDecoder(config.latents, shape, config.hidden, activation, output)
        return Autoencoder(encoder, decoder, config.latents, Diagonal())


def _train(model: Autoencoder, config: ApproximationConfig, data: Tensor, observation: Observation, seed: int) -> None:
    objective = BetaVAE(observation.beta, observation.likelihood)
    generator = torch.Generator().manual_seed(seed)

    def loss(_: int) -> Tensor:
        batch = as_float(data[torch.randint(len(data), (config.batch_size,), generator=generator)])
        return objective(model, batch, generator).mean()

    model.train()
    descend(model.parameters(), loss, config.steps)


@torch.no_grad()
def measure(model: Autoencoder, x: Float[Tensor, "N *D"], observation: Observation) -> dict[str, Any]:
    """The numbers of a row, of a copy of the model in float64, so that rounding does not pass for curvature."""
    model = copy.deepcopy(model).double().eval()
    parts = [_measure_batch(model, batch, observation) for batch in x.split(50)]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    exists = found["exists"].bool()

    def estimate(name: str, kept: Tensor) -> dict[str, Any] | None:
        return vars(Estimate.of(found[name][kept])) if bool(kept.any()) else None

    return {
        **{name: estimate(name, torch.ones_like(exists)) for name in ("error", "taylor_exact", "taylor_difference")},
        "missing": float((~exists).double().mean()),
        **{name: estimate(name, exists) for name in ("closed_exact", "closed_difference")},
    }


def _measure_batch(model: Autoencoder, x: Float[Tensor, "B *D"], observation: Observation) -> dict[str, Tensor]:
    beta, likelihood = observation.beta, observation.likelihood
    h = model.encode(x)
    exact = hessian(model.decode, h, x, likelihood)
    first = -gauss_newton(model.decode, h, x, likelihood)
    norm = torch.linalg.matrix_norm
    fourth = Taylor(beta, likelihood, "hessian")(model, x).total
    exists = torch.linalg.eigvalsh(-exact / beta)[:, 0] > -1
    tenth = torch.full_like(fourth, math.nan)
    if bool(exists.any()):
        tenth[exists] = GRAE(beta, likelihood, curvature="hessian")(model, x[exists]).total
    return {
        "error": norm(exact - first) / norm(exact),
        "taylor_exact": fourth,
        "taylor_difference": Taylor(beta, likelihood)(model, x).total - fourth,
        "exists": exists,
        "closed_exact": tenth,
        "closed_difference": GRAE(beta, likelihood)(model, x).total - tenth,
    }


_FORM = "curvae-approximation"
_ESTIMATE = record({"mean": number, "se": optional(amount)})
_ROW = record(
    {
        **{"network": text, "observation": text, "trained": flag, "seed": amount, "missing": amount},
        **dict.fromkeys(("error", "taylor_exact", "taylor_difference"), _ESTIMATE),
        **dict.fromkeys(("closed_exact", "closed_difference"), optional(_ESTIMATE)),
    }
)


def load_rows(path: Path, config: ApproximationConfig) -> tuple[Row, ...]:
    """The rows that an experiment's document has; none if there is no file.

    Raises:
        InputError: the file is damaged, or of another configuration.
    """
    if not path.exists():
        return ()
    document = read_document(path, _FORM, {"config": mapping(anything), "rows": listing(_ROW)})
    if document["config"] != plain(asdict(config)):
        raise InputError(f"{path} holds another experiment; choose another folder, or remove it")
    return tuple(document["rows"])


def save_rows(
    path: Path, config: ApproximationConfig, rows: tuple[Row, ...], made_under: Mapping[str, str | None]
) -> None:
    """Write all rows, with the environment of the latest."""
    content = {
        "figure": "approximation",
        "scale": config.scale,
        "date": today(),
        "config": asdict(config),
        "environment": dict(made_under),
        "rows": list(rows),
    }
    write_document(path, _FORM, content)
