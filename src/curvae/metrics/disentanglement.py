r"""How well single latents stand for single factors of known data, as torchmetrics metrics.

All of them see codes $h(x)$ and the true factors of the same samples: ``metric.update(codes, factors)`` as often as
there are batches, then ``metric.compute()``. None of them knows which latent should be which factor.
Bad arguments, no samples and a factor with a single value raise an ``InputError``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from curvae._checks import is_finite, non_negative, positive_int, shown
from curvae._extras import require
from curvae._typing import Float, Tensor
from curvae.errors import InputError

require("disentanglement is measured by", "torchmetrics", "sklearn")

import torch  # noqa: E402
from sklearn.metrics import mutual_info_score  # noqa: E402

from curvae.metrics.pairs import OfPairs  # noqa: E402
from curvae.metrics.predictors import (  # noqa: E402
    accuracy,
    binned,
    boosted,
    check_columns,
    check_seed,
    column_numbers,
    concentration,
    gap,
    lasso,
    squared_correlation,
    targets,
)

_Codes = Float[np.ndarray, "N d"]


class MIG(OfPairs):
    r"""Mutual information gap, $\tfrac1F\sum_k\frac1{H(v_k)}\big[I(z_{j_k};v_k)-\max_{j\ne j_k}I(z_j;v_k)\big]$.

    $j_k$ is the latent that tells most about factor k. 0 … 1, and 1 if every factor is known from one latent and no
    other latent tells anything about it. Latents are binned, each into equal parts of its range, so that chance alone
    gives a little information: compare values of the same number of samples.

    Args:
        bins: of each latent, ≥ 2.
        kwargs: of ``torchmetrics.Metric``.

    Source: Chen et al., NeurIPS 2018 (β-TCVAE); binned as Locatello et al., ICML 2019 do.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(10), torch.arange(10))
        >>> metric = MIG()
        >>> metric.update(factors.double(), factors)
        >>> round(metric.compute().item(), 6)
        1.0
    """

    def __init__(self, bins: int = 20, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = positive_int("bins", bins)
        if bins < 2:
            raise InputError(f"bins is {bins}; expected at least 2")

    def compute(self) -> Tensor:
        """The gap of all samples so far."""
        codes, factors = self._arrays()
        parts = [binned(code, self.bins) for code in codes.T]
        shared = np.array([[mutual_info_score(factor, code) for factor in factors.T] for code in parts])
        entropy = np.array([mutual_info_score(factor, factor) for factor in factors.T])
        return torch.tensor((gap(shared) / entropy).mean())


class SAP(OfPairs):
    r"""Separated attribute predictability: by how much the best latent predicts a factor better than the second best.

    The mean over factors of the gap between the two largest scores. The score of a latent for an ordered factor is the
    squared correlation; for a categorical one the accuracy of a linear classifier, trained on half of the samples, on
    the other half. 0 … 1.

    Args:
        categorical: columns of ``factors`` whose values have no order.
        kwargs: of ``torchmetrics.Metric``.

    Source: Kumar, Sattigeri & Balakrishnan, ICLR 2018.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(10), torch.arange(10))
        >>> metric = SAP()
        >>> metric.update(factors.double(), factors)
        >>> round(metric.compute().item(), 6)
        1.0
    """

    def __init__(self, categorical: Collection[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.categorical = column_numbers(categorical)

    def compute(self) -> Tensor:
        """The gap of all samples so far."""
        codes, factors = self._arrays()
        check_columns(self.categorical, factors)
        scores = np.array([
            [
                accuracy(code, factor) if k in self.categorical else squared_correlation(code, factor)
                for k, factor in enumerate(factors.T)
            ]
            for code in codes.T
        ])  # fmt: skip
        return torch.tensor(gap(scores).mean())


class DCI(OfPairs):
    r"""Disentanglement, completeness and informativeness of codes, from what predicts each factor from all latents.

    A predictor of each factor gives the importances $R_{jk}\ge0$ of latent j for factor k. **Disentanglement**: one
    minus the entropy (base F) of a latent's importances over factors, averaged over latents by their share of all
    importance; 1 if every latent serves one factor. **Completeness**: the same across latents (base d); 1 if every
    factor is in one latent. **Informativeness**: how well factors are predicted on the samples that were held out:
    the share of right ones for boosting, R² (0 at least) for the lasso.

    Args:
        predictor: ``"boosting"``, scikit-learn's ``GradientBoostingClassifier`` for each factor, as Locatello et al.
            have it (slow: as many trees as a factor has values, a hundred times); or ``"lasso"``, linear regression
            whose penalty is chosen by cross-validation, as Eastwood & Williams have it, with |coefficients| of
            standardised codes as importances. A categorical factor is regressed by the indicators of its values then.
        categorical: columns of ``factors`` whose values have no order; for ``"lasso"`` alone.
        held_out: share of the samples that informativeness is measured on, in (0, 1).
        seed: of the split, which goes by the samples' order, and of the boosting.
        kwargs: of ``torchmetrics.Metric``.

    Source: Eastwood & Williams, ICLR 2018; Locatello et al., ICML 2019.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(10), torch.arange(10))
        >>> metric = DCI("lasso")
        >>> metric.update(factors.double(), factors)
        >>> {name: round(value.item(), 2) for name, value in metric.compute().items()}
        {'disentanglement': 1.0, 'completeness': 1.0, 'informativeness': 1.0}
    """

    def __init__(
        self,
        predictor: str = "boosting",
        categorical: Collection[int] = (),
        held_out: float = 0.25,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if predictor not in ("boosting", "lasso"):
            raise InputError(f"predictor is {predictor!r}; expected boosting or lasso")
        if not (is_finite(held_out) and 0 < held_out < 1):
            raise InputError(f"held_out is {shown(held_out)}; expected a number between 0 and 1")
        self.predictor, self.categorical = predictor, column_numbers(categorical)
        self.held_out, self.seed = held_out, check_seed(seed)

    def compute(self) -> dict[str, Tensor]:
        """The three numbers of all samples so far."""
        codes, factors = self._arrays()
        check_columns(self.categorical, factors)
        order = np.random.default_rng(self.seed).permutation(len(codes))
        train, test = np.split(order, [round(len(order) * (1 - self.held_out))])
        if min(len(train), len(test)) < 10:
            raise InputError(f"there are {len(codes)} samples; expected at least 10 to train on and 10 to hold out")
        found = [
            boosted(codes, factor, train, test, self.seed)
            if self.predictor == "boosting"
            else lasso(codes, targets(factor, k in self.categorical), train, test)
            for k, factor in enumerate(factors.T)
        ]
        importance = np.stack([weights for weights, _ in found], axis=1)
        values = {
            "disentanglement": concentration(importance),
            "completeness": concentration(importance.T),
            "informativeness": float(np.mean([score for _, score in found])),
        }
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


class FactorVAEScore(OfPairs):
    r"""FactorVAE's score: how often the latent that varies least tells which factor was held fixed.

    A vote: a factor and a value of it are drawn, then ``size`` samples with that value (with replacement); the vote is
    for the latent whose variance among them, over its variance in all samples, is smallest. Each latent is named after
    the factor that most of its votes came from, and the score is the share of fresh votes that this names rightly. 0 …
    1; guessing gives 1/F. Latents that hardly vary at all take no part, nor do values that a single sample has.

    Args:
        votes: to name the latents by, and as many to score them.
        size: samples of a vote, ≥ 2.
        least: standard deviation below which a latent takes no part, ≥ 0.
        seed: of the votes.
        kwargs: of ``torchmetrics.Metric``.

    Source: Kim & Mnih, ICML 2018.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(10), torch.arange(10))
        >>> metric = FactorVAEScore(votes=100)
        >>> metric.update(factors.double(), factors)
        >>> metric.compute().item()
        1.0
    """

    def __init__(self, votes: int = 800, size: int = 64, least: float = 0.05, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.votes, self.size = positive_int("votes", votes), positive_int("size", size)
        if size < 2:
            raise InputError(f"size is {size}; expected at least 2, to have a variance")
        self.least, self.seed = non_negative("least", least), check_seed(seed)

    def compute(self) -> Tensor:
        """The share of right votes of all samples so far; 0 if no latent varies."""
        codes, factors = self._arrays()
        for k, factor in enumerate(factors.T):
            if np.unique(factor, return_counts=True)[1].max() < 2:
                raise InputError(f"factor {k} has another value in each sample; expected several of some value")
        spread = codes.std(0, ddof=1)
        codes = (codes / np.where(spread > 0, spread, 1))[:, (spread > 0) & (spread >= self.least)]
        if codes.shape[1] == 0:
            return torch.tensor(0.0, dtype=torch.float64)
        generator = np.random.default_rng(self.seed)
        named, scored = (self._count(codes, factors, generator) for _ in range(2))
        right = scored[named.argmax(0), np.arange(codes.shape[1])].sum()
        return torch.tensor(right / self.votes, dtype=torch.float64)

    def _count(self, codes: _Codes, factors: Any, generator: np.random.Generator) -> Any:
        """Votes by factor and latent."""
        counts = np.zeros((factors.shape[1], codes.shape[1]))
        for _ in range(self.votes):
            factor = generator.integers(factors.shape[1])
            alike = self._alike(factors[:, factor], generator)
            while len(alike) < 2:  # no latent varies in a single sample, and the vote would go to the first
                alike = self._alike(factors[:, factor], generator)
            counts[factor, codes[generator.choice(alike, self.size)].var(0).argmin()] += 1
        return counts

    def _alike(self, factor: Any, generator: np.random.Generator) -> Any:
        """The samples of one value: that of a sample, so that values come as often as they do in the data."""
        return np.flatnonzero(factor == factor[generator.integers(len(factor))])
