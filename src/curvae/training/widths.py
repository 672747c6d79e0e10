"""A new head for Σ that begins where the decoder says."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from curvae._checks import positive
from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.curvature import Linearised
from curvae.curvature.gauss_newton import column_norms
from curvae.data import Batch
from curvae.errors import InputError
from curvae.forward.pushforward import unit_tangents
from curvae.likelihoods import Likelihood
from curvae.likelihoods.gaussian import or_gaussian
from curvae.metrics.codes import deployed
from curvae.nn.ends import Pointwise
from curvae.posteriors import Diagonal
from curvae.training.module import at_its_conditions

# of the features' mean variance; on MNIST 1e-4 to 1e-1 fit the widths of held-out digits equally well
_RIDGE = 1e-3
# columns of the Jacobian held at once
_AT_ONCE = 16


def has_widths(model: Autoencoder) -> bool:
    """Whether :func:`fit_widths` is for a model: its posterior is diagonal, with a linear head.

    Example:
        >>> has_widths(Autoencoder(nn.Linear(3, 4), nn.Linear(2, 3), latents=2, structure=Diagonal()))
        True
    """
    return isinstance(model.structure, Diagonal) and isinstance(model.factor_head, nn.Linear)


@torch.no_grad()
def fit_widths(
    model: Autoencoder, batches: Iterable[Tensor | Batch], beta: float, likelihood: Likelihood | None = None
) -> None:
    r"""Fit the head for a diagonal Σ to the widths (11) that the decoder implies, by ridge regression of log σ.

    For an autoencoder that was trained without noise and goes on as a β-VAE: its new head would else have to be learned
    from σ = 1, and spoil the decoder meanwhile. Nothing else of the model is changed. Of latents with several axes the
    head is the same at every position, and each position of a sample is one more sample of the regression.

    Args:
        model: in either mode; its head for Σ is changed in place.
        batches: samples ``[B, *D]`` of the training data, a thousand or two, with their conditions if there are any.
        beta: β of what will be trained, > 0.
        likelihood: observation model; default Gaussian with σ = 1.

    Raises:
        InputError: a model that this is not for (:func:`has_widths`), or no samples.

    Example:
        >>> from curvae.metrics import Implied
        >>> x = torch.randn(50, 3)
        >>> model = Autoencoder(nn.Linear(3, 4), nn.Linear(2, 3), latents=2, structure=Diagonal())
        >>> fit_widths(model, [x], beta=0.2)
        >>> best = Implied(model, beta=0.2, structure=Diagonal())
        >>> torch.allclose(model.posterior(x).covariance(), best.posterior(x).covariance(), rtol=1e-3, atol=1e-5)
        True
    """
    head = model.factor_head
    if not has_widths(model) or not isinstance(head, nn.Linear):
        raise InputError(
            f"widths are fitted to a linear head for structure Diagonal(); got structure {model.structure}"
            + " and no head" * (head is None)
        )
    positive("beta", beta)
    likelihood = or_gaussian(likelihood)
    channels = 1 if isinstance(head, Pointwise) else -1
    seen: list[Tensor] = []
    logs: list[Tensor] = []
    hook = head.register_forward_hook(lambda *call: seen.append(call[1][0]))
    try:
        with deployed(model):
            for batch in batches:
                own, x = at_its_conditions(model, batch)
                logs.append(_log_widths(own, x, beta, likelihood))
    finally:
        hook.remove()
    if not seen:
        raise InputError("widths are fitted to samples; got none")
    features, targets = (torch.cat(of).movedim(channels, -1).flatten(0, -2).cpu().double() for of in (seen, logs))
    weight, bias = _ridge(features, targets)
    head.weight.copy_(weight.T)
    head.bias.copy_(bias)


def _log_widths(model: Model, x: Float[Tensor, "B *D"], beta: float, likelihood: Likelihood) -> Float[Tensor, "B *L"]:
    """Of (11) for a diagonal Σ, without a matrix of all latents."""
    z = model.posterior(x).mean
    at = Linearised(model.decode, z, x, likelihood)
    some = unit_tangents(at.latents).split(_AT_ONCE, -1)
    squares = torch.cat([column_norms(at.push(tangents)[1]) for tangents in some], -1)
    return -0.5 * (squares / beta).log1p().view(z.shape)


def _ridge(features: Float[Tensor, "N F"], targets: Float[Tensor, "N d"]) -> tuple[Tensor, Tensor]:
    """Weights and bias of a ridge regression.

    Features of a trained encoder nearly depend on each other. Least squares alone answers with weights so large that
    the first step of training, which moves the features a little, moves log σ by several units.
    """
    means = features.mean(0), targets.mean(0)
    x, y = features - means[0], targets - means[1]
    gram = x.T @ x
    size = gram.diagonal().mean()
    # no feature varies: the bias says it all
    weight = torch.linalg.solve(gram + (_RIDGE * size if size > 0 else 1) * torch.eye(len(gram)).to(gram), x.T @ y)
    return weight, means[1] - means[0] @ weight
