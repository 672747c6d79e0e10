"""Posteriors of samples as arrays, and the covariance that is best for a decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

from curvae._repr import line
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.curvature import gauss_newton
from curvae.likelihoods import Likelihood
from curvae.metrics import Implied
from curvae.posteriors import Normal, Shared, Structure


class Codes(NamedTuple):
    """Posteriors of N samples: means and standard deviations, ``[N, *L]`` each."""

    mean: Any
    std: Any

    def __repr__(self) -> str:
        return line(type(self).__name__, **self._asdict())


class Posteriors(NamedTuple):
    """Posteriors of N samples: means and standard deviations ``[N, *L]``, covariances ``[N, d, d]``."""

    mean: Any
    std: Any
    covariance: Any

    def __repr__(self) -> str:
        return line(type(self).__name__, **self._asdict())


def best(
    structure: Structure,
    likelihood: Likelihood,
    beta: float,
    pieces: Iterable[tuple[Model, Float[Tensor, "B *D"]]],
) -> Callable[[Model, Tensor], Normal]:
    r"""From a batch its $\mathcal N(h(x),\Sigma^*)$ with the best covariance (11) in a structure.

    ``Shared`` takes the mean curvature of all ``pieces``, which no other structure looks at.
    """
    if not isinstance(structure, Shared):
        return lambda at, x: Implied(at, beta, likelihood, structure).posterior(x)
    total, count = torch.zeros(()), 0
    for at, x in pieces:
        total = gauss_newton(at.decode, at.encode(x), x, likelihood).double().sum(0) + total.to(x.device)
        count += len(x)
    factor = structure.structure.optimal(total[None] / count, beta)

    def shared(at: Model, x: Tensor) -> Normal:
        h = at.encode(x)
        return Normal(h, factor.to(h.dtype))

    return shared
