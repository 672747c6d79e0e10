"""An encoder, a posterior and a decoder."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from curvae._checks import positive_int
from curvae._precision import as_weights, at_least_float32
from curvae._random import stream
from curvae._repr import line, weights
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.posteriors import Normal, Shared, Structure


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
    is, with no head of its own. ``head`` says which of the two is meant where that can be doubted, or that the encoder
    gives the whole posterior.

    Weights in half precision (``model.bfloat16()``) serve to encode, decode and sample; what is computed of the codes
    is float32. Objectives refuse them: train float32 weights under ``torch.autocast``.

    Args:
        encoder: module, ``[B, *D] → [B, F]``.
        decoder: module, ``[B, d] → [B, *D]`` (parameters of the observation model).
        latents: d.
        structure: covariance structure of the posterior; ``None`` for mean only.
        features: F; default the encoder's ``out_features`` or that of its last linear layer.
        head: ``True``: a linear head for the mean, whatever F is. ``False``: no heads at all; the encoder gives
            $h_\phi(x)$ and, with a ``structure``, after it the entries that ``structure.factor`` takes (for
            :class:`~curvae.posteriors.Diagonal` the d *log standard deviations*: half of a log-variance), as one tensor
            ``[B, d + P]`` or as a pair. Default: a head for the mean unless F = d.
        output: what to take of the decoder's answer where that is not one tensor, e.g.
            ``output=lambda answer: answer["mean"]``.

    Raises:
        InputError: if ``latents`` is not ≥ 1, F cannot be found out, or does not go with ``head=False``; (when called)
            if encoder or decoder do not return one tensor of the promised shape.

    Warns:
        UserWarning: without ``head``, if the encoder ends in a bounded activation of width d (its outputs would be the
            means), or, with a ``structure``, in a linear layer of width 2 d (it may give mean and log-variance, on
            which heads would be stacked).

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
        head: bool | None = None,
        output: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.latents = positive_int("latents", latents)
        self.structure = structure
        self.encoder = encoder
        self.decoder = decoder
        self.output = output
        self.mean_head: nn.Module | None = None
        self.factor_head: nn.Module | None = None
        if head is False:
            amortised = structure is not None and not isinstance(structure, Shared)
            self.features = latents + (structure.num_parameters(latents) if structure and amortised else 0)
            if features not in (None, self.features):
                raise InputError(f"features is {features}; with head=False expected {self._given()}")
            if isinstance(structure, Shared):
                self.factor_head = structure.head(self.features, latents)
            return
        self.features = _out_features(encoder) if features is None else positive_int("features", features)
        if head is None:
            _warn_of_doubt(encoder, self.features, latents, structure)
        as_it_is = head is None and self.features == latents
        self.mean_head = nn.Identity() if as_it_is else nn.Linear(self.features, latents)
        self.factor_head = None if structure is None else structure.head(self.features, latents)

    def __repr__(self) -> str:
        parts = {"encoder": self.encoder, "decoder": self.decoder, "latents": self.latents}
        return line(type(self).__name__, **parts, structure=self.structure, holds=weights(self))

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        r"""$q(z\mid x)$ for a batch.

        Raises:
            InputError: if the model was built without a structure.
        """
        if self.structure is None:
            raise InputError(
                "this autoencoder is deterministic and has no posterior of its own; "
                "build it with structure=…, or use encode(x) and a structure's optimal covariance"
            )
        features = self._encoded(x)
        parameters = features[:, self.latents :] if self.factor_head is None else self.factor_head(features)
        return Normal(self._mean(features), self.structure.factor(at_least_float32(parameters), self.latents))

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B d"]:
        r"""The posterior's mean $h_\phi(x)$."""
        return self._mean(self._encoded(x))

    def decode(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B *D"]:
        r"""$g_\theta(z)$, the parameters of the observation model."""
        answer = self.decoder(as_weights(z, self.decoder))
        if self.output is not None:
            answer = self.output(answer)
        if not isinstance(answer, torch.Tensor):
            raise InputError(
                f"the decoder returned {_kind(answer)}; expected one tensor [B, *D]: say which with "
                "Autoencoder(…, output=lambda answer: …)"
            )
        return answer

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

    def _mean(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B d"]:
        return at_least_float32(features[:, : self.latents] if self.mean_head is None else self.mean_head(features))

    def _encoded(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B F"]:
        answer = self.encoder(as_weights(x, self.encoder))
        if self.mean_head is None and isinstance(answer, tuple | list):
            answer = torch.cat(list(answer), 1)
        if not isinstance(answer, torch.Tensor):
            raise InputError(
                f"the encoder returned {_kind(answer)}; expected one tensor of features [B, {self.features}], or build "
                "the Autoencoder with head=False if it gives mean and factor of the posterior"
            )
        if answer.dim() != 2 or answer.shape[1] != self.features:
            expected = self._given() if self.mean_head is None else f"[B, {self.features}]; pass features=…"
            raise InputError(f"the encoder's features have shape {tuple(answer.shape)}; expected {expected}")
        return answer

    def _given(self) -> str:
        """What an encoder without heads gives."""
        entries = self.features - self.latents
        return f"{self.latents} means" + (
            "" if self.structure is None else f" and {entries} entries ({self.structure})"
        )


_BOUNDED = (
    *(nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.ReLU, nn.ReLU6, nn.Softplus, nn.LogSigmoid),
    *(nn.Sigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Softmax, nn.LogSoftmax),
)
"""Activations whose outputs end somewhere."""


def _warn_of_doubt(encoder: nn.Module, features: int, latents: int, structure: Structure | None) -> None:
    """Say what is done with an encoder that may have been meant otherwise."""
    last = _last_layer(encoder)
    if features == latents and isinstance(last, _BOUNDED):
        warnings.warn(
            f"the encoder ends in {type(last).__name__} with as many outputs as latents ({latents}), so its bounded "
            "outputs are the means; pass head=True for a linear head on them",
            stacklevel=3,
        )
    elif structure is not None and features == 2 * latents and isinstance(last, nn.Linear):
        warnings.warn(
            f"the encoder ends in a linear layer with twice as many outputs ({features}) as latents, and gets linear "
            "heads of its own; pass head=False if they are means and entries of the factor, head=True if features",
            stacklevel=3,
        )


def _last_layer(module: nn.Module) -> nn.Module:
    """What a module computes last, as far as its parts are in the order of their use."""
    layers = [layer for layer in module.children() if not isinstance(layer, nn.Identity | nn.Flatten | nn.Dropout)]
    return _last_layer(layers[-1]) if layers else module


def _kind(answer: object) -> str:
    if isinstance(answer, dict):
        return f"a dict with {', '.join(map(repr, answer))}"
    return f"a {type(answer).__name__}" + (f" of {len(answer)}" if isinstance(answer, tuple | list) else "")


def _out_features(encoder: nn.Module) -> int:
    declared = getattr(encoder, "out_features", None)
    if isinstance(declared, int):
        return declared
    linear = [module for module in encoder.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"cannot tell how many features {type(encoder).__name__} gives; pass features=…")
    return linear[-1].out_features
