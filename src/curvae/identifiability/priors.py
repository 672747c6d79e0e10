"""Priors as maps to independent standard normals: n = Φ⁻¹(F(z)), coordinate by coordinate (Appendix A)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal, Normal

from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.identifiability.scores import has_quantiles, normal_score, quantile


@runtime_checkable
class Prior(Protocol):
    """What a mixing transform needs of p(z): its density, and the triangular map to standard normals and back."""

    @property
    def dim(self) -> int:
        """The number of latents d."""

    def normalise(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Map z ~ p to n ~ N(0, I)."""

    def denormalise(self, n: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Map n ~ N(0, I) to z ~ p: the inverse of :meth:`normalise`."""

    def log_prob(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B"]:
        """The log-density of z."""


class Factorised(OneLine):
    """A factorised prior p(z) = ∏ p_i(z_i): each latent goes through its own c.d.f. F_i (Appendix A).

    Args:
        marginals: one scalar distribution per latent, or a single distribution with batch shape ``[d]``. Their
            parameters set the precision: PyTorch makes float32 of plain numbers, so give float64 tensors for float64.

    Raises:
        InputError: if a marginal is multivariate, discrete, or has neither a closed-form quantile nor an ``icdf``.

    Example:
        >>> from torch.distributions import Gamma, Laplace
        >>> prior = Factorised([Laplace(0.0, 1.0), Gamma(2.0, 1.0)])
        >>> z = torch.tensor([[0.5, 3.0]], dtype=torch.float64)
        >>> prior.normalise(z)
        tensor([[0.5150, 0.8447]], dtype=torch.float64)
        >>> torch.allclose(prior.denormalise(prior.normalise(z)), z)
        True
    """

    def __init__(self, marginals: Distribution | Sequence[Distribution]) -> None:
        if isinstance(marginals, Distribution):
            _check_marginal(marginals, torch.Size([marginals.batch_shape.numel()]))
            self._parts: tuple[tuple[Distribution, int], ...] = ((marginals, marginals.batch_shape[0]),)
        else:
            for marginal in marginals:
                _check_marginal(marginal, torch.Size([]))
            self._parts = tuple((marginal, 1) for marginal in marginals)

    def _told(self) -> dict[str, Any]:
        return {"dim": self.dim}

    @property
    def dim(self) -> int:
        """The number of latents d."""
        return sum(width for _, width in self._parts)

    def normalise(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Map z ~ p to n ~ N(0, I), n_i = Φ⁻¹(F_i(z_i))."""
        return self._each(normal_score, z)

    def denormalise(self, n: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Map n ~ N(0, I) to z ~ p, z_i = F_i⁻¹(Φ(n_i))."""
        return self._each(quantile, n)

    def log_prob(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B"]:
        """The log-density Σ_i log p_i(z_i)."""
        return self._each(lambda marginal, column: marginal.log_prob(column), z).sum(-1)

    def _each(self, function: Callable[[Distribution, Tensor], Tensor], values: Tensor) -> Tensor:
        _check_width(values, self.dim)
        columns = torch.split(values, [width for _, width in self._parts], dim=-1)
        return torch.cat([function(m, column) for (m, _), column in zip(self._parts, columns, strict=True)], dim=-1)


class CorrelatedNormal(OneLine):
    """A normal prior N(μ, LLᵀ): its conditional c.d.f.s make n = L⁻¹(z − μ), exactly.

    (L⁻¹(z − μ))_i is z_i less its conditional mean given z_1 … z_{i−1}, over the conditional standard deviation.

    Args:
        distribution: a ``MultivariateNormal`` with empty batch shape.

    Raises:
        InputError: if the distribution has a batch shape.

    Example:
        >>> covariance = torch.tensor([[4.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
        >>> prior = CorrelatedNormal(MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance))
        >>> prior.normalise(torch.tensor([[2.0, 0.5]], dtype=torch.float64))
        tensor([[1., 0.]], dtype=torch.float64)
    """

    def __init__(self, distribution: MultivariateNormal) -> None:
        if distribution.batch_shape:
            raise InputError(
                f"the normal prior has batch shape {tuple(distribution.batch_shape)}; expected a single distribution"
            )
        self._distribution = distribution

    def _told(self) -> dict[str, Any]:
        return {"dim": self.dim}

    @property
    def dim(self) -> int:
        """The number of latents d."""
        return self._distribution.event_shape[0]

    def normalise(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Map z ~ p to n = L⁻¹(z − μ) ~ N(0, I)."""
        _check_width(z, self.dim)
        centred = (z - self._distribution.loc)[..., None]
        return torch.linalg.solve_triangular(self._distribution.scale_tril, centred, upper=False)[..., 0]

    def denormalise(self, n: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Map n ~ N(0, I) to z = μ + Ln ~ p."""
        _check_width(n, self.dim)
        return self._distribution.loc + n @ self._distribution.scale_tril.mT

    def log_prob(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B"]:
        """The log-density of z."""
        _check_width(z, self.dim)
        log_density: Tensor = self._distribution.log_prob(z)
        return log_density


@dataclass(frozen=True, repr=False)
class Autoregressive(OneLine):
    """Any correlated prior, through its conditionals p(z_i | z_1 … z_{i−1}) and their c.d.f.s (Appendix A).

    Args:
        dim: the number of latents d.
        conditional: takes the earlier latents ``[*B, i]`` (i = 0 … d − 1) and returns the scalar distribution, batch
            shape broadcasting with ``[*B]``, of the next one. Any distribution that
            :func:`~curvae.identifiability.scores.quantile` inverts.

    Example:
        A latent whose scale depends on the one before it:

        >>> def conditional(earlier):
        ...     scale = 1 + earlier.square().sum(-1)
        ...     return Normal(torch.zeros_like(scale), scale)
        >>> prior = Autoregressive(2, conditional)
        >>> prior.normalise(torch.tensor([[2.0, 5.0]], dtype=torch.float64))
        tensor([[2., 1.]], dtype=torch.float64)
    """

    dim: int
    conditional: Callable[[Tensor], Distribution]

    def normalise(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Map z ~ p to n ~ N(0, I), n_i = Φ⁻¹(F_{i|1…i−1}(z_i))."""
        _check_width(z, self.dim)
        return torch.stack([normal_score(self.conditional(z[..., :i]), z[..., i]) for i in range(self.dim)], dim=-1)

    def denormalise(self, n: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Map n ~ N(0, I) to z ~ p, one latent after the other."""
        _check_width(n, self.dim)
        z = n[..., :0]
        for i in range(self.dim):
            z = torch.cat([z, quantile(self.conditional(z), n[..., i])[..., None]], dim=-1)
        return z

    def log_prob(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B"]:
        """The log-density Σ_i log p(z_i | z_1 … z_{i−1})."""
        _check_width(z, self.dim)
        return torch.stack([self.conditional(z[..., :i]).log_prob(z[..., i]) for i in range(self.dim)]).sum(0)


def gaussian_mixture(distribution: MixtureSameFamily) -> Autoregressive:
    """Turn a Gaussian mixture into a prior with conditional c.d.f.s (Appendix A, correlated priors).

    Given the earlier latents, the next one is again a mixture of normals: component k has its own conditional mean
    and deviation, and its weight is its responsibility for what came before. Cost O(K d³) a point, sequential in d.

    Args:
        distribution: ``MixtureSameFamily(Categorical [K], MultivariateNormal [K, d])``.

    Returns:
        The prior, differentiable in z and in the mixture's parameters.

    Raises:
        InputError: if the components are not multivariate normals with batch shape ``[K]``.

    Example:
        >>> means = torch.tensor([[-2.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
        >>> parts = MultivariateNormal(means, torch.eye(2, dtype=torch.float64).expand(2, 2, 2))
        >>> mixture = MixtureSameFamily(Categorical(torch.tensor([0.3, 0.7], dtype=torch.float64)), parts)
        >>> prior, z = gaussian_mixture(mixture), torch.tensor([[1.0, -0.5]], dtype=torch.float64)
        >>> torch.allclose(prior.log_prob(z), mixture.log_prob(z))
        True
        >>> torch.allclose(prior.denormalise(prior.normalise(z)), z)
        True
    """
    components = distribution.component_distribution
    if not isinstance(components, MultivariateNormal) or len(components.batch_shape) != 1:
        raise InputError(
            f"the mixture's components are {type(components).__name__} with batch shape "
            f"{tuple(components.batch_shape)}; expected MultivariateNormal with batch shape [K]"
        )
    means, factors = components.loc, components.scale_tril
    log_weights = torch.log_softmax(distribution.mixture_distribution.logits, dim=-1)

    def conditional(earlier: Tensor) -> Distribution:
        i = earlier.shape[-1]
        deviations = torch.diagonal(factors, dim1=-2, dim2=-1)
        centred = (earlier[..., None, :] - means[:, :i])[..., None]
        residuals = torch.linalg.solve_triangular(factors[:, :i, :i], centred, upper=False)[..., 0]
        evidence = -residuals.square().sum(-1) / 2 - torch.log(deviations[:, :i]).sum(-1)
        location = means[:, i] + (factors[:, i, :i] * residuals).sum(-1)
        # unchecked: the parameters are right by construction, and the check would stop torch.vmap
        return MixtureSameFamily(
            Categorical(logits=log_weights + evidence, validate_args=False),
            Normal(location, deviations[:, i].expand_as(location), validate_args=False),
            validate_args=False,
        )

    return Autoregressive(means.shape[-1], conditional)


def _check_width(values: Tensor, dim: int) -> None:
    if values.ndim == 0 or values.shape[-1] != dim:
        raise InputError(f"the points have shape {tuple(values.shape)}; expected [..., {dim}], one entry per latent")


def _check_marginal(marginal: Distribution, batch_shape: torch.Size) -> None:
    name = type(marginal).__name__
    if marginal.event_shape or marginal.batch_shape != batch_shape:
        raise InputError(
            f"{name} has batch shape {tuple(marginal.batch_shape)} and event shape {tuple(marginal.event_shape)}; "
            "expected scalar distributions, one per latent, or a single one with batch shape [d]"
        )
    if marginal.support is not None and marginal.support.is_discrete:
        raise InputError(f"{name} is discrete; expected a continuous distribution")
    if not has_quantiles(marginal):
        raise InputError(f"{name} has no quantile known here and no cdf and icdf of its own; give it both")
