"""What an encoder ends in, and linear heads for it."""

from __future__ import annotations

import warnings

from torch import nn

from curvae._typing import Float, Tensor
from curvae.errors import InputError

_BOUNDED = (
    *(nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.ReLU, nn.ReLU6, nn.Softplus, nn.LogSigmoid),
    *(nn.Sigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Softmax, nn.LogSoftmax),
)
"""Activations whose outputs end somewhere."""
_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Pointwise(nn.Linear):
    """A 1 × 1 convolution in as many axes as there are."""

    def forward(self, features: Float[Tensor, "B F *S"]) -> Float[Tensor, "B C *S"]:
        """The same linear map at every position."""
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


def out_features(encoder: nn.Module, maps: bool) -> int:
    """How many features an encoder gives: what it declares, else those of its last linear layer.

    With ``maps`` convolutions count as linear layers.

    Raises:
        InputError: it cannot be told.

    Example:
        >>> out_features(nn.Sequential(nn.Linear(5, 16), nn.ELU()), maps=False)
        16
    """
    declared = getattr(encoder, "out_features", None)
    if isinstance(declared, int):
        return declared
    linear = [module for module in encoder.modules() if isinstance(module, _LINEAR if maps else nn.Linear)]
    if not linear:
        raise InputError(f"cannot tell how many features {type(encoder).__name__} gives; pass features=…")
    last = linear[-1]
    return last.out_features if isinstance(last, nn.Linear) else last.out_channels


def warn_of_doubt(encoder: nn.Module, features: int, latents: int, posterior: bool) -> None:
    """Say what is done with an encoder that may have been meant otherwise.

    With ``posterior`` entries of a factor are needed beside the means.
    """
    last = _last_layer(encoder)
    if features == latents and isinstance(last, _BOUNDED):
        warnings.warn(
            f"the encoder ends in {type(last).__name__} with as many outputs as latents ({latents}), so its bounded "
            "outputs are the means; pass head=True for a linear head on them",
            stacklevel=3,
        )
    elif posterior and features == 2 * latents and isinstance(last, _LINEAR):
        warnings.warn(
            f"the encoder ends in {type(last).__name__} with twice as many outputs ({features}) as latents, and gets "
            "linear heads of its own; pass head=False if they are means and log standard deviations (half of "
            "log-variances), head=True if features",
            stacklevel=3,
        )


def _last_layer(module: nn.Module) -> nn.Module:
    """What a module computes last, as far as its parts are in the order of their use."""
    layers = [layer for layer in module.children() if not isinstance(layer, nn.Identity | nn.Flatten | nn.Dropout)]
    return _last_layer(layers[-1]) if layers else module
