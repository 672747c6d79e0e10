"""The posterior that a deterministic autoencoder implies."""

from __future__ import annotations

from typing import cast

from torch import nn

from curvae._checks import positive
from curvae._repr import line
from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.curvature import Curvature, check_curvature, gauss_newton, hessian
from curvae.forward.statistics import unmoved
from curvae.likelihoods import Gaussian, Likelihood
from curvae.posteriors import Full, Normal, Structure


class Implied(nn.Module):
    r"""A model with $q(z\mid x)=\mathcal N(h(x),\Sigma^*)$, the covariance at its optimum (11), or (9).

    A GRAE has optimised its covariance away; this puts it back, so that whatever takes a model with a posterior takes a
    GRAE. For a model with a posterior of its own only the mean of that is used. With β = 1 it is the Laplace
    approximation of the posterior of the generative model $p(x\mid z)\,p(z)$ where $h$ is at the mode.

    Args:
        model: gives $h$ and the decoder; kept as a submodule.
        beta: β, > 0.
        likelihood: observation model; default Gaussian with σ = 1.
        structure: what Σ* may look like; default ``Full()``. ``Shared`` takes the mean curvature of each batch it sees.
        curvature: ``"gauss-newton"`` for (11), ``"hessian"`` for (9).

    Raises:
        InputError: for a bad argument, or a likelihood without a Hessian and ``"hessian"``.
        IndefiniteError: when called with ``"hessian"`` where (9) does not exist: I − H/β is not positive definite.

    Example:
        >>> from curvae import Autoencoder, objectives
        >>> model = Autoencoder(nn.Linear(3, 2), nn.Linear(2, 3), latents=2)
        >>> import torch
        >>> x = torch.randn(4, 3)
        >>> taylor = objectives.Taylor(beta=0.2)(Implied(model, beta=0.2), x)
        >>> torch.allclose(taylor.total, objectives.GRAE(beta=0.2)(model, x).total)   # (7) at its optimum is (13)
        True
    """

    def __init__(
        self,
        model: Model,
        beta: float,
        likelihood: Likelihood | None = None,
        structure: Structure | None = None,
        curvature: Curvature = "gauss-newton",
    ) -> None:
        super().__init__()
        self.model = model
        self.beta = positive("beta", beta)
        self.likelihood = Gaussian() if likelihood is None else likelihood
        self.structure = Full() if structure is None else structure
        self.curvature = check_curvature(curvature, self.likelihood)

    def __repr__(self) -> str:
        return line(type(self).__name__, repr(self.model), beta=self.beta, structure=self.structure)

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        r"""$\mathcal N(h,\Sigma^*)$."""
        h = self.model.encode(x)
        decode = unmoved(self.model.decode)  # in train mode the objective's own pass counts the batch
        if self.curvature == "hessian":
            curvature = -hessian(decode, h, x, self.likelihood)
        else:
            curvature = gauss_newton(decode, h, x, self.likelihood)
        return Normal(h, self.structure.optimal(curvature, self.beta))

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B d"]:
        r"""$h(x)$."""
        return self.model.encode(x)

    def decode(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B *D"]:
        r"""$g(z)$."""
        return self.model.decode(z)

    def forward(self, x: Float[Tensor, "B *D"]) -> Normal:
        """The posterior."""
        return self.posterior(x)

    def given(self, c: Tensor) -> Implied:
        """The posterior that a conditional model implies at conditions ``[B, *C]``."""
        return self.around(cast(Autoencoder, self.model).given(c))

    def around(self, model: Model) -> Implied:
        """The same of another model."""
        return Implied(model, self.beta, self.likelihood, self.structure, self.curvature)
