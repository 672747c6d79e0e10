"""The exact Hessian of the log-likelihood in the latents, by forward-over-reverse products."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from torch.func import grad, jvp, vmap

from curvae._checks import positive_int
from curvae._precision import full_precision
from curvae._transforms import in_transform, one_at_a_time
from curvae._typing import Float, Tensor
from curvae.errors import DerivativeError, InputError
from curvae.forward.compiled import as_written
from curvae.forward.first_use import check_first_use
from curvae.forward.kernels import differentiable
from curvae.forward.noise import Noise
from curvae.forward.pushforward import Decoder, check_latents, check_output, unit_tangents
from curvae.forward.reverse import ReverseMode, attempt, explained
from curvae.forward.statistics import FixedStatistics
from curvae.forward.watched import watched
from curvae.likelihoods import Likelihood
from curvae.likelihoods.base import check_likelihood

Curvature = Literal["gauss-newton", "hessian"]
"""Which second derivative of the log-likelihood an objective uses: the first term of (5), or both."""


def check_curvature(name: str, likelihood: Likelihood | None = None) -> Curvature:
    """Return ``name`` if it is one of the two curvatures and ``likelihood`` has it.

    Args:
        name: ``"gauss-newton"`` or ``"hessian"``.
        likelihood: observation model; Laplace noise, for instance, has no Hessian.

    Raises:
        InputError: another name, or a curvature that the likelihood does not have.

    Example:
        >>> check_curvature("hessian")
        'hessian'
    """
    if name not in get_args(Curvature):
        raise InputError(f"curvature is {name!r}; expected 'gauss-newton' or 'hessian'")
    if name == "hessian" and likelihood is not None and not likelihood.smooth:
        raise _no_hessian(likelihood)
    return cast(Curvature, name)


def _no_hessian(likelihood: Likelihood) -> InputError:
    return InputError(
        f"curvature is 'hessian' but {likelihood} has no second derivative in its outputs (0 beside a kink); "
        "use 'gauss-newton', which takes its Fisher information"
    )


@one_at_a_time()
def hessian_products(
    fn: Decoder,
    z: Float[Tensor, "B *L"],
    x: Tensor,
    likelihood: Likelihood,
    tangents: Float[Tensor, "B *L K"],
    chunk_size: int | None = None,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *L K"]]:
    r"""The decoder's output and $H_{f_x}(z)\,v$ for K tangents $v$ a sample, $f_x(z)=\log p(x\mid z)$: all of (5).

    Batch normalisation in train mode is treated as in :func:`~curvae.curvature.pushforward`: at the batch's own
    statistics, held fixed, counted once. Dropout in train mode has one mask. Differentiable in z and the decoder's
    parameters.
    Only the likelihood's ``nll`` is used, so any twice differentiable one will do.

    Raises:
        InputError: if ``likelihood`` is none or has no second derivative in its outputs.
        DerivativeError: (one of these) second derivatives are not finite where output and data of a sample are.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> z, x = torch.ones(1, 2), torch.ones(1, 2)
        >>> hessian_products(torch.square, z, x, Gaussian(), torch.eye(2)[None])[1]  # −(g′² + (g − x) g″)
        tensor([[[-4.,  0.],
                 [ 0., -4.]]])
    """
    check_latents(z)
    check_likelihood(likelihood)
    z = z.contiguous()  # forward mode refuses an expanded tensor
    check_first_use(fn, z)
    z, watch = watched(fn, z)
    fn = as_written(fn)
    statistics, noise = FixedStatistics(), Noise(z.device)
    with statistics, differentiable():
        eta = check_output(fn(z), z)
    statistics.update_running(statistics.seen)
    _check_curved(likelihood, eta.detach().to(z.dtype).contiguous(), x)

    def decode(point: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
        with noise.again(), FixedStatistics(known=statistics.seen), differentiable():
            return fn(point)

    def log_likelihood(point: Float[Tensor, "B *L"]) -> Float[Tensor, ""]:
        output = decode(point)
        with full_precision(z):
            # data do not interact once the statistics are fixed, so the gradient of the sum is each sample's own
            return -likelihood.nll(output.to(z.dtype), x).sum()

    def along(tangent: Float[Tensor, "B *L"]) -> Float[Tensor, "B *L"]:
        return jvp(grad(log_likelihood), (z,), (tangent,))[1]

    def forward() -> Float[Tensor, "B *L K"]:
        # not out_dims=-1, with which PyTorch writes beside its memory where nothing depends on the tangents
        return vmap(along, in_dims=-1, randomness="same", chunk_size=size)(tangents).movedim(0, -1)

    def reverse(refused: RuntimeError) -> Float[Tensor, "B *L K"]:
        def gradient(point: Float[Tensor, "B *L"]) -> Float[Tensor, "B *L"]:
            value = log_likelihood(point)
            with explained(refused):
                return torch.autograd.grad(value, point, create_graph=True, materialize_grads=True)[0]

        with torch.no_grad():
            ReverseMode(decode, z, refused).push(tangents[None, ..., 0])  # which checks that all of fn is seen
        # the Hessian is symmetric: pulled is pushed
        return ReverseMode(gradient, z, refused).pull(tangents.movedim(-1, 0)).movedim(0, -1)

    size = None if chunk_size is None else positive_int("chunk_size", chunk_size)
    products = attempt(forward, reverse)
    _check_finite(eta, x, products)
    eta, products = watch(eta, products)
    return eta.to(z.dtype), products


@torch.no_grad()
def _check_finite(eta: Float[Tensor, "B *D"], x: Tensor, products: Float[Tensor, "B *L K"]) -> None:
    """Refuse second derivatives that are not finite where everything else of a sample is."""
    eta_is, x_is, products_are = (values.flatten(1).isfinite().all(1) for values in (eta, x.unsqueeze(-1), products))
    if not in_transform() and bool((eta_is & x_is & ~products_are).any()):
        raise DerivativeError(
            "the decoder's second derivatives are not finite where its outputs are: PyTorch has none there for one of "
            "its operations (such as eigvalsh at equal eigenvalues), or they overflow; use curvature 'gauss-newton'"
        )


@torch.no_grad()
def _check_curved(likelihood: Likelihood, eta: Float[Tensor, "B *D"], x: Tensor) -> None:
    """Refuse an nll that is flat to second order everywhere in a batch though the model is not."""
    check_curvature("hessian", likelihood)
    with full_precision(eta):
        # not the same for all outputs, which leaves some models where they are
        tangent = torch.arange(eta[:1].numel(), device=eta.device).cos().to(eta.dtype).view_as(eta[:1]).expand_as(eta)

        def nll(point: Float[Tensor, "B *D"]) -> Float[Tensor, ""]:
            return likelihood.nll(point, x).sum()

        bends = jvp(grad(nll), (eta,), (tangent.contiguous(),))[1]
        # what underflows is flat, not kinked: counts of nothing at a size factor of nothing
        smallest = torch.finfo(eta.dtype).tiny ** 0.25
        if not bool(bends.any()) and bool((likelihood.whiten(eta, x, tangent.unsqueeze(-1)).abs() > smallest).any()):
            raise _no_hessian(likelihood)


def hessian(
    fn: Decoder, z: Float[Tensor, "B *L"], x: Tensor, likelihood: Likelihood, chunk_size: int | None = None
) -> Float[Tensor, "B d d"]:
    r"""$H_{f_x}(z)=\nabla_z^2\log p(x\mid z)$, both terms of (5); minus it stands in for $M$ in (4), (9) and (10).

    For a piecewise-linear decoder whose link belongs to the observation model it equals minus
    :func:`~curvae.curvature.gauss_newton`, which is (6). Elsewhere it need not be negative semi-definite.

    Args:
        fn: decoder.
        z: latents.
        x: observations.
        likelihood: observation model.
        chunk_size: columns computed at a time; bounds memory.

    Raises:
        InputError: as :func:`hessian_products`.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> hessian(lambda z: 3 * z, torch.zeros(1, 2), torch.zeros(1, 2), Gaussian())
        tensor([[[-9., -0.],
                 [-0., -9.]]])
    """
    products = hessian_products(fn, z, x, likelihood, unit_tangents(z), chunk_size)[1].flatten(1, -2)
    return 0.5 * (products + products.mT)
