"""The deterministic objectives: the posterior's covariance at its optimum, in closed form."""

from __future__ import annotations

import torch

from curvae._checks import non_negative, positive
from curvae._precision import full_precision
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.curvature import Curvature, Estimator, Exact, check_curvature
from curvae.curvature.hessian import hessian_products
from curvae.curvature.pushforward import unit_tangents
from curvae.errors import IndefiniteError, InputError
from curvae.likelihoods import Gaussian, Likelihood
from curvae.objectives.terms import Terms
from curvae.posteriors import Full, Structure


class GRAE:
    r"""Equations (10), (12), (13) and (14), minimised: an autoencoder with the regulariser of a β-VAE.

    $-\log p(x\mid h)+\tfrac\beta2\|h\|^2+\tfrac\beta2\log|I+\tfrac1\beta M|$ at the code $h=h_\phi(x)$.
    (13) is this with Gaussian observations and ``structure=Full()``. A block-diagonal or diagonal structure has its own
    closed form (the penalty of :class:`~curvae.posteriors.Structure`); the diagonal one is the right side of (14), and
    with ``estimator=Columns(1)`` it is the paper's GRAE≈. (10) has $-H_{f_x}(h)$, the exact Hessian, in place of $M$.
    Parts: ``energy``, ``prior`` ($\tfrac\beta2\|h\|^2$) and ``penalty``.

    Args:
        beta: β, > 0.
        likelihood: observation model; default Gaussian with σ = 1.
        structure: the variational family whose covariance was optimised away; default ``Full()``.
        estimator: how the penalty is computed; default ``Exact()``.
        encoder_weight: weight of $\tfrac12\|h\|^2$, ≥ 0; default β.
        decoder_weight: weight of $\tfrac12\log|\dots|$, ≥ 0; default β. The β inside the determinant stays.
        curvature: ``"gauss-newton"`` for $M$, ``"hessian"`` for (10), which needs ``estimator=Exact()``.

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
    ) -> None:
        self.beta = positive("beta", beta)
        self.likelihood = Gaussian() if likelihood is None else likelihood
        self.structure = Full() if structure is None else structure
        self.estimator = Exact() if estimator is None else estimator
        self.estimator.check(self.structure)
        self.encoder_weight = beta if encoder_weight is None else non_negative("encoder_weight", encoder_weight)
        self.decoder_weight = beta if decoder_weight is None else non_negative("decoder_weight", decoder_weight)
        self.curvature = check_curvature(curvature)
        if curvature == "hessian" and not isinstance(self.estimator, Exact):
            raise InputError(f"the exact Hessian's penalty needs estimator Exact(); got {self.estimator}")

    def __call__(self, model: Model, x: Tensor, generator: torch.Generator | None = None) -> Terms:
        """The parts for a batch ``x`` ``[B, *D]``; ``generator`` draws columns where the estimator samples them."""
        h = model.encode(x)
        if self.curvature == "hessian":
            eta, penalty = self._hessian_penalty(model, h, x)
        else:
            eta, penalty = self.estimator.penalty(
                model.decode, h, x, self.likelihood, self.structure, self.beta, generator
            )
        return Terms(
            {
                "energy": self.likelihood.energy(eta, x),
                "prior": 0.5 * self.encoder_weight * h.square().sum(-1),
                "penalty": 0.5 * self.decoder_weight * penalty,
            }
        )

    def _hessian_penalty(
        self, model: Model, h: Float[Tensor, "B d"], x: Tensor
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, " B"]]:
        eta, products = hessian_products(model.decode, h, x, self.likelihood, unit_tangents(h))
        minus_hessian = -0.5 * (products + products.mT)
        smallest = _smallest_eigenvalue(self.structure.restrict(minus_hessian), self.beta)
        if smallest <= 0:
            raise IndefiniteError(
                f"I - H/beta is not positive definite: its smallest eigenvalue in the batch is {smallest:.4g}, so "
                "(10) does not exist here; use curvature='gauss-newton' (12), a larger beta, or Taylor"
            )
        return eta, self.structure.penalty(minus_hessian, self.beta)

    def __repr__(self) -> str:
        return (
            f"GRAE(beta={self.beta:g}, likelihood={self.likelihood}, structure={self.structure}, "
            f"estimator={self.estimator}, curvature={self.curvature!r})"
        )


@torch.no_grad()
def _smallest_eigenvalue(matrix: Float[Tensor, "B d d"], beta: float) -> float:
    """Of I + A/β, over the batch."""
    with full_precision(matrix):
        return 1 + float(torch.linalg.eigvalsh(matrix.double()).min()) / beta
