"""Figure 3's measurement: the paper's three objectives and everything that parts them, datum by datum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.curvature import hessian
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.metrics.codes import batches, deployed, in_double
from curvae.metrics.objectives import objective_values
from curvae.posteriors import Structure


@dataclass(frozen=True)
class Measure:
    """What to measure with.

    Attributes:
        beta: β.
        likelihood: observation model.
        structure: of the closed form that is matched to the family.
        draws: of the noise in (2), even.
    """

    beta: float
    likelihood: Likelihood
    structure: Structure
    draws: int

    def __post_init__(self) -> None:
        if self.draws < 2 or self.draws % 2:
            raise InputError(f"draws is {self.draws}; expected an even number, as they come in pairs ±ε")

    @torch.no_grad()
    def __call__(
        self, model: Autoencoder, data: Tensor, generator: torch.Generator, batch_size: int = 100
    ) -> Mapping[str, Float[Tensor, " N"]]:
        r"""All values of every datum, minimised, in eval mode; the curvature and all that follows in float64.

        Returns:
            ``beta_vae`` (2), its expectation by pairs of draws ±ε, in which the first order in ε drops out; ``taylor``
            (7); ``grae`` (13); ``grae_family``, the closed form of the model's own family; ``gap``, (7) less (13) by
            the closed formula.

        Example:
            >>> from curvae.likelihoods import Gaussian
            >>> from curvae.posteriors import Full
            >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2, structure=Full())
            >>> measure = Measure(0.2, Gaussian(), Full(), draws=2)
            >>> found = measure(model, torch.rand(5, 3), torch.Generator())
            >>> torch.allclose(found["taylor"] - found["grae"], found["gap"], atol=1e-4)
            True
        """
        with deployed(model):
            found = [self._batch(model, x, generator) for x in batches(model, data, batch_size)]
        return {name: torch.cat([part[name] for part in found]).cpu() for name in found[0]}

    def _batch(self, model: Autoencoder, x: Float[Tensor, "B *D"], generator: torch.Generator) -> dict[str, Tensor]:
        given = (model, x, self.beta, self.likelihood, self.structure)
        found = objective_values(*given, generator=generator, samples=self.draws, paired=True).values
        names = {"beta_vae": "beta_vae", "taylor": "taylor", "grae": "grae_full", "grae_family": "grae", "gap": "gap"}
        return {name: found[measured] for name, measured in names.items()}

    @torch.no_grad()
    def exact(self, model: Autoencoder, data: Tensor, batch_size: int = 20) -> Mapping[str, Float[Tensor, " N"]]:
        r"""The same with the exact Hessian (5) in place of Gauss–Newton (6).

        Returns:
            ``taylor`` (4); ``grae`` (10), NaN where it does not exist: $I-\tfrac1\beta H$ is not positive definite.
        """
        with deployed(model):
            found = [self._exact_batch(model, x) for x in batches(model, data, batch_size)]
        return {name: torch.cat([part[name] for part in found]).cpu() for name in found[0]}

    def _exact_batch(self, model: Autoencoder, x: Float[Tensor, "B *D"]) -> dict[str, Tensor]:
        posterior = model.posterior(x)
        q, h = in_double(posterior), posterior.mean
        minus_hessian = -hessian(model.decode, h, x, self.likelihood).double()
        energy = self.likelihood.energy(model.decode(h), x).double()
        eigenvalues = torch.linalg.eigvalsh(minus_hessian) / self.beta
        exists = eigenvalues[:, 0] > -1
        log_det = torch.where(exists, eigenvalues.clamp(min=-1).log1p().sum(-1), math.nan)
        trace = (minus_hessian * q.covariance()).sum((-1, -2))
        return {
            "taylor": energy + 0.5 * trace + self.beta * q.kl(),
            "grae": energy + 0.5 * self.beta * (h.double().square().sum(-1) + log_det),
        }
