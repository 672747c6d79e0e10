"""What both estimators share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Shaped
from scipy.stats import qmc
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from curvae._checks import positive, positive_int
from curvae._typing import Tensor
from curvae.autoencoder import Model
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.metrics import Implied, at_unit_beta, importance_weighted_nll
from curvae.objectives import GRAE, BetaVAE
from curvae.posteriors import Full, Normal, Structure
from curvae.sklearn.conditions import Told
from curvae.sklearn.networks import build_networks
from curvae.sklearn.reader import DTYPES, TableReader
from curvae.sklearn.reporting import About, write
from curvae.sklearn.table import COUNTS, Table, likelihood_for
from curvae.sklearn.training import train

# rows at a time where nothing is trained
_CHUNK = 500


class Posterior(NamedTuple):
    """What a model knows of the latents of some samples: normal distributions.

    Attributes:
        mean: ``[N, d]``.
        covariance: ``[N, d, d]``.
    """

    mean: Shaped[np.ndarray, "N d"]
    covariance: Shaped[np.ndarray, "N d d"]


class TableAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TableReader):  # type: ignore[misc]
    """An autoencoder of tables behind scikit-learn's methods; the two estimators say what is trained."""

    n_components: int
    beta: float
    hidden_layer_sizes: tuple[int, ...]
    activation: str
    structure: str | Structure
    steps: int
    batch_size: int
    lr: float
    importance_samples: int
    random_state: Any
    _trained: GRAE | BetaVAE  # what the fitted model was trained with, whatever the parameters are set to afterwards

    def _keep(self, given: dict[str, Any]) -> None:
        """The parameters as they are: all that scikit-learn lets ``__init__`` do."""
        self.__dict__.update({name: value for name, value in given.items() if name != "self"})

    @abstractmethod
    def _objective(self, likelihood: Likelihood) -> GRAE | BetaVAE:
        """What is minimised."""

    @abstractmethod
    def _structure(self) -> Structure | None:
        """The covariance structure that the encoder itself gives, if any."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train from new weights.

        Args:
            X: array, frame or sparse matrix ``[n_samples, n_features]``; NaN means a missing value.
            y: ignored.

        Returns:
            The estimator itself.

        Raises:
            InputError: (a ``ValueError``) parameters or data that cannot be used.
        """
        with self._unchanged_if_it_fails():
            told = self._validated(X, reset=True)
            self._build(told)
            self._train(told, positive_int("steps", self.steps), falling=True)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """One more pass over these samples, at the full learning rate.

        The first call builds the networks and learns from its samples where the columns are and how they are spread,
        so that it should see some hundreds of them.

        Args:
            X: as of :meth:`fit`.
            y: ignored.

        Returns:
            The estimator itself.
        """
        with self._unchanged_if_it_fails():
            if hasattr(self, "model_"):
                told = self._seen(X)
            else:
                told = self._validated(X, reset=True)
                self._build(told)
            count = len(told.x)
            self._train(told, -(-count // min(positive_int("batch_size", self.batch_size), count)), falling=False)
        return self

    def transform(self, X: Any) -> Shaped[np.ndarray, "N d"]:
        """The codes: the posterior's means.

        Args:
            X: as of :meth:`fit`.

        Returns:
            ``[n_samples, n_components]``, in the type of ``X``.
        """
        told = self._seen(X)
        return self._out([at.encode(x) for at, x in told.parts(self.model_, _CHUNK)], told.x)

    def posterior(self, X: Any, refine: int = 0) -> Posterior:
        r"""What is known of the latents: $\mathcal N(h(x),\Sigma^*)$ with $\Sigma^*=(I+M/\beta)^{-1}$ of (11).

        Args:
            X: as of :meth:`fit`.
            refine: Gauss–Newton steps from the encoder's means to the posterior's mode. Three take away most of the
                encoder's own error, which the covariance knows nothing of.

        Returns:
            Means ``[n_samples, n_components]`` and covariances, without ``refine`` the former those of
            :meth:`transform`.
        """
        told = self._seen(X)
        implied = Implied(self.model_, self._trained.beta, self.likelihood_, Full(), refine=refine)
        return self._posterior_of(implied.around, told)

    def inverse_transform(self, X: Any, condition: Any = None) -> Shaped[np.ndarray, "N D"]:
        """The expected data at some codes.

        Args:
            X: codes ``[n_samples, n_components]``.
            condition: of a conditional model: of each code, or one for all, as the data have it; of several columns a
                mapping from their names, or a frame.

        Returns:
            Means of the observation model, in the units of the data; counts at size factor 1. Of a ``Mixed`` one the
            classes of categorical columns have a probability each. Conditions are not among them.
        """
        check_is_fitted(self)
        z = check_array(X, dtype=DTYPES)
        if z.shape[1] != self.model_.latents:
            raise InputError(f"X has {z.shape[1]} columns, but this model has {self.model_.latents} components")
        codes = torch.from_numpy(np.array(z))
        told = Told(codes, self._told(condition, len(codes)))
        means = [self.likelihood_.mean(at.decode(z)) for at, z in told.parts(self.model_, _CHUNK)]
        if self._size_factors == "column":
            means = [torch.cat([mean, mean.new_ones(len(mean), 1)], 1) for mean in means]
        return self._out(means, codes)

    def score_samples(self, X: Any) -> Shaped[np.ndarray, " N"]:
        r"""An estimate of $\log p(x)$ of each sample, by importance sampling from :meth:`posterior`.

        In expectation a lower bound, which rises to $\log p(x)$ with ``importance_samples``. The draws are the same
        low-discrepancy points for every sample, so that the result depends on the sample alone. For Gaussian, Laplace
        and Student t noise the model at β ≠ 1 is the one whose noise is scaled by β; for others β is a weight of
        training alone.

        Args:
            X: as of :meth:`fit`.

        Returns:
            ``[n_samples]``, in nats; of what was observed where values are missing.
        """
        x, c = self._seen(X)
        model = self.model_ if c is None else self.model_.given(c.to(next(self.model_.parameters())))
        noise = at_unit_beta(self.likelihood_, self._trained.beta)
        count = positive_int("importance_samples", self.importance_samples)
        normal = qmc.MultivariateNormalQMC(np.zeros(self.model_.latents), engine=None, rng=0).random(count)
        draws = torch.from_numpy(np.atleast_2d(normal)).to(x.device)
        found = importance_weighted_nll(
            Implied(model, 1.0, noise, Full()), x, noise, samples=count, noise=draws, chunk_size=32
        )
        return -found.nll.numpy().astype(self._dtype(x))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of :meth:`score_samples`: what a search for parameters should raise.

        Args:
            X: as of :meth:`fit`.
            y: ignored.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None, condition: Any = None) -> Shaped[np.ndarray, "n D"]:
        """New samples of the model, noise included; counts at size factor 1.

        Args:
            n_samples: how many.
            random_state: a seed or a NumPy ``RandomState``.
            condition: as of :meth:`inverse_transform`; default the classes of the one column in turn.
        """
        check_is_fitted(self)
        count = positive_int("n_samples", n_samples)
        c = None if self._coding is None or condition is not None else self._coding.cycle(count)
        c = self._told(condition, count) if c is None else c
        generator = torch.Generator(self.device).manual_seed(_seed(random_state))
        noise = at_unit_beta(self.likelihood_, self._trained.beta)
        with torch.no_grad():
            eta = self.model_.sample(count, generator, None if c is None else c.to(next(self.model_.parameters())))
            return noise.sample(eta, generator).cpu().numpy()

    def report(self, X: Any, path: Path | str = "report.html") -> Path:
        """Write one HTML page about the fitted model on these samples, best such as it has not seen.

        What ``curvae report`` shows of a run: the objectives, reconstructions, samples, traversals, codes, and
        precisions beside what the decoder implies.

        Args:
            X: as of :meth:`fit`.
            path: the page; replaced if it exists.

        Raises:
            InputError: the samples cannot be used, or the page cannot be written.
        """
        told = self._seen(X)
        options = {"lr": float(self.lr), "batch_size": min(self.batch_size, self._rows), "seed": self.seed_}
        about = About(type(self).__name__, self._rows, self._logged, options)
        return write(self.model_, self._trained, told, about, Path(path))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.input_tags.positive_only = isinstance(self.likelihood, str) and self.likelihood.startswith(COUNTS)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _build(self, told: Told) -> None:
        """New networks for this table, from the seed."""
        table = Table(told.x, self.likelihood, self._size_factors, self._names).resolved()
        table.check()
        likelihood, self._said = likelihood_for(table), table.likelihood
        likelihood.check(told.x)
        latents = positive_int("n_components", self.n_components)
        self.seed_ = _seed(self.random_state)
        self.model_, self._features = build_networks(
            table,
            likelihood,
            latents,
            self.hidden_layer_sizes,
            self.activation,
            self._structure(),
            self.seed_,
            0 if self._coding is None else self._coding.size,
        )
        self.likelihood_ = likelihood
        self._n_features_out = latents
        self._passes, self._logged, self._rows = 0, list[dict[str, Any]](), 0

    def _train(self, told: Told, steps: int, falling: bool) -> None:
        self._trained = self._objective(self.likelihood_)
        lines = train(
            self.model_,
            self._trained,
            told,
            steps=steps,
            batch_size=positive_int("batch_size", self.batch_size),
            lr=positive("lr", self.lr),
            falling=falling,
            seed=self.seed_ + self._passes,
        )
        done = self._logged[-1]["step"] if self._logged else 0
        self._logged += [{**line, "step": done + line["step"]} for line in lines]
        self._passes, self._rows = self._passes + 1, len(told.x)

    def _posterior_of(self, around: Callable[[Model], Any], told: Told) -> Posterior:
        """By the model that is made of the fitted one, or of that at some conditions."""
        with torch.no_grad():
            found: list[Normal] = [around(at).posterior(x) for at, x in told.parts(self.model_, _CHUNK)]
            mean, covariance = [q.mean for q in found], [q.covariance() for q in found]
            return Posterior(self._out(mean, told.x), self._out(covariance, told.x))

    def _out(self, parts: list[Tensor], like: Tensor) -> Shaped[np.ndarray, "N *D"]:
        return torch.cat(parts).detach().cpu().numpy().astype(self._dtype(like))

    def _dtype(self, like: Tensor) -> Any:
        return np.float32 if like.dtype == torch.float32 else np.float64


def _seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))
