"""The posterior that a deterministic autoencoder implies."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, Literal, cast

import torch
from torch import nn

from curvae._checks import positive, shown
from curvae._repr import line
from curvae._typing import Bool, Float, Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.curvature import Curvature, check_curvature, gauss_newton, hessian
from curvae.curvature.second_differences import second_differences
from curvae.errors import InputError
from curvae.forward.statistics import unmoved
from curvae.likelihoods import Likelihood
from curvae.likelihoods.gaussian import or_gaussian
from curvae.posteriors import Diagonal, Full, Normal, Structure, logdet
from curvae.posteriors.own import check_structure


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
        curvature: ``"gauss-newton"`` for (11), ``"hessian"`` for (9). ``"differences"``, for ``Diagonal()``, takes for
            M the second differences of minus log p at $\pm\sqrt d\,\sigma_c$, σ from (11): what the noise itself
            meets. After a long training without noise (11) is too wide for (2), and this is nearer to its optimum.
        refine: Gauss–Newton steps from $h(x)$ towards the mode of $p(x\mid g(z))^{1/\beta}\,p(z)$, ≥ 0; a step that
            does not raise it is halved up to four times, then left out. The mean is then the mode, as far as it was
            reached: without the encoder's own error, and without a gradient. ``encode`` stays $h(x)$.

    Raises:
        InputError: for a bad argument, a likelihood without a Hessian and ``"hessian"``, or another structure than
            ``Diagonal()`` and ``"differences"``.
        IndefiniteError: when called with ``"hessian"`` where (9) does not exist: I − H/β is not positive definite;
            likewise with ``"differences"``.

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
        curvature: Curvature | Literal["differences"] = "gauss-newton",
        refine: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.beta = positive("beta", beta)
        self.likelihood = or_gaussian(likelihood)
        self.structure = Full() if structure is None else structure
        check_structure(self.structure)
        given: Any = refine  # a number of NumPy's is whole, too
        if not isinstance(given, Integral) or isinstance(given, bool) or refine < 0:
            raise InputError(f"refine is {shown(refine)}; expected a whole number >= 0")
        self.refine = int(refine)
        self.curvature = curvature if curvature == "differences" else check_curvature(curvature, self.likelihood)
        if curvature == "differences" and not isinstance(self.structure, Diagonal):
            raise InputError(f"curvature 'differences' is for structure Diagonal(); got {self.structure}")

    def __repr__(self) -> str:
        return line(type(self).__name__, repr(self.model), beta=self.beta, structure=self.structure)

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        r"""$\mathcal N(h,\Sigma^*)$, or the same at the mode with ``refine``."""
        h = self.model.encode(x)
        decode = unmoved(self.model.decode)  # in train mode the objective's own pass counts the batch
        for _ in range(self.refine):
            h = self._refined(decode, h.detach(), x)
        if self.curvature == "hessian":
            curvature = -hessian(decode, h, x, self.likelihood)
        else:
            curvature = gauss_newton(decode, h, x, self.likelihood)
        if self.curvature == "differences":
            reach = (curvature.shape[-1] / (1 + curvature.diagonal(dim1=-2, dim2=-1) / self.beta)).sqrt()
            curvature = torch.diag_embed(second_differences(decode, h, x, self.likelihood, reach))
            logdet.check_definite(self.structure.seen(curvature), self.beta)
        return Normal(h, self.structure.optimal(curvature, self.beta))

    @torch.inference_mode(False)
    def _refined(
        self, decode: Callable[[Tensor], Tensor], z: Float[Tensor, "B *L"], x: Float[Tensor, "B *D"]
    ) -> Float[Tensor, "B *L"]:
        """One Gauss–Newton step."""

        def negative_log_density(z: Float[Tensor, "B *L"]) -> Float[Tensor, " B"]:
            return self.likelihood.nll(decode(z), x) / self.beta + 0.5 * z.flatten(1).square().sum(1)

        z, x = z.clone(), x.clone()  # made in inference mode they would stay of it
        with torch.enable_grad():
            start = z.detach().requires_grad_()
            before = negative_log_density(start)
            (slope,) = torch.autograd.grad(before.sum(), start)
        with torch.no_grad():
            # where β is below the rounding of M, I + M/β has no Cholesky factor, and Σ loses its small eigenvalues
            root = Full().optimal(gauss_newton(decode, z, x, self.likelihood), self.beta).dense().double()
            step = (root @ (root.mT @ slope.flatten(1)[..., None].double())).reshape(z.shape).to(z)
            taken = torch.zeros_like(before, dtype=torch.bool)
            for share in (1.0, 0.5, 0.25, 0.125, 0.0625):
                there = torch.where(_rows(taken, z), z, z - share * step)
                better = ~taken & (negative_log_density(there) < before)
                z = torch.where(_rows(better, z), there, z)
                taken |= better
        return z

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *L"]:
        r"""$h(x)$."""
        return self.model.encode(x)

    def decode(self, z: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
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
        return Implied(model, self.beta, self.likelihood, self.structure, self.curvature, self.refine)


def _rows(chosen: Bool[Tensor, " B"], z: Float[Tensor, "B *L"]) -> Bool[Tensor, "B *L"]:
    return chosen.reshape(-1, *[1] * (z.dim() - 1)).expand_as(z)
