"""A new head for Σ that begins where the decoder says."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Batch
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.metrics import Implied
from curvae.metrics.codes import deployed
from curvae.posteriors import Diagonal
from curvae.training.module import at_its_conditions


def has_widths(model: Autoencoder) -> bool:
    """Whether :func:`fit_widths` is for a model: its posterior is diagonal, of vectors, with a linear head.

    Example:
        >>> has_widths(Autoencoder(nn.Linear(3, 4), nn.Linear(2, 3), latents=2, structure=Diagonal()))
        True
    """
    return isinstance(model.structure, Diagonal) and isinstance(model.factor_head, nn.Linear) and len(model.shape) == 1


@torch.no_grad()
def fit_widths(
    model: Autoencoder, batches: Iterable[Tensor | Batch], beta: float, likelihood: Likelihood | None = None
) -> None:
    r"""Fit the head for a diagonal Σ to the widths (11) that the decoder implies, by least squares in log σ.

    For an autoencoder that was trained without noise and goes on as a β-VAE: its new head would else have to be learned
    from σ = 1, and spoil the decoder meanwhile. Nothing else of the model is changed.

    Args:
        model: in either mode; its head for Σ is changed in place.
        batches: samples ``[B, *D]`` of the training data, a thousand or two, with their conditions if there are any.
        beta: β of what will be trained, > 0.
        likelihood: observation model; default Gaussian with σ = 1.

    Raises:
        InputError: a model that this is not for (:func:`has_widths`), or no samples.

    Example:
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
            f"widths are fitted to a linear head for structure Diagonal() of vectors; got structure {model.structure}"
        )
    seen: list[Tensor] = []
    logs: list[Tensor] = []
    hook = head.register_forward_hook(lambda *call: seen.append(call[1][0]))
    try:
        with deployed(model):
            for batch in batches:
                own, x = at_its_conditions(model, batch)
                own.posterior(x)
                implied = Implied(own, beta, likelihood, structure=Diagonal()).posterior(x)
                logs.append(implied.covariance().diagonal(dim1=-2, dim2=-1).log() / 2)
    finally:
        hook.remove()
    if not seen:
        raise InputError("widths are fitted to samples; got none")
    # on the CPU, whose solver takes features that depend on each other, such as units that are never active
    features = nn.functional.pad(torch.cat(seen).cpu().double(), (0, 1), value=1.0)
    found = torch.linalg.lstsq(features, torch.cat(logs).cpu().double()).solution
    head.weight.copy_(found[:-1].T)
    head.bias.copy_(found[-1])
