"""What a page shows of a model, as plain arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Shaped

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.conditioned import Conditioned, for_codes, pieces
from curvae.curvature import gauss_newton
from curvae.data import as_float
from curvae.geometry import length
from curvae.likelihoods import Likelihood
from curvae.metrics import relative_distance
from curvae.posteriors import Structure
from curvae.runs.ways import geodesics, lines, moved

# columns of the Jacobian at a time: bounds the memory for large images and many latents
_COLUMNS = 16
_BATCH = 64


@dataclass(frozen=True)
class Precisions:
    r"""A posterior's precision beside what the decoder implies, for B data.

    Attributes:
        posterior: $\Sigma^{-1}_{z\mid x}$ of the model's own posterior; or, for a deterministic model, of the optimum
            (11) in its structure. ``[B, d, d]``.
        implied: $I+\tfrac1\beta M$, which is $I+\tfrac1\beta J^\top J$ for unit Gaussian observations. ``[B, d, d]``.
        distance: $\|P-Q\|_F/\|Q\|_F$ of each pair. ``[B]``.
        own: whether the posterior is the model's own.
    """

    posterior: Float[np.ndarray, "B d d"]
    implied: Float[np.ndarray, "B d d"]
    distance: Float[np.ndarray, " B"]
    own: bool


@dataclass(frozen=True)
class Paths:
    r"""Ways between P pairs of codes, in T steps, as expected observations.

    Attributes:
        straight: of the straight lines in latent space, ``[P, T, *D]``.
        geodesic: of the shortest ways as the decoder sees them (§5.2), ``[P, T, *D]``.
        saved: by how much each is shorter, as a share of the straight line's decoded length, in [0, 1). ``[P]``.
    """

    straight: Float[np.ndarray, "P T *D"]
    geodesic: Float[np.ndarray, "P T *D"]
    saved: Float[np.ndarray, " P"]


@dataclass(frozen=True)
class View:
    r"""A trained model with what its objective knew. The latents of a sample are one vector, whatever their shape.

    Args:
        model: in eval mode, on the CPU.
        likelihood: observation model.
        structure: covariance structure of the posterior, or of the one that the objective has optimised away.
        beta: β, > 0.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae.posteriors import Full
        >>> decoder = torch.nn.Linear(2, 3, bias=False)
        >>> view = View(Autoencoder(torch.nn.Linear(3, 2), decoder, latents=2), Gaussian(), Full(), beta=0.5)
        >>> implied = view.precisions(torch.rand(4, 3)).implied
        >>> gram = (decoder.weight.T @ decoder.weight).detach().numpy()
        >>> bool(np.allclose(implied, np.eye(2) + gram / 0.5, rtol=1e-5))
        True
    """

    model: Autoencoder | Conditioned
    likelihood: Likelihood
    structure: Structure
    beta: float

    @torch.no_grad()
    def codes(self, x: Shaped[Tensor, "B *D"]) -> Float[np.ndarray, "B d"]:
        """The posterior's means."""
        return np.concatenate([at.encode(self.own(part)).flatten(1).double().numpy() for at, part in self.pieces(x)])

    @torch.no_grad()
    def decode(self, z: Float[np.ndarray, "B d"]) -> Float[np.ndarray, "B *D"]:
        """The expected observation at each code."""
        means = [self._mean(at, part) for at, part in self.pieces(self.own(torch.from_numpy(z)))]
        return np.concatenate([mean.double().numpy() for mean in means])

    def reconstruct(self, x: Shaped[Tensor, "B *D"]) -> Float[np.ndarray, "B *D"]:
        """The expected observation at each sample's code."""
        return self.decode(self.codes(x))

    def traverse(
        self, code: Float[np.ndarray, " d"], latents: list[int], values: list[float]
    ) -> Float[np.ndarray, "L V *D"]:
        """The expected observation as one latent at a time takes each value and the others stay at ``code``."""
        z = moved(torch.from_numpy(code)[None], latents, torch.tensor(values, dtype=torch.float64))
        decoded = self.decode(z.flatten(0, 2).numpy())
        return decoded.reshape(len(latents), len(values), *decoded.shape[1:])

    def interpolate(self, start: Float[np.ndarray, "P d"], end: Float[np.ndarray, "P d"], steps: int) -> Paths:
        """Straight lines and geodesics between codes; a geodesic that is not found is the straight line.

        Both ends are among the ``steps`` points, ≥ 3.
        """
        first, last = (self.own(torch.from_numpy(z)) for z in (start, end))
        both = lines(first, last, steps), geodesics(self._mean, self.model, first, last, steps)
        with torch.no_grad():
            decode = lambda z: self._mean(for_codes(self.model, len(z)), z)  # noqa: E731
            lengths = [length(decode, curve).double().numpy() for curve in both]
        shapes = [self.decode(curve.flatten(0, 1).numpy()) for curve in both]
        straight, shortest = (images.reshape(len(start), steps, *images.shape[1:]) for images in shapes)
        whole = np.where(lengths[0] > 0, lengths[0], 1.0)
        return Paths(straight, shortest, np.maximum(0.0, (lengths[0] - lengths[1]) / whole))

    def _mean(self, at: Model, z: Float[Tensor, "B d"]) -> Float[Tensor, "B *D"]:
        return self.likelihood.mean(at.decode(z.unflatten(1, self.model.shape)))

    def at(self, c: Tensor | None) -> View:
        """Of a conditional model the view at conditions: of each sample, or of each sample's codes."""
        if c is None:
            return self
        like = self._like
        assert isinstance(self.model, Autoencoder)
        return replace(self, model=self.model.given(c.to(like if c.is_floating_point() else like.device)))

    def pieces(self, values: Shaped[Tensor, "B *S"]) -> Iterator[tuple[Model, Shaped[Tensor, "b *S"]]]:
        """Values a few at a time, with the model for them."""
        return pieces(self.model, values, _BATCH)

    @property
    def _like(self) -> Tensor:
        model = self.model.model if isinstance(self.model, Conditioned) else self.model
        return next(iter(model.parameters()))

    def effects(self, x: Shaped[Tensor, "B *D"]) -> Float[np.ndarray, " d"]:
        r"""How strongly each latent moves the output: $\sqrt{\mathrm{mean}_x M_{ii}}$.

        For unit Gaussian observations this is the root mean square of $\|J_{:i}\|$: how far the output moves, in the
        data's units, for one unit of the latent.
        """
        return np.sqrt(self._curvature(x).diagonal(dim1=-2, dim2=-1).mean(0).numpy())

    @torch.no_grad()
    def precisions(self, x: Shaped[Tensor, "B *D"]) -> Precisions:
        """The pair of matrices for each sample."""
        curvature = self._curvature(x)
        implied = torch.eye(self.model.latents, dtype=torch.float64) + curvature / self.beta
        own = self.model.structure is not None
        posterior = (
            self.model.posterior(self.own(x)).precision().double()
            if own
            else self.structure.optimal(curvature, self.beta).precision()
        )
        return Precisions(posterior.numpy(), implied.numpy(), relative_distance(posterior, implied).numpy(), own)

    @torch.no_grad()
    def _curvature(self, x: Shaped[Tensor, "B *D"]) -> Float[Tensor, "B d d"]:
        x = self.own(x)
        found = gauss_newton(self.model.decode, self.model.encode(x), x, self.likelihood, chunk_size=_COLUMNS)
        return found.double()

    def own(self, values: Tensor) -> Tensor:
        """In the model's floating-point type."""
        return as_float(values).to(self._like.dtype)


def prior_noise(count: int, latents: int, seed: int = 0) -> Float[np.ndarray, "count latents"]:
    r"""Draws of $\mathcal N(0,I)$ that only depend on the seed, so that runs can share them.

    Example:
        >>> bool((prior_noise(4, 5)[:, :3] == prior_noise(4, 3)).all())   # fewer latents, the same first ones
        True
    """
    return np.random.default_rng(seed).standard_normal((latents, count)).T.copy()
