"""The two estimators."""

from __future__ import annotations

from typing import Any

from curvae import objectives
from curvae._checks import positive
from curvae.curvature import Estimator
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.posteriors import Structure
from curvae.runs.parts import build_estimator, build_structure
from curvae.sklearn.base import Posterior, TableAutoencoder
from curvae.sklearn.conditions import Named


class GRAE(TableAutoencoder):
    r"""A deterministic autoencoder of tables with the regulariser of a β-VAE in closed form, (12) to (14).

    Reduces a table to ``n_components`` codes with a covariance each, and is a density: with
    ``hidden_layer_sizes=()`` and ``likelihood="gaussian:learned"`` it is probabilistic PCA.

    Parameters
    ----------
    n_components : int, default=2
        Number of latents.
    beta : float, default=1.0
        Weight of the divergence from the prior, > 0. With a noise scale that is learned, 1 is maximum likelihood.
    likelihood : str or Likelihood, default="gaussian"
        The observation model. ``"gaussian"`` learns a noise scale for each column and ``"gaussian:learned"`` one for
        all, ``"bernoulli"`` is of values in [0, 1], ``"poisson"`` and ``"negative-binomial"`` (which learns a
        dispersion for each column) of counts, and ``"mixed"`` (``"mixed:COLUMN=KIND"``) takes each column for what it
        looks like, as on the command line, whose other names are known too. Or an object of
        :mod:`curvae.likelihoods`, for instance ``Mixed`` with kinds of your own.
    size_factors : {None, "total", "column"}, default=None
        Of counts: what makes one sample count more than another. ``"total"`` is each sample's own total over the
        median of them all, ``"column"`` the last column of ``X`` (without conditions).
    condition : str, int, list of these or None, default=None
        Columns of ``X`` that encoder and decoder are told and that are no features: names of a frame, or positions.
        Texts and whole numbers of at most 100 different values are classes, other numbers are standardised;
        ``"age:number"`` and ``"batch:classes"`` say otherwise.
    hidden_layer_sizes : tuple of int, default=(128, 64)
        Layers of the encoder; the decoder's are the same, backwards. ``()`` is a linear model.
    activation : {"elu", "relu", "silu", "tanh"}, default="elu"
        Between the layers.
    structure : str or Structure, default="full"
        The variational family that was optimised away: ``"full"``, ``"diagonal"``, ``"block:B"``, … Under ``"full"``
        every rotation of the codes is as good as any other; ``"diagonal"`` prefers one.
    estimator : str or Estimator, default="exact"
        How its penalty is computed; ``"columns:1"`` with ``structure="diagonal"`` for many latents.
    steps : int, default=500
        Optimiser steps of :meth:`fit`; the learning rate falls to 0 over them, by a cosine.
    batch_size : int, default=128
        Samples a step.
    lr : float, default=0.008
        Adam's learning rate at the beginning.
    importance_samples : int, default=256
        Draws for each sample in :meth:`score_samples`.
    random_state : int, RandomState instance or None, default=None
        Of the weights, the order of the samples and the noise.
    device : str, default="cpu"
        Where to compute, for instance ``"cuda"``.

    Attributes
    ----------
    model_ : Autoencoder
        The fitted model.
    likelihood_ : Likelihood
        Its observation model.
    n_features_in_ : int
        Number of columns seen in :meth:`fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if they had any.

    See Also
    --------
    BetaVAE : The same with noise in the latents.
    sklearn.decomposition.PCA : The linear model.

    Notes
    -----
    Computations are in the type of ``X``, as PCA's. Missing values (NaN) are left out of the likelihood, and the
    encoder is told which they are; a model that was fitted without any takes none. Sparse matrices are made dense.

    References
    ----------
    Kumar and Poole, "On Implicit Regularization in β-VAEs", ICML 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X = load_iris().data
    >>> model = GRAE(n_components=2, steps=50, random_state=0).fit(X)
    >>> model.transform(X).shape, model.posterior(X).covariance.shape, model.score_samples(X).shape
    ((150, 2), (150, 2, 2), (150,))
    """

    estimator: str | Estimator

    def __init__(
        self,
        n_components: int = 2,
        *,
        beta: float = 1.0,
        likelihood: str | Likelihood = "gaussian",
        size_factors: str | None = None,
        condition: Named = None,
        hidden_layer_sizes: tuple[int, ...] = (128, 64),
        activation: str = "elu",
        structure: str | Structure = "full",
        estimator: str | Estimator = "exact",
        steps: int = 500,
        batch_size: int = 128,
        lr: float = 0.008,
        importance_samples: int = 256,
        random_state: Any = None,
        device: str = "cpu",
    ) -> None:
        self._keep(locals())

    def _objective(self, likelihood: Likelihood) -> objectives.GRAE:
        estimator = build_estimator(self.estimator) if isinstance(self.estimator, str) else self.estimator
        return objectives.GRAE(positive("beta", self.beta), likelihood, _structure(self.structure), estimator)

    def _structure(self) -> None:
        return None


class BetaVAE(TableAutoencoder):
    r"""The β-VAE (2) of tables: an encoder that gives a whole posterior, trained with noise in the latents.

    Parameters
    ----------
    n_components : int, default=2
        Number of latents.
    beta : float, default=1.0
        Weight of the divergence from the prior, > 0.
    likelihood : str or Likelihood, default="gaussian"
        The observation model, as of :class:`GRAE`.
    size_factors : {None, "total", "column"}, default=None
        As of :class:`GRAE`.
    condition : str, int, list of these or None, default=None
        As of :class:`GRAE`.
    hidden_layer_sizes : tuple of int, default=(128, 64)
        Layers of the encoder; the decoder's are the same, backwards.
    activation : {"elu", "relu", "silu", "tanh"}, default="elu"
        Between the layers.
    structure : str or Structure, default="diagonal"
        The covariances that the encoder gives: ``"diagonal"``, ``"full"``, ``"block:B"``, …
    samples : int, default=1
        Draws of the latents for each sample and step.
    steps : int, default=500
        Optimiser steps of :meth:`fit`; the learning rate falls to 0 over them, by a cosine.
    batch_size : int, default=128
        Samples a step.
    lr : float, default=0.008
        Adam's learning rate at the beginning.
    importance_samples : int, default=256
        Draws for each sample in :meth:`score_samples`.
    random_state : int, RandomState instance or None, default=None
        Of the weights, the order of the samples and the noise.
    device : str, default="cpu"
        Where to compute.

    Attributes
    ----------
    model_ : Autoencoder
        The fitted model.
    likelihood_ : Likelihood
        Its observation model.
    n_features_in_ : int
        Number of columns seen in :meth:`fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if they had any.

    See Also
    --------
    GRAE : The same regulariser in closed form, without noise.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X = load_iris().data
    >>> model = BetaVAE(n_components=2, steps=50, random_state=0).fit(X)
    >>> model.posterior(X, calibrated=False).covariance.shape
    (150, 2, 2)
    """

    samples: int

    def __init__(
        self,
        n_components: int = 2,
        *,
        beta: float = 1.0,
        likelihood: str | Likelihood = "gaussian",
        size_factors: str | None = None,
        condition: Named = None,
        hidden_layer_sizes: tuple[int, ...] = (128, 64),
        activation: str = "elu",
        structure: str | Structure = "diagonal",
        samples: int = 1,
        steps: int = 500,
        batch_size: int = 128,
        lr: float = 0.008,
        importance_samples: int = 256,
        random_state: Any = None,
        device: str = "cpu",
    ) -> None:
        self._keep(locals())

    def posterior(self, X: Any, refine: int = 0, *, calibrated: bool = True) -> Posterior:
        r"""What is known of each sample's latents.

        Args:
            X: as of :meth:`fit`.
            refine: as of :meth:`GRAE.posterior`.
            calibrated: with the covariance $\Sigma^*$ of (11) that the decoder implies, or the encoder's own.

        Returns:
            Means ``[n_samples, n_components]`` and covariances, without ``refine`` the former those of
            :meth:`transform`.

        Raises:
            InputError: ``refine`` with the encoder's own covariance, which is that of the encoder's mean.
        """
        if calibrated:
            return super().posterior(X, refine)
        if refine:
            raise InputError("refine moves the mean to the mode, whose covariance is the calibrated one; leave one out")
        return self._posterior_of(lambda model: model, self._seen(X))

    def _objective(self, likelihood: Likelihood) -> objectives.BetaVAE:
        return objectives.BetaVAE(positive("beta", self.beta), likelihood, self.samples)

    def _structure(self) -> Structure:
        return _structure(self.structure)


def _structure(structure: str | Structure) -> Structure:
    return build_structure(structure) if isinstance(structure, str) else structure
