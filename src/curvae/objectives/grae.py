"""The deterministic objectives: the posterior's covariance at its optimum, in closed form."""

from __future__ import annotations

import copy

import torch

from curvae._checks import non_negative, positive
from curvae._precision import at_least_float32, lifted
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.curvature import (
    Columns,
    Curvature,
    Estimator,
    Exact,
    Linearised,
    PenaltyEstimate,
    check_curvature,
)
from curvae.curvature.estimator import check_estimator
from curvae.curvature.fraction import on_all
from curvae.curvature.hessian import hessian_products
from curvae.errors import InputError
from curvae.forward.pushforward import unit_tangents
from curvae.likelihoods import Likelihood
from curvae.likelihoods.gaussian import or_gaussian
from curvae.objectives.expansion import check_expansion, sampled_expansion
from curvae.objectives.loss import check_model
from curvae.objectives.orthogonality import sampled_orthogonality
from curvae.objectives.support import check_support
from curvae.objectives.terms import Terms
from curvae.posteriors import Full, Structure, logdet
from curvae.posteriors.own import check_structure


class GRAE:
    r"""Equations (10), (12), (13) and (14), minimised: an autoencoder with the regulariser of a β-VAE.

    $-\log p(x\mid h)+\tfrac\beta2\|h\|^2+\tfrac\beta2\log|I+\tfrac1\beta M|$ at the code $h=h_\phi(x)$.
    (13) is this with Gaussian observations and ``structure=Full()``. A block-diagonal or diagonal structure has its own
    closed form (the penalty of :class:`~curvae.posteriors.Structure`); the diagonal one is the right side of (14), and
    with ``estimator=Columns(1)`` it is the paper's GRAE≈. (10) has $-H_{f_x}(h)$, the exact Hessian, in place of $M$.
    Parts: ``nll``, ``prior`` ($\tfrac\beta2\|h\|^2$), ``penalty`` and, if asked for, ``orthogonality``.

    Args:
        beta: β, > 0.
        likelihood: observation model; default Gaussian with σ = 1.
        structure: the variational family whose covariance was optimised away; default ``Full()``.
        estimator: how the penalty is computed; default ``Exact()``.
        encoder_weight: weight of $\tfrac12\|h\|^2$, ≥ 0; default β.
        decoder_weight: weight of $\tfrac12\log|\dots|$, ≥ 0; default β. The β inside the determinant stays. With 0
            (and no ``orthogonality``) the decoder is not differentiated at all.
        curvature: ``"gauss-newton"`` for $M$, ``"hessian"`` for (10), which needs ``estimator=Exact()``.
        orthogonality: weight, ≥ 0, of the mean squared cosine between Jacobian columns that the structure says should
            be orthogonal (:func:`~curvae.objectives.orthogonality`), from the columns that the estimator pushes anyway:
            exact with ``Exact()``, from sampled pairs with ``Columns(k)``, k ≥ 2, or a ``Fraction`` of either.
        expansion: λ, ≥ 0, of a term $\lambda\,\mathrm{tr}\,\Sigma^{-1}$ beside the KL: the penalty is then
            :func:`~curvae.objectives.expansion` in the log-determinant's place. With ``Exact()``, ``Columns(k)`` or a
            ``Fraction`` of either, no ``decoder_weight`` and curvature ``"gauss-newton"``. The Σ that is minimised away
            is then another one than (11), which metrics and ``encode`` go on reporting.

    Raises:
        InputError: for a bad argument, or an estimator that cannot serve the structure or curvature.
        IndefiniteError: when called with ``"hessian"`` where $I-\tfrac1\beta H$ is not positive definite.

    Example:
        >>> from curvae import Autoencoder, curvature, posteriors
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2)
        >>> objective = GRAE(beta=0.2, structure=posteriors.Diagonal(), estimator=curvature.Columns(1))
        >>> objective(model, torch.randn(5, 3)).total.shape
        torch.Size([5])
    """

    def __init__(
        self,
        beta: float,
        likelihood: Likelihood | None = None,
        structure: Structure | None = None,
        estimator: Estimator | None = None,
        encoder_weight: float | None = None,
        decoder_weight: float | None = None,
        curvature: Curvature = "gauss-newton",
        orthogonality: float = 0.0,
        expansion: float = 0.0,
    ) -> None:
        self.beta = positive("beta", beta)
        self.likelihood = or_gaussian(likelihood)
        self.structure = Full() if structure is None else structure
        check_structure(self.structure)
        self.estimator = Exact() if estimator is None else estimator
        check_estimator(self.estimator)
        self.estimator.check(self.structure)
        # weights that are not given follow β
        weights = {"encoder_weight": encoder_weight, "decoder_weight": decoder_weight}
        self._following = [name for name, weight in weights.items() if weight is None]
        self.encoder_weight = beta if encoder_weight is None else non_negative("encoder_weight", encoder_weight)
        self.decoder_weight = beta if decoder_weight is None else non_negative("decoder_weight", decoder_weight)
        self.curvature = check_curvature(curvature, self.likelihood)
        if curvature == "hessian" and not isinstance(self.estimator, Exact):
            raise InputError(f"the exact Hessian's penalty needs estimator Exact(); got {self.estimator}")
        self.orthogonality = non_negative("orthogonality", orthogonality)
        if self.orthogonality > 0:
            self._check_pairs()
        self.expansion = non_negative("expansion", expansion)
        if self.expansion > 0:
            self._check_expansion()

    def __call__(self, model: Model, x: Tensor, generator: torch.Generator | None = None) -> Terms:
        """The parts for a batch ``x`` ``[B, *D]``; ``generator`` draws columns where the estimator samples them."""
        check_model(model)
        check_support(self.likelihood, x)
        h = lifted(model.encode(x))
        estimate = self._estimate(model, h, x, generator)
        parts = {
            "nll": self.likelihood.nll(estimate.eta, x),
            "prior": 0.5 * self.encoder_weight * h.square().flatten(1).sum(1),
            "penalty": 0.5 * self.decoder_weight * estimate.value,
        }
        if estimate.sampled is not None and self.expansion > 0:
            parts["penalty"] = sampled_expansion(estimate.sampled, self.structure, self.expansion, self.beta)
        if estimate.sampled is not None and self.orthogonality > 0:
            cosines = sampled_orthogonality(estimate.sampled, self.structure, h.shape[1:].numel())
            parts["orthogonality"] = self.orthogonality * cosines
        return Terms(parts)

    def _estimate(
        self, model: Model, h: Float[Tensor, "B *L"], x: Tensor, generator: torch.Generator | None
    ) -> PenaltyEstimate:
        if self.decoder_weight == self.orthogonality == 0:  # an ordinary autoencoder, which needs no derivatives
            return PenaltyEstimate(at_least_float32(model.decode(h)), h.new_zeros(len(h)))
        if self.curvature == "hessian":
            return PenaltyEstimate(*self._hessian_penalty(model, h, x))
        at = Linearised(model.decode, h, x, self.likelihood)
        return self.estimator.estimate(at, self.structure, self.beta, generator)

    def with_beta(self, beta: float) -> GRAE:
        """The same objective at another β, with the weights that were not given of their own."""
        other = copy.copy(self)
        other.beta = positive("beta", beta)
        for name in self._following:
            setattr(other, name, beta)
        return other

    def _check_pairs(self) -> None:
        if isinstance(self.structure, Full):
            raise InputError(
                "orthogonality has no meaning with structure Full(), under which no columns have to be orthogonal"
            )
        if not gives_pairs(self.estimator) or self.curvature == "hessian":
            raise InputError(
                "orthogonality needs pairs of Jacobian columns: use estimator Exact() or Columns(k) with k >= 2, and "
                f"curvature 'gauss-newton'; got {self.estimator}, {self.curvature!r}"
            )

    def _check_expansion(self) -> None:
        check_expansion(self.estimator, self.structure)
        if self.curvature == "hessian" or "decoder_weight" not in self._following:
            raise InputError(
                "an expansion is one minimum with the log-determinant's: it goes with curvature 'gauss-newton' and "
                "without a decoder_weight"
            )

    def _hessian_penalty(
        self, model: Model, h: Float[Tensor, "B *L"], x: Tensor
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, " B"]]:
        eta, products = hessian_products(model.decode, h, x, self.likelihood, unit_tangents(h))
        products = products.flatten(1, -2)
        minus_hessian = -0.5 * (products + products.mT)
        logdet.check_definite(self.structure.seen(minus_hessian), self.beta)
        return eta, self.structure.penalty(minus_hessian, self.beta)

    def __repr__(self) -> str:
        weights = ("encoder_weight", "decoder_weight")
        own = {name: getattr(self, name) for name in weights if name not in self._following}
        own |= {name: weight for name in ("orthogonality", "expansion") if (weight := getattr(self, name)) > 0}
        return (
            f"GRAE(beta={self.beta:g}, likelihood={self.likelihood}, structure={self.structure}, "
            f"estimator={self.estimator}, curvature={self.curvature!r}"
            + "".join(f", {name}={weight:g}" for name, weight in own.items())
            + ")"
        )


def gives_pairs(estimator: Estimator) -> bool:
    """Whether an estimator pushes pairs of columns of one sample, which an orthogonality penalty needs."""
    inner = on_all(estimator)
    return isinstance(inner, Exact) or (isinstance(inner, Columns) and inner.count > 1)
