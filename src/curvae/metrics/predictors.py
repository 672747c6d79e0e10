"""How well latents predict a factor: what the scores of :mod:`curvae.metrics.disentanglement` are made of."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from numbers import Integral
from typing import Any

import numpy as np

from curvae._checks import shown
from curvae._extras import require
from curvae._typing import Float
from curvae.errors import InputError

require("disentanglement is measured by", "sklearn")

from sklearn.ensemble import GradientBoostingClassifier  # noqa: E402
from sklearn.linear_model import LassoCV  # noqa: E402
from sklearn.svm import LinearSVC  # noqa: E402

_Codes = Float[np.ndarray, "N d"]


def squared_correlation(code: Any, factor: Any) -> float:
    """Of a latent and an ordered factor; 0 if the latent is constant."""
    # the public implementation's limit of what counts as constant
    return float(np.corrcoef(code, factor)[0, 1] ** 2) if code.var() > 1e-12 else 0.0


def accuracy(code: Any, factor: Any) -> float:
    """Of a linear classifier of every other sample, on the rest."""
    order = np.arange(len(factor))
    if set(factor[::2]) != set(factor[1::2]):  # samples in the order of a grid: one half lacks values that it has
        order = np.random.default_rng(0).permutation(order)
    train, test = order[::2], order[1::2]
    if len(np.unique(factor[train])) < 2:
        raise InputError("a factor has one value in half of the samples; expected more samples")
    model = LinearSVC(C=0.01, class_weight="balanced", random_state=0).fit(code[train, None], factor[train])
    return float((model.predict(code[test, None]) == factor[test]).mean())


def column_numbers(columns: object) -> frozenset[int]:
    """What an argument ``categorical`` names."""
    if not isinstance(columns, Collection) or not all(
        isinstance(number, Integral) and not isinstance(number, bool) for number in columns
    ):
        raise InputError(f"categorical is {shown(columns)}; expected columns of the factors, as in [0, 3]")
    return frozenset(int(number) for number in columns)


def check_seed(seed: int) -> int:
    """Of a split and of trees: NumPy and scikit-learn take these."""
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise InputError(f"seed is {shown(seed)}; expected a whole number in [0, 2^32)")
    return int(seed)


def check_columns(categorical: Collection[int], factors: Any) -> None:
    """Refuse columns that the factors do not have."""
    unknown = sorted(column for column in categorical if not 0 <= column < factors.shape[1])
    if unknown:
        raise InputError(f"categorical has column {unknown[0]}; expected columns of the {factors.shape[1]} factors")


def targets(factor: Any, categorical: bool) -> Any:
    """Numbers to regress, ``[N, T]``."""
    return (factor[:, None] == np.unique(factor)).astype(float) if categorical else factor[:, None].astype(float)


def boosted(codes: _Codes, factor: Any, train: Any, test: Any, seed: int) -> tuple[Any, float]:
    """Importances of the latents for boosted trees, and the share of samples held out that these predict rightly."""
    if len(np.unique(factor[train])) < 2:
        raise InputError("a factor has one value in all samples that are trained on; expected more samples")
    # trees see single precision and take numbers less than 1e-7 apart for one, so a latent's largest is brought near
    # 2^100: what is much smaller beside it is still told apart; powers of two are exact
    codes = np.ldexp(codes, 100 - np.frexp(abs(codes).max(0))[1])
    model = GradientBoostingClassifier(random_state=seed).fit(codes[train], factor[train])
    return model.feature_importances_, float((model.predict(codes[test]) == factor[test]).mean())


def lasso(codes: _Codes, wanted: Any, train: Any, test: Any) -> tuple[Any, float]:
    """Importances and R² on the samples held out, averaged over the targets."""
    mean, spread = codes[train].mean(0), codes[train].std(0)
    x = (codes - mean) / np.where(spread > 0, spread, 1)
    importance, scores = np.zeros(codes.shape[1]), []
    for target in wanted.T:
        centre, scale = target[train].mean(), target[train].std()
        if scale == 0 or target[test].std() == 0:  # a rare value that one side lacks
            continue
        y = (target - centre) / scale
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it stopped early: the penalties where it does are hardly chosen
            model = LassoCV(cv=5, max_iter=5000).fit(x[train], y[train])
        importance += abs(model.coef_)
        scores.append(max(0.0, float(model.score(x[test], y[test]))))
    if not scores:
        raise InputError("a factor has one value in all samples of a side, trained on or held out; expected more of it")
    return importance / len(scores), float(np.mean(scores))


def concentration(importance: Any) -> float:
    """One minus the entropy of each row, in its largest possible, averaged by the rows' sums; 0 if all are 0."""
    total = importance.sum(1)
    if total.sum() == 0 or importance.shape[1] < 2:
        return 0.0
    shares = importance / np.where(total > 0, total, 1)[:, None]
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    entropy = -(shares * logs).sum(1) / np.log(importance.shape[1])
    return float(((1 - entropy) * total).sum() / total.sum())


def binned(code: Any, bins: int) -> Any:
    """The number of each sample's bin."""
    try:
        edges = np.histogram(code, bins)[1]
    except ValueError:  # a latent that is constant but for rounding: its range has no such parts
        return np.zeros(len(code), dtype=int)
    return np.digitize(code, edges[:-1])


def gap(scores: Float[np.ndarray, "d F"]) -> Float[np.ndarray, " F"]:
    """Largest less second largest of each factor's scores."""
    ordered = np.sort(scores, axis=0)
    return ordered[-1] - ordered[-2]
