"""What one does with a trained model: encode, reconstruct, interpolate, traverse, sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from curvae._checks import positive_int
from curvae._precision import at_least_float32
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.conditioned import pieces
from curvae.curvature import gauss_newton
from curvae.data import Coding
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.likelihoods.masked import takes_missing
from curvae.metrics import Mixture
from curvae.metrics.codes import has_posterior, in_double
from curvae.posteriors import Normal, Structure
from curvae.runs.conditions import between, check_ends, conditions_of
from curvae.runs.device import generator
from curvae.runs.given import Given, collected
from curvae.runs.handed import known
from curvae.runs.posteriors import Codes, Posteriors, best
from curvae.runs.ways import chosen_latents, finite_values, geodesics, lines, moved

_BATCH = 256
# numbers of a Jacobian [B, *D, d] that are in memory together
_JACOBIAN = 2**25


@dataclass(frozen=True, repr=False)
class Trained(OneLine):
    r"""A trained model with what its objective knew, to be used on data.

    ``x`` is a NumPy array, a tensor, nested lists or a data frame ``[N, *D]``, by the rule of
    :func:`curvae.data.as_samples`; images may lack their channel or have it last. Tensors give tensors on their own
    device, everything else NumPy arrays. Samples are taken a batch at a time, without gradients, and no answer depends
    on the size of a batch. Outputs are expected observations, on the scale that the model sees: of pixels in bytes,
    0 to 1.

    A conditional model is told the condition of each sample, ``[N]``, or one for all: labels and numbers as the data
    have them, of several columns a mapping from their names. Where the run has no ``coding``, they are numbers
    ``[N, *C]`` as the networks take them, and so are floating-point tensors of two axes.

    Attributes:
        model: in eval mode, on any device.
        likelihood: observation model.
        structure: of the posterior, or of the one that the objective has optimised away; None where it is not at hand.
        beta: β, > 0.
        shape: of one sample.
        white: what meant 1 in the training data, if they were bytes (``Dataset.white``).
        coding: how conditions become numbers.
        columns: names of those of a table, in which data frames have to have them.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae.posteriors import Full
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2).eval()
        >>> trained = Trained(model, Gaussian(), Full(), beta=0.2, shape=(3,))
        >>> mean, std = trained.encode(torch.rand(5, 3).numpy())
        >>> mean.shape, std.shape, trained.reconstruct(torch.rand(4, 3)).shape
        ((5, 2), (5, 2), torch.Size([4, 3]))
    """

    model: Autoencoder
    likelihood: Likelihood
    structure: Structure | None
    beta: float
    shape: tuple[int, ...]
    white: int | None = None
    coding: Coding | None = None
    columns: Sequence[str] | None = None

    @torch.no_grad()
    def encode(
        self,
        x: Any,
        *,
        condition: Any = None,
        covariance: bool = False,
        structure: Structure | None = None,
        batch_size: int = _BATCH,
    ) -> Codes | Posteriors:
        r"""Mean and standard deviation of each latent given each sample.

        Those of the model's own posterior $q(z\mid x)$; or, for a deterministic model, of $\mathcal N(h(x),\Sigma^*)$
        with the best covariance (11) in the structure that it was trained with, which its objective has optimised away.

        Args:
            x: ``[N, *D]``.
            condition: of a conditional model: one for each sample, or one for all.
            covariance: also give Σ, ``[N, d, d]``, in the third place.
            structure: of $\Sigma^*$, to be taken in the place of the above, for any model. ``Shared`` takes the mean
                curvature of all of ``x``.
            batch_size: samples at a time, at most.

        Returns:
            ``(mean, std)`` or ``(mean, std, covariance)``, named.

        Raises:
            InputError: ``x`` cannot be used, or codes are not finite.
        """
        given = self._given(x)
        c = self._conditions(condition, len(given))
        posterior, size = self._posterior(given, c, structure, batch_size)
        parts = []
        for at, batch in self._batches(given, size, c):
            q = posterior(at, batch)
            matrices = (q.covariance().expand(len(batch), -1, -1),) if covariance else ()
            parts.append((q.mean, q.factor.variance().sqrt().expand(len(batch), -1).reshape(q.mean.shape), *matrices))
        found = [given.answer(joined) for joined in collected(parts, len(given))]
        return Posteriors(*found) if covariance else Codes(*found)

    @torch.no_grad()
    def precisions(self, x: Any, *, condition: Any = None, batch_size: int = 64) -> tuple[Any, Any]:
        r"""$\Sigma^{-1}$ of each sample's posterior, as :meth:`encode` has it, and $I+\tfrac1\beta M$, both in float64.

        Full posteriors that are best for the decoder have them equal (11).

        Returns:
            Two arrays ``[N, d, d]``.
        """
        given = self._given(x)
        c = self._conditions(condition, len(given))
        posterior, size = self._posterior(given, c, None, batch_size)
        parts = []
        for at, batch in self._batches(given, size, c):
            q = posterior(at, batch)
            implied = gauss_newton(at.decode, q.mean, batch, self.likelihood).double() / self.beta
            implied.diagonal(dim1=-2, dim2=-1).add_(1)
            parts.append((in_double(q).precision().expand_as(implied), implied))
        own, implied = (given.answer(joined) for joined in collected(parts, len(given)))
        return own, implied

    @torch.no_grad()
    def reconstruct(self, x: Any, *, condition: Any = None, batch_size: int = _BATCH) -> Any:
        """The expected observation at each sample's code, in the layout of ``x``, ``[N, *D]``.

        Raises:
            InputError: as :meth:`encode`.
        """
        given = self._given(x)
        c = self._conditions(condition, len(given))
        parts = ((self._mean(at, at.encode(batch)),) for at, batch in self._batches(given, batch_size, c))
        return given.answer(collected(parts, len(given))[0], of_data=True)

    @torch.no_grad()
    def interpolate(
        self, a: Any, b: Any, steps: int = 9, *, condition: Any = None, geodesic: bool = False, batch_size: int = 16
    ) -> Any:
        """Expected observations on the ways between the codes of pairs of samples.

        Args:
            a: where each way begins, ``[N, *D]``.
            b: where it ends, as many.
            steps: T, both ends included: ≥ 2, and ≥ 3 for geodesics.
            condition: of both, or a pair of those of ``a`` and of ``b``, between which they go in a straight line, too;
                geodesics have one, as they are those of one decoder.
            geodesic: take the shortest ways as the decoder sees them (§5.2), found by
                :func:`curvae.geometry.geodesic`, in the place of straight lines in latent space.
            batch_size: pairs at a time.

        Returns:
            ``[N, T, *D]``.

        Raises:
            InputError: samples that cannot be used, other numbers of them, or too few steps.
        """
        least = 3 if geodesic else 2
        if positive_int("steps", steps) < least:
            raise InputError(f"steps is {steps}; expected at least {least}, both ends included")
        first, last = self._given(a, "a"), self._given(b, "b")
        if len(first) != len(last):
            raise InputError(f"a holds {len(first)} samples and b {len(last)}; expected as many, in pairs")
        begin, finish = condition if isinstance(condition, tuple) and len(condition) == 2 else (condition, condition)
        c, other = self._conditions(begin, len(first)), self._conditions(finish, len(first))
        check_ends(c, other, geodesic)
        pairs = zip(self._batches(first, batch_size, c), self._batches(last, batch_size, other), strict=True)

        def ways() -> Iterator[tuple[Tensor]]:
            for (at, start), (to, end) in pairs:
                h, g = at.encode(start), to.encode(end)
                if geodesic:
                    yield (self._decoded(at, geodesics(self._mean, at, h, g, steps)),)
                else:
                    yield (self._decoded(between(at, to, steps), lines(h, g, steps)),)

        return first.answer(collected(ways(), len(first))[0], of_data=True)

    @torch.no_grad()
    def traverse(
        self,
        x: Any = None,
        *,
        latents: Sequence[int] | None = None,
        values: Sequence[float | int] = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0),
        condition: Any = None,
        batch_size: int = 16,
    ) -> Any:
        """Expected observations as one latent at a time takes each value and the others keep those of a sample's code.

        Args:
            x: ``[N, *D]``; None starts at the prior's mean, z = 0, as if it were one sample.
            latents: which, counted from 0; default all L. Latents that have axes are counted along all of them.
            values: V of them, in units of the prior's standard deviation.
            condition: of each sample, or one for all; without ``x`` there are as many traversals as conditions.
            batch_size: samples at a time.

        Returns:
            ``[N, L, V, *D]``.

        Raises:
            InputError: samples, latents or values that cannot be used, or outputs that are not finite.
        """
        code = at_least_float32(self._like).new_zeros(1, *self.model.shape)
        chosen = chosen_latents(latents, self.model.latents)
        steps = torch.tensor(finite_values(values, code.dtype), dtype=code.dtype, device=code.device)
        if x is None:
            c = self._conditions(condition, None)
            start = code if c is None else code.expand(len(c), *code.shape[1:])
            return collected([(self._decoded(self._at(c), moved(start, chosen, steps)),)], len(start))[0].numpy()
        given = self._given(x)
        batches = self._batches(given, batch_size, self._conditions(condition, len(given)))
        parts = ((self._decoded(at, moved(at.encode(batch), chosen, steps)),) for at, batch in batches)
        return given.answer(collected(parts, len(given))[0], of_data=True)

    @torch.no_grad()
    def sample(self, n: int, *, condition: Any = None, seed: int = 0, density: Mixture | None = None) -> Any:
        """Expected observations at ``n`` draws of the prior, or of a ``density`` fitted to the codes after training.

        Args:
            n: how many, ≥ 1.
            condition: of each of them, or one for all.
            seed: of the draws.
            density: of :func:`curvae.metrics.fit_mixture`.

        Returns:
            A NumPy array ``[n, *D]``.

        Raises:
            InputError: a number or a seed that is out of range.
        """
        places = [slice(start, min(start + _BATCH, n)) for start in range(0, positive_int("n", n), _BATCH)]
        c = self._conditions(condition, n)
        if density is None:
            draws = generator(seed, self._like.device)
            outputs: Iterable[Tensor] = (
                self.model.sample(place.stop - place.start, draws, None if c is None else c[place]) for place in places
            )
        else:
            flat = density.sample(n, generator(seed, torch.device("cpu"))).to(self._like)
            latents = flat.unflatten(1, self.model.shape)
            outputs = (self._at(c, place).decode(latents[place]) for place in places)
        return collected(((at_least_float32(self.likelihood.mean(eta)),) for eta in outputs), n)[0].numpy()

    @property
    def _like(self) -> Tensor:
        return next(self.model.parameters(), torch.empty(0))

    def _given(self, x: Any, name: str = "x") -> Given:
        missing, check = takes_missing(self.likelihood), self.likelihood.check
        return Given(x, self.shape, self.white, name, missing, check, self.columns)

    def _conditions(self, condition: Any, count: int | None) -> Tensor | None:
        """The conditions of so many samples as the networks take them; None for a model that takes none."""
        return conditions_of(self.model, self.coding, condition, count, self.shape)

    def _at(self, c: Tensor | None, rows: slice = slice(None)) -> Model:
        return self.model if c is None else self.model.given(c[rows])

    def _batches(self, given: Given, size: int, c: Tensor | None) -> Iterator[tuple[Model, Float[Tensor, "B *D"]]]:
        done = 0
        for x in given.batches(size, self._like):
            yield self._at(c, slice(done, done + len(x))), x
            done += len(x)

    def _mean(self, at: Model, z: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
        return at_least_float32(self.likelihood.mean(at.decode(z)))

    def _decoded(self, at: Model, z: Float[Tensor, "B *M"]) -> Float[Tensor, "B *E"]:
        """The expected observations at codes that have more axes in front, a condition for each or for each sample."""
        rows = z.reshape(-1, *self.model.shape)
        means = torch.cat([self._mean(some, part) for some, part in pieces(at, rows, _BATCH)])
        return means.reshape(*z.shape[: z.dim() - len(self.model.shape)], *means.shape[1:])

    def _posterior(
        self, given: Given, c: Tensor | None, structure: Structure | None, batch_size: int
    ) -> tuple[Callable[[Model, Tensor], Normal], int]:
        """From a batch its posteriors, and how many samples to take at a time."""
        if structure is None and has_posterior(self.model):
            return lambda at, x: at.posterior(x), batch_size
        # a Jacobian of every sample is in memory
        most = max(1, _JACOBIAN // (math.prod(self.shape) * self.model.latents))
        size = min(positive_int("batch_size", batch_size), most)
        chosen = known(self.structure) if structure is None else structure
        return best(chosen, self.likelihood, self.beta, self._batches(given, size, c)), size
