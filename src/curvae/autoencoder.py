"""An encoder, a posterior and a decoder."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import nn

from curvae._checks import positive_int
from curvae._precision import at_least_float32
from curvae._random import stream
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.posteriors import Normal, Structure


@runtime_checkable
class Model(Protocol):
    """What an objective needs of a model; :class:`Autoencoder` is one."""

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        r"""$q(z\mid x)$ for a batch."""
        ...

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B d"]:
        r"""The posterior's mean."""
        ...

    def decode(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B *D"]:
        r"""The parameters of the observation model."""
        ...


class Autoencoder(nn.Module):
    r"""A deterministic autoencoder, or with a ``structure`` one with an amortised posterior $q(z\mid x)$.

    The encoder ends in a feature vector ``[B, F]``; linear heads on it give the mean $h_\phi(x)$ and, with a
    ``structure``, the entries of the covariance's factor. An encoder with ``latents`` outputs already is the mean as it
    is, with no head of its own.

    Args:
        encoder: module, ``[B, *D] → [B, F]``.
        decoder: module, ``[B, d] → [B, *D]`` (parameters of the observation model).
        latents: d.
        structure: covariance structure of the posterior; ``None`` for mean only.
        features: F; default the encoder's ``out_features`` or that of its last linear layer.

    Raises:
        InputError: if ``latents`` is not ≥ 1 or F cannot be found out.

    Example:
        >>> from curvae.posteriors import BlockDiagonal
        >>> model = Autoencoder(nn.Linear(5, 16), nn.Linear(4, 5), latents=4, structure=BlockDiagonal(2))
        >>> q = model.posterior(torch.randn(3, 5))
        >>> q.mean.shape, q.covariance().shape
        (torch.Size([3, 4]), torch.Size([3, 4, 4]))
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latents: int,
        structure: Structure | None = None,
        features: int | None = None,
    ) -> None:
        super().__init__()
        self.latents = positive_int("latents", latents)
        self.structure = structure
        self.encoder = encoder
        self.decoder = decoder
        width = _out_features(encoder) if features is None else positive_int("features", features)
        self.mean_head = nn.Identity() if width == latents else nn.Linear(width, latents)
        self.factor_head = None if structure is None else structure.head(width, latents)

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        r"""$q(z\mid x)$ for a batch.

        Raises:
            InputError: if the model was built without a structure.
        """
        if self.structure is None or self.factor_head is None:
            raise InputError(
                "this autoencoder is deterministic and has no posterior of its own; "
                "build it with structure=…, or use encode(x) and a structure's optimal covariance"
            )
        features = self.encoder(x)
        parameters = at_least_float32(self.factor_head(features))
        return Normal(at_least_float32(self.mean_head(features)), self.structure.factor(parameters, self.latents))

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B d"]:
        r"""The posterior's mean $h_\phi(x)$."""
        return at_least_float32(self.mean_head(self.encoder(x)))

    def decode(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B *D"]:
        r"""$g_\theta(z)$, the parameters of the observation model."""
        return self.decoder(z)

    def reconstruct(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$g_\theta(h_\phi(x))$."""
        return self.decode(self.encode(x))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n *D"]:
        r"""$g_\theta(z)$ for ``n`` draws of the prior $z\sim\mathcal N(0,I)$.

        Raises:
            InputError: if ``n`` is not ≥ 1.
        """
        like = next(self.parameters(), torch.empty(0))
        shape = (positive_int("n", n), self.latents)
        return self.decode(torch.randn(shape, generator=stream(generator), dtype=like.dtype, device=like.device))

    def forward(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        """The reconstruction."""
        return self.reconstruct(x)


def _out_features(encoder: nn.Module) -> int:
    declared = getattr(encoder, "out_features", None)
    if isinstance(declared, int):
        return declared
    linear = [module for module in encoder.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"cannot tell how many features {type(encoder).__name__} gives; pass features=…")
    return linear[-1].out_features
