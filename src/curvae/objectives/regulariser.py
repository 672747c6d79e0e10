"""The penalty alone, for a training loop that exists."""

from __future__ import annotations

from typing import Literal, overload

import torch

from curvae._checks import non_negative, positive
from curvae._typing import Float, Tensor
from curvae.curvature import Columns, Estimator, Linearised
from curvae.curvature.estimator import check_estimator
from curvae.errors import InputError
from curvae.forward.pushforward import Decoder
from curvae.likelihoods import Gaussian, Likelihood
from curvae.likelihoods.gaussian import or_gaussian
from curvae.objectives.expansion import check_expansion, sampled_expansion
from curvae.objectives.loss import check_decoder
from curvae.objectives.support import check_support
from curvae.posteriors import Diagonal, Full, Structure
from curvae.posteriors.own import check_structure


@overload
def regulariser(
    decoder: Decoder,
    z: Float[Tensor, "B *L"],
    beta: float,
    *,
    estimator: Estimator | None = None,
    structure: Structure | None = None,
    likelihood: Likelihood | None = None,
    x: Tensor | None = None,
    generator: torch.Generator | None = None,
    expansion: float = 0.0,
    output: Literal[False] = False,
) -> Float[Tensor, " B"]: ...


@overload
def regulariser(
    decoder: Decoder,
    z: Float[Tensor, "B *L"],
    beta: float,
    *,
    estimator: Estimator | None = None,
    structure: Structure | None = None,
    likelihood: Likelihood | None = None,
    x: Tensor | None = None,
    generator: torch.Generator | None = None,
    expansion: float = 0.0,
    output: Literal[True],
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B *D"]]: ...


def regulariser(
    decoder: Decoder,
    z: Float[Tensor, "B *L"],
    beta: float,
    *,
    estimator: Estimator | None = None,
    structure: Structure | None = None,
    likelihood: Likelihood | None = None,
    x: Tensor | None = None,
    generator: torch.Generator | None = None,
    expansion: float = 0.0,
    output: bool = False,
) -> Float[Tensor, " B"] | tuple[Float[Tensor, " B"], Float[Tensor, "B *D"]]:
    r"""$\tfrac\beta2\log|I+\tfrac1\beta M|$ at the codes ``z``, or its estimate: the penalty of (13) for any loop.

    It is in units of the negative log-likelihood summed over outputs. A loss that averages over B samples and D outputs
    of unit-variance Gaussian noise adds ``penalty.mean() / D``; with mean squared error (twice that), ``2 * … / D``.

    Args:
        decoder: $g$, differentiable, acting on each sample by itself.
        z: codes.
        beta: β, > 0, of the sum convention: $\tfrac12\|x-g(z)\|^2+\beta\,\mathrm{KL}$.
        estimator: how it is computed; default ``Columns(1)``, one Jacobian column per sample.
        structure: the posterior whose noise it stands for; default ``Full()``, or ``Diagonal()`` where the estimator
            is of columns. ``Diagonal()`` gives the upper bound $\tfrac\beta2\sum_i\log(1+M_{ii}/\beta)$ of (14).
        likelihood: observation model; default Gaussian with σ = 1.
        x: the observations; only models other than the Gaussian need them.
        generator: draws what the estimator draws.
        expansion: λ, ≥ 0, of a variance-expansion term $\lambda\,\mathrm{tr}\,\Sigma^{-1}$ whose noise the penalty then
            stands for too: in place of the log-determinant it is the minimum over Σ that
            :func:`~curvae.objectives.expansion` gives. β may be 0 with it, which leaves $\sqrt{2\lambda}$ times the sum
            of the Jacobian's column norms. From ``Columns(k)``, ``Exact()`` or a ``Fraction`` of either.
        output: also return the decoder's output, which comes from the same pass and need not be computed again.

    Returns:
        One value for each sample, differentiable; with ``output=True`` a pair of it and $g(z)$.

    Raises:
        InputError: β is not > 0, the estimator cannot serve the structure, ``x`` is missing, the decoder's weights are
            in half precision, or it is inside a DistributedDataParallel whose ``forward`` is not running.

    Example:
        >>> decoder = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
        >>> x, z = torch.randn(5, 3), torch.randn(5, 2)
        >>> penalty, reconstruction = regulariser(decoder, z, beta=0.1, output=True)
        >>> loss = 0.5 * (x - reconstruction).square().sum(1).mean() + penalty.mean()
        >>> penalty.shape, reconstruction.shape
        (torch.Size([5]), torch.Size([5, 3]))
    """
    estimator = Columns(1) if estimator is None else estimator
    check_estimator(estimator)
    likelihood = or_gaussian(likelihood)
    if x is None:
        if not isinstance(likelihood, Gaussian):
            raise InputError(f"x is missing; {likelihood} needs the observations to weigh its outputs")
        likelihood = _Blind(likelihood.sigma)
    else:
        check_support(likelihood, x)
    structure = _default(estimator) if structure is None else structure
    check_structure(structure)
    expansion = non_negative("expansion", expansion)
    beta = non_negative("beta", beta) if expansion > 0 else positive("beta", beta)
    if expansion > 0:
        check_expansion(estimator, structure)
    check_decoder(decoder)
    at = Linearised(decoder, z, z if x is None else x, likelihood)
    # without β the log-determinant that comes along is of no use
    estimate = estimator.estimate(at, structure, beta or 1.0, generator)
    if expansion > 0:
        assert estimate.sampled is not None
        penalty = sampled_expansion(estimate.sampled, structure, expansion, beta)
    else:
        penalty = 0.5 * beta * estimate.value
    return (penalty, estimate.eta) if output else penalty


class _Blind(Gaussian):
    """A Gaussian that is given no observations, which its curvature does not depend on."""

    def whiten(
        self, eta: Float[Tensor, "B *D"], x: Tensor, tangents: Float[Tensor, "B *D K"]
    ) -> Float[Tensor, "B *D K"]:
        return super().whiten(eta, eta, tangents)


def _default(estimator: Estimator) -> Structure:
    """Full where the estimator serves it: the determinant itself and not a bound."""
    try:
        estimator.check(Full())
    except InputError:
        return Diagonal()
    return Full()
