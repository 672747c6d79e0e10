"""The scores of one model, and how orthogonal its decoder's columns are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from curvae._typing import Int, Tensor
from curvae.autoencoder import Autoencoder
from curvae.curvature import gauss_newton
from curvae.data import avatars, sprites
from curvae.data.names import count_and_seed
from curvae.geometry import mean_cosine
from curvae.likelihoods import Likelihood
from curvae.metrics import active_units, codes
from curvae.metrics.codes import batches, deployed
from curvae.metrics.disentanglement import DCI, MIG, SAP, FactorVAEScore
from curvae.reproduce.disentanglement.config import Disentanglement
from curvae.runs import Run, likelihood_of

MEASURES: Mapping[str, str] = {
    "mig": "MIG",
    "disentanglement": "DCI: disentanglement",
    "completeness": "DCI: completeness",
    "informativeness": "DCI: informativeness",
    "sap": "SAP",
    "factor_vae": "FactorVAE's score",
    "active": "active latents",
    "cosine": "mean absolute cosine of the decoder's columns",
    "mse": "squared error of a pixel",
}
"""What is measured of each model, and what to call it."""


@dataclass(frozen=True)
class Known:
    """Held-out samples with their factors.

    Attributes:
        data: as the model takes them.
        factors: one column each.
        categorical: columns whose values have no order.
    """

    data: Tensor
    factors: Int[Tensor, "N F"]
    categorical: tuple[int, ...]


def known(source: str, data: Tensor, points: int) -> Known:
    """The first ``points`` held-out samples of a drawn set, with their factors."""
    name = source.partition(":")[0]
    maker = avatars if name == "avatars" else sprites
    factors = torch.from_numpy(maker.load_factors(*count_and_seed(source, maker.COUNT))[1]).long()
    names = list(maker.FACTORS)
    # every part of a face is one of a list
    columns = range(len(names)) if name == "avatars" else [names.index(each) for each in sprites.CATEGORICAL]
    return Known(data[:points], factors[:points], tuple(columns))


def measure(run: Run, sample: Known, config: Disentanglement, device: torch.device) -> dict[str, float | None]:
    """The measures of a finished run, by the keys of ``MEASURES``.

    The cosine is of the columns of active latents, as a collapsed one's points anywhere; None where one at most is.
    """
    model = run.model().to(device)
    return {
        **scored(codes(model, sample.data), sample, config),
        **_geometry(model, likelihood_of(run.config, model), sample, config),
    }


def scored(found: Tensor, sample: Known, config: Disentanglement) -> dict[str, float | None]:
    """Those of them that are of codes ``[N, d]``.

    Raises:
        InputError: too few samples, or a factor that does not vary among them.
    """
    metrics = {
        "mig": MIG(),
        "sap": SAP(sample.categorical),
        "factor_vae": FactorVAEScore(config.votes),
        "dci": DCI(config.predictor, sample.categorical),
    }
    values: dict[str, float | None] = {}
    for name, metric in metrics.items():
        metric.update(found, sample.factors)
        value = metric.compute()
        values |= {key: float(one) for key, one in (value if isinstance(value, dict) else {name: value}).items()}
    return values


@torch.no_grad()
def _geometry(
    model: Autoencoder, likelihood: Likelihood, sample: Known, config: Disentanglement
) -> dict[str, float | None]:
    active = active_units(model, sample.data).active.cpu()
    cosines, errors = [], []
    with deployed(model):
        for x in batches(model, sample.data[: config.jacobians], 50):
            h = model.encode(x)
            metric = gauss_newton(model.decode, h, x, likelihood).cpu()
            cosines.append(mean_cosine(metric[:, active][:, :, active]).double())
            errors.append((likelihood.mean(model.decode(h)) - x).double().square().flatten(1).mean(1).cpu())
    count, cosine = int(active.sum()), float(torch.cat(cosines).mean())
    return {"active": float(count), "cosine": cosine if count > 1 else None, "mse": float(torch.cat(errors).mean())}
