"""The model that is looked at, with flat latents in units of its prior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from curvae._precision import half_weights
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.data import as_samples
from curvae.errors import InputError
from curvae.forward.first_use import checked
from curvae.inspection.channels import FirstLayer
from curvae.likelihoods import Likelihood
from curvae.likelihoods.gaussian import or_gaussian
from curvae.likelihoods.masked import takes_missing
from curvae.posteriors import DiagonalFactor, Normal
from curvae.posteriors.factor import Factor


@dataclass(frozen=True)
class Subject:
    r"""A model at some of its data.

    With a prior of standard deviation $p$ the theory is that of $u=z/p$, whose prior is standard normal: what is called
    M here is $\mathrm{diag}(p)\,M\,\mathrm{diag}(p)$.

    Attributes:
        model: in eval mode.
        likelihood: observation model.
        x: the data ``[B, *D]``.
        z: the posterior's means, flat, ``[B, d]``.
        factor: of the posterior's covariance; None for a deterministic model.
        shape: of one sample's latents.
        prior: $p$, ``[d]``.
        axis: of ``shape``, that of the channels; None for latents that are vectors.
        assumed: the range that bytes were brought to, where nobody has said which one the model takes.
    """

    model: Model
    likelihood: Likelihood
    x: Float[Tensor, "B *D"]
    z: Float[Tensor, "B d"]
    factor: Factor | None
    shape: tuple[int, ...]
    prior: Float[Tensor, " d"]
    axis: int | None
    assumed: tuple[float, float] | None = None

    @property
    def latents(self) -> int:
        """d."""
        return self.z.shape[1]

    @cached_property
    def outputs(self) -> int:
        """D."""
        return self.model.decode(self.z[:1].unflatten(1, self.shape)).numel()

    @property
    def channels(self) -> np.ndarray | None:
        """The channel of each flat latent, ``[d]``; None for latents that are vectors."""
        return None if self.axis is None else np.indices(self.shape)[self.axis].ravel()

    @property
    def bands(self) -> bool:
        """Whether the latents are images, channels × height × width, with at least 2 × 2 places."""
        return len(self.shape) == 3 and self.axis == 0 and min(self.shape[1:]) >= 2

    @cached_property
    def misfit(self) -> float | None:
        """Squared error of the decoded means, in that of the data's own mean; None where there is no such number."""
        mean = self.likelihood.mean(self.model.decode(self.z.unflatten(1, self.shape)))
        if mean.shape != self.x.shape or len(self.x) < 2:
            return None
        own = (self.x - self.x.nanmean(0)).square().nansum() * len(self.x) / (len(self.x) - 1)
        return float((self.x - mean).square().nansum() / own) if own > 0 else None

    @property
    def u(self) -> Float[Tensor, "B d"]:
        """The means in units of the prior."""
        return self.z / self.prior

    def decode(self, u: Float[Tensor, "B d"]) -> Float[Tensor, "B *D"]:
        """The decoder as a function of flat latents in units of the prior."""
        return self.model.decode((u * self.prior).unflatten(1, self.shape))

    def precision_along(self, tangents: Float[Tensor, "B d K"]) -> Float[Tensor, "B K"]:
        r"""$v^\top\Sigma^{-1}v$ of the shipped posterior, in units of the prior; no d × d matrix is made."""
        assert self.factor is not None
        directions = (tangents * self.prior[:, None]).movedim(-1, 0)
        return self.factor.solve(directions).double().square().sum(-1).mT

    def part(self, start: int, stop: int) -> Subject:
        """Some of the samples, without their posterior."""
        return replace(self, x=self.x[start:stop], z=self.z[start:stop], factor=None)


def subject_of(model: Model, x: Tensor | np.ndarray, likelihood: Likelihood | None = None) -> Subject:
    """Encode data with a model.

    Args:
        model: in eval mode.
        x: ``[B, *D]``, uint8 pixels or floating point.
        likelihood: observation model; default the model's own, or Gaussian with σ = 1.

    Raises:
        InputError: the model does not take these data, or gives no latents of finite numbers.
    """
    own = getattr(model, "likelihood", None)
    given = or_gaussian(own if likelihood is None and isinstance(own, Likelihood) else likelihood)
    pixels = getattr(x, "dtype", None) in (torch.uint8, np.uint8)
    low, high = getattr(model, "pixels", None) or (0.0, 1.0)
    x = _as_taken(model, x, takes_missing(given))
    x = low + (high - low) * x if pixels else x
    try:
        z = model.encode(x)
        normal = _posterior(model, x)
        row = z[:1]
        with FirstLayer(row) as first:
            eta = model.decode(row)
        if getattr(model, "of_codes", False):  # no data: what is expected of them
            x = given.mean(model.decode(z))
    except InputError:
        raise
    except Exception as error:  # of a foreign model: anything
        raise InputError(
            f"the model fails on data of shape {tuple(x.shape)} ({type(error).__name__}: {error}); expected data as it "
            "was trained on"
        ) from error
    shape = tuple(z.shape[1:])
    if not shape or not bool(z.isfinite().all()):
        raise InputError(f"the model's latents have shape {tuple(z.shape)} or are not finite; expected [B, *L]")
    if not isinstance(eta, torch.Tensor) or not bool(eta.isfinite().all()):
        raise InputError(
            "the model decodes the first of these samples to something that is not a tensor of finite numbers"
        )
    if eta[0].numel() == x[0].numel():  # a decoder that gives images as vectors, or the other way about
        x = x.reshape(len(x), *eta.shape[1:])
    if torch.float16 in (kinds := (z.dtype, eta.dtype)) or torch.bfloat16 in kinds or _half(model):
        raise InputError(
            "the model is in half precision, whose rounding is larger than what small noise does; call .float() on it"
        )
    try:  # it refuses what it cannot be of: a shape, values out of range
        given.nll(eta, x[:1])
        if checked():
            given.check(x)
    except RuntimeError as error:
        raise InputError(f"{given} cannot be the observation model of these data or outputs: {error}") from error
    prior = torch.as_tensor(getattr(model, "prior_std", 1.0)).to(z).expand(shape).flatten()
    assumed = (low, high) if pixels and getattr(model, "pixels", ()) is None else None
    return Subject(model, given, x, z.flatten(1), _factor(normal), shape, prior, first.axis(model, shape), assumed)


def _as_taken(model: Any, x: Any, missing: bool) -> Float[Tensor, "B *D"]:
    like = next(iter(model.parameters()), None) if isinstance(model, torch.nn.Module) else None
    double = getattr(x if like is None else like, "dtype", None) in (torch.float64, np.float64)
    x = as_samples(x, dtype=torch.float64 if double else torch.float32, missing=missing)
    return x if like is None else x.to(like)


def _half(model: Any) -> bool:
    return isinstance(model, torch.nn.Module) and half_weights(model) is not None


def _posterior(model: Any, x: Tensor) -> Normal | None:
    """None for a model without one: an ``Autoencoder`` without a structure, an adapter whose encode gives a mean."""
    deterministic = getattr(model, "structure", "") is None or not getattr(model, "stochastic", True)
    if deterministic or not hasattr(model, "posterior"):
        return None
    found: Normal = model.posterior(x)
    return found


def _factor(normal: Normal | None) -> Factor | None:
    if normal is None:
        return None
    factor = normal.factor
    return DiagonalFactor(factor.scale.flatten(1)) if isinstance(factor, DiagonalFactor) else factor
