"""What an estimator is given: tables, their conditions, and itself out of a pickle."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

import curvae
from curvae._checks import shown, some
from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Coding, as_samples
from curvae.data.digits import lost_digits
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.sklearn.conditions import Conditions, Named, Told, coded
from curvae.sklearn.table import Features, Table

DTYPES = [np.float64, np.float32]
_VERSION = "_curvae_version"
# of an estimator that is fitted
_FITTED = frozenset(
    {"model_", "likelihood_", "seed_", "_coding", "_names", "_said", "_features", "_logged", "_rows"}
    | {"_condition", "_size_factors", "_trained"}
)


def _no_numbers(X: Any) -> list[str]:
    """The columns of a frame that are text or dates."""
    columns = X.columns if hasattr(X, "iloc") and hasattr(X, "columns") else ()
    return [str(name) for place, name in enumerate(columns) if not _is_numbers(X.iloc[:, place])]


def _is_numbers(column: Any) -> bool:
    with suppress(TypeError, ValueError):
        np.asarray(column, dtype=float)
        # as floats they would be nanoseconds
        return np.asarray(column).dtype.kind not in "mM"
    return False


class TableReader(BaseEstimator):  # type: ignore[misc]
    """An estimator that reads tables, of which some columns may be conditions."""

    likelihood: str | Likelihood
    size_factors: str | None
    condition: Named
    device: str
    model_: Autoencoder
    likelihood_: Likelihood
    _coding: Coding | None
    _names: tuple[str, ...] | None
    _condition: Named
    _size_factors: str | None
    _said: str | Likelihood
    _features: Features

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), _VERSION: curvae.__version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        now, then = curvae.__version__, state.get(_VERSION)
        told = f"this {type(self).__name__} was pickled by {f'curvae {then}' if then else 'an earlier curvae'}"
        if "model_" in state and not state.keys() >= _FITTED:
            raise InputError(
                f"{told}, and curvae {now} cannot open it, which keeps more of a fit; fit it again, or open it with "
                "the version that made it"
            )
        if then not in (None, now):
            warnings.warn(f"{told} and is opened by curvae {now}; fit it again if it fails", stacklevel=2)
        super().__setstate__({name: value for name, value in state.items() if name != _VERSION})

    @contextmanager
    def _unchanged_if_it_fails(self) -> Iterator[None]:
        """A model that was built and not trained would pass for a fitted one, or one that was trained in part."""
        before, model = dict(vars(self)), getattr(self, "model_", None)
        kept = None if model is None else copy.deepcopy(model.state_dict())
        try:
            yield
        except BaseException:
            self.__dict__ = before
            if model is not None and kept is not None:  # trained in place, on the device of the training
                model.to(next(iter(kept.values())).device).eval().load_state_dict(kept)
            raise

    def _validated(self, X: Any, reset: bool) -> Told:
        """A table as a tensor, with scikit-learn's own checks and messages, and its conditions."""
        if reset:  # the fitted model reads tables as it was fitted, whatever the parameters are set to afterwards
            self._condition, self._size_factors = copy.copy(self.condition), self.size_factors
        chosen = Conditions.of(self._condition, X)
        X, known = chosen.cut(X)
        least = 2 if reset else 1
        try:
            found = validate_data(
                self,
                X,
                reset=reset,
                dtype=DTYPES,
                accept_sparse="csr",
                ensure_all_finite="allow-nan",
                ensure_min_samples=least,
            )
        except (TypeError, ValueError) as error:
            if columns := _no_numbers(X):
                raise InputError(
                    f"X has text or dates in {some(columns, 8)}; drop what is no feature, or name it with condition=…, "
                    "which tells the networks of it"
                ) from error
            raise
        dense = found.toarray() if hasattr(found, "toarray") else found
        x = torch.from_numpy(np.delete(dense, chosen.places, 1) if known else np.array(dense))
        as_samples(x, name="X", missing=True)  # refuses what training, in single precision, would see as infinite
        try:
            x = x.to(self.device)
        except (RuntimeError, AssertionError, TypeError) as error:  # by PyTorch's builds: no such kind, or none here
            raise InputError(f"device is {shown(self.device)}, which PyTorch does not find here; use 'cpu'") from error
        if reset:
            self._coding = Coding.of(chosen.names, known, known) if known else None
            names = getattr(self, "feature_names_in_", None)
            self._names = None if names is None else tuple(map(str, np.delete(names, chosen.places)))
            if lost := lost_digits(x.cpu().numpy(), self._names):
                raise InputError(f"X: {lost}")
        return Told(x, None if self._coding is None else self._coding.code(known).to(x))

    def _told(self, condition: Any, count: int) -> Tensor | None:
        """The conditions that a person says beside codes."""
        if self._coding is not None:
            return coded(self._coding, condition, count)
        if condition is not None:
            raise InputError("a condition is given but the model was fitted without any; leave it out")
        return None

    def _seen(self, X: Any) -> Told:
        """A table that the fitted model is asked about."""
        check_is_fitted(self)
        told = self._validated(X, reset=False)
        table = Table(told.x, self._said, self._size_factors, self._names)
        table.check()
        self.likelihood_.check(told.x)
        if table.gaps and not self._features.gaps:
            allowed = f"'masked:{self.likelihood}'" if isinstance(self.likelihood, str) else "likelihoods.Masked(…)"
            raise InputError(
                "X has missing values (NaN) but the samples that the model was fitted on had none; fit with "
                f"likelihood={allowed}, which expects them"
            )
        return told
