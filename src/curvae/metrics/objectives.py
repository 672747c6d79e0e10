"""The paper's three objectives on a batch, sample by sample, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.curvature import Linearised, gauss_newton
from curvae.curvature.gauss_newton import column_norms
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.metrics.alignment import gap
from curvae.metrics.codes import has_posterior, in_double
from curvae.posteriors import Factor, Full, Normal, Structure


@dataclass(frozen=True, eq=False)
class ObjectiveValues:
    r"""What :func:`objective_values` found, in float64.

    Attributes:
        values: ``[B]`` each, by name: ``reconstruction``, ``beta_vae`` (2), ``taylor`` (7), ``grae``, the closed form
            of the structure, ``grae_full`` (12), which is (13) for Gaussian observations, and ``gap``, (7) less (12) by
            the closed formula.
        posterior: $q(z\mid x)$, the model's own or, of a deterministic one, the optimum (11) in the structure.
        optimum: (11) in the structure.
        curvature: $M$, ``[B, d, d]``.
        implied: $I+\tfrac1\beta M$, ``[B, d, d]``.
        eta: the decoder's output at the posterior's mean.
    """

    values: Mapping[str, Float[Tensor, " B"]]
    posterior: Normal
    optimum: Factor
    curvature: Float[Tensor, "B d d"]
    implied: Float[Tensor, "B d d"]
    eta: Tensor


def objective_values(
    model: Model,
    x: Float[Tensor, "B *D"],
    beta: float,
    likelihood: Likelihood,
    structure: Structure,
    *,
    generator: torch.Generator,
    samples: int,
    paired: bool = False,
) -> ObjectiveValues:
    """Measure a model, in the mode that it is in, on one batch.

    Args:
        model: on any device.
        x: the batch, on the model's device and in its type.
        beta: β, > 0.
        likelihood: observation model.
        structure: covariance structure of the closed form (and of the model's posterior if it has one).
        generator: of the noise in (2), on the model's device.
        samples: draws for each sample in (2), ≥ 1.
        paired: draw them in pairs ±ε, in which the first order in ε drops out; ``samples`` is even then.

    Raises:
        InputError: outputs or derivatives that are not finite.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae import Autoencoder
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2, structure=Full())
        >>> given = (torch.rand(5, 3), 0.2, Gaussian(), Full())
        >>> found = objective_values(model, *given, generator=torch.Generator(), samples=2, paired=True).values
        >>> torch.allclose(found["taylor"] - found["grae_full"], found["gap"], atol=1e-4)
        True
    """
    own = model.posterior(x) if has_posterior(model) else None
    # of a posterior at the mode that is not the encoder's answer
    h = model.encode(x) if own is None else own.mean
    curvature = gauss_newton(model.decode, h, x, likelihood).double()
    if not bool(curvature.isfinite().all()):
        raise InputError("the model's outputs or derivatives on these data are not finite numbers")
    optimum = structure.optimal(curvature, beta)
    q = Normal(h.double(), optimum) if own is None else in_double(own)
    # columns pushed along L, and not M above: the gap then compares two computations
    eta, tangents = Linearised(model.decode, h, x, likelihood).push(q.factor.dense().to(h.dtype))
    nll, kl = likelihood.nll(eta, x).double(), beta * q.kl()
    closed = nll + 0.5 * beta * h.double().square().flatten(1).sum(1)
    implied = torch.eye(curvature.shape[-1], dtype=torch.float64, device=h.device) + curvature / beta
    values = {
        "reconstruction": nll,
        "beta_vae": _sampled_nll(model, q, x, likelihood, generator, samples, paired) + kl,
        "taylor": nll + 0.5 * column_norms(tangents).double().sum(-1) + kl,
        "grae": closed + 0.5 * beta * structure.penalty(curvature, beta),
        "grae_full": closed + 0.5 * beta * Full().penalty(curvature, beta),
        "gap": gap(implied, q, beta),
    }
    return ObjectiveValues(values, q, optimum, curvature, implied, eta)


def _sampled_nll(
    model: Model,
    q: Normal,
    x: Float[Tensor, "B *D"],
    likelihood: Likelihood,
    generator: torch.Generator,
    samples: int,
    paired: bool,
) -> Float[Tensor, " B"]:
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for _ in range(samples // 2 if paired else samples):
        z = q.rsample(generator)
        for point in (z, 2 * q.mean - z) if paired else (z,):
            total += likelihood.nll(model.decode(point.to(x.dtype)), x).double()
    return total / samples
