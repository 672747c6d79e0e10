"""A density fitted to the codes after training, to sample from in the prior's place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from curvae._checks import positive_int
from curvae._extras import require
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.errors import InputError


@dataclass(frozen=True, eq=False, repr=False)
class Mixture(OneLine):
    r"""A mixture of C normal distributions, $\sum_c w_c\,\mathcal N(m_c,L_cL_c^\top)$, in float64.

    Attributes:
        weights: $w$, ``[C]``, sum 1.
        means: $m$, ``[C, d]``.
        roots: $L$, lower triangular ``[C, d, d]``.
    """

    weights: Float[Tensor, " C"]
    means: Float[Tensor, "C d"]
    roots: Float[Tensor, "C d d"]

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """Draw ``n`` latents, in PyTorch's default type on the CPU; decode them with the model.

        Raises:
            InputError: if ``n`` is not ≥ 1.
        """
        positive_int("n", n)
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=generator)
        moved = (self.roots[component] @ noise.unsqueeze(-1)).squeeze(-1)
        return (self.means[component] + moved).to(torch.get_default_dtype())

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """The log-density, float64.

        Raises:
            InputError: z is not ``[n, d]``.
        """
        if z.dim() != 2 or z.shape[1] != self.means.shape[1]:
            raise InputError(f"the latents have shape {tuple(z.shape)}; expected [n, {self.means.shape[1]}]")
        delta = (z.double().unsqueeze(1) - self.means).unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(self.roots, delta, upper=False).squeeze(-1)
        log_det = self.roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = 0.5 * self.means.shape[1] * math.log(2 * math.pi)
        normal = -0.5 * whitened.square().sum(-1) - log_det - constant
        return (normal + self.weights.log()).logsumexp(1)


def fit_mixture(codes: Float[Tensor, "N d"], components: int = 10, seed: int = 0) -> Mixture:
    """Fit a mixture of normal distributions to codes, by scikit-learn's expectation–maximisation.

    Neither a β-VAE's nor a GRAE's codes have exactly the prior's law, so decoded draws from it miss part of the data;
    Ghosh et al. (ICLR 2020) fit a density to the codes of the training data instead. Covariances are full, with
    scikit-learn's 1e-6 added to the variances.

    Args:
        codes: of the training data (:func:`curvae.metrics.codes`).
        components: C, ≥ 1; they use 10.
        seed: of the initial centres.

    Raises:
        InputError: a bad argument, fewer codes than components, or codes that are not finite or of which components
            have no covariance.

    Example:
        >>> density = fit_mixture(torch.randn(500, 2), components=3)
        >>> density.sample(5, torch.Generator().manual_seed(0)).shape
        torch.Size([5, 2])
    """
    require("fitting a mixture needs", "sklearn")
    from sklearn.mixture import GaussianMixture  # slow to import, and only who fits needs it

    positive_int("components", components)
    if codes.dim() != 2 or not bool(codes.isfinite().all()):
        raise InputError(f"codes have shape {tuple(codes.shape)}; expected finite numbers [N, d]")
    if len(codes) < max(components, 2):
        raise InputError(f"there are {len(codes)} codes for {components} components; give more codes or fewer of them")
    try:
        found = GaussianMixture(components, random_state=seed).fit(codes.detach().double().cpu().numpy())
    except ValueError as error:  # a covariance that is singular beside 1e-6, or a seed
        raise InputError(f"a mixture of {components} cannot be fitted to these codes: {error}") from error
    roots = torch.linalg.cholesky(torch.from_numpy(found.covariances_))
    return Mixture(torch.from_numpy(found.weights_), torch.from_numpy(found.means_), roots)
