"""An encoder, a posterior and a decoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import nn

from curvae._checks import an_answer, positive_int, shape_of, shown
from curvae._precision import as_weights, at_least_float32
from curvae._random import stream
from curvae._repr import line, weights
from curvae._typing import Float, Tensor
from curvae.conditioned import Conditioned
from curvae.errors import InputError
from curvae.nn.ends import Pointwise, out_features, warn_of_doubt
from curvae.posteriors import Along, Diagonal, Normal, Shared, Structure
from curvae.posteriors.own import check_structure, factor_of

Condition = Literal["both", "encoder", "decoder"]
"""Which networks of an autoencoder take a condition as their second argument."""


@runtime_checkable
class Model(Protocol):
    """What an objective needs of a model; :class:`Autoencoder` is one."""

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        r"""$q(z\mid x)$ for a batch."""

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *L"]:
        r"""The posterior's mean."""

    def decode(self, z: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
        r"""The parameters of the observation model."""


class Autoencoder(nn.Module):
    r"""A deterministic autoencoder, or with a ``structure`` one with an amortised posterior $q(z\mid x)$.

    The encoder ends in a feature vector ``[B, F]``; linear heads on it give the mean $h_\phi(x)$ and, with a
    ``structure``, the entries of the covariance's factor. An encoder with ``latents`` outputs already is the mean as it
    is, with no head of its own. ``head`` says which of the two is meant where that can be doubted, or that the encoder
    gives the whole posterior.

    **Latents of several axes.** ``latents=(C, H, W)`` (or ``(T, F)`` for tokens) are what the decoder takes,
    ``[B, C, H, W]``. The encoder then gives a map ``[B, F, H, W]`` (tokens ``[B, T, F]``), and the heads are the same
    linear map at every position (a 1 × 1 convolution), so that no weight couples all latents with all. ``structure``
    may be :class:`~curvae.posteriors.Diagonal`, :class:`~curvae.posteriors.Along` the channels (or the features of a
    token), or :class:`~curvae.posteriors.Shared` of any; covariances see the latents as one vector. Maps of one axis
    ``[B, C, T]``, as of sound, are ``latents=(C, T, 1)``: end the encoder in ``nn.Unflatten(2, (T, 1))`` and begin the
    decoder with ``nn.Flatten(2)``.

    **Conditions.** With ``condition="both"`` encoder and decoder are called with a condition beside their input,
    ``encoder(x, c)`` and ``decoder(z, c)``: labels, the batch of an experiment, anything that is known of each sample.
    ``"encoder"`` and ``"decoder"`` say that one of them takes it. c is a tensor ``[B, *C]``, one row a sample.
    :meth:`given` binds it, and what it returns is a model for every objective and metric.

    Weights in half precision (``model.bfloat16()``) serve to encode, decode and sample; what is computed of the codes
    is float32. Objectives refuse them: train float32 weights under ``torch.autocast``.

    Args:
        encoder: module, ``[B, *D] → [B, F]``.
        decoder: module, ``[B, d] → [B, *D]`` (parameters of the observation model).
        latents: d, or the shape of the latents of one sample.
        structure: covariance structure of the posterior; ``None`` for mean only.
        features: F; default the encoder's ``out_features`` or that of its last linear layer.
        head: ``True``: a linear head for the mean, whatever F is. ``False``: no heads at all; the encoder gives
            $h_\phi(x)$ and, with a ``structure``, after it the entries that ``structure.factor`` takes (for
            :class:`~curvae.posteriors.Diagonal` the d *log standard deviations*: half of a log-variance), as one tensor
            ``[B, d + P]`` or as a pair. Default: a head for the mean unless F = d.
        output: what to take of the decoder's answer where that is not one tensor, e.g.
            ``output=lambda answer: answer["mean"]``.
        condition: ``"both"``, ``"encoder"`` or ``"decoder"``: which networks take a condition; default none.

    Attributes:
        latents: d, the number of latents.
        shape: of the latents of one sample, ``(d,)`` for vectors.

    Raises:
        InputError: if a network is no module, ``latents`` is not ≥ 1, ``structure`` is none or not one for latents of
            several axes, F cannot be found out or does not go with ``head=False``; (when called) if encoder or decoder
            do not return one tensor of the promised shape, or a condition is missing, not wanted, or of another number
            of samples.

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
        latents: int | Sequence[int],
        structure: Structure | None = None,
        features: int | None = None,
        head: bool | None = None,
        output: Callable[[Any], Tensor] | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__()
        if condition is not None and condition not in get_args(Condition):
            raise InputError(f"condition is {shown(condition)}; expected 'both', 'encoder', 'decoder' or None")
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(network, nn.Module):  # the weights of a plain function would not be trained
                raise InputError(f"the {name} is {shown(network)}; expected a torch.nn.Module, which holds its weights")
        if structure is not None:
            check_structure(structure)
        self.condition = condition
        self.shape = shape_of("latents", latents)
        self.latents = math.prod(self.shape)
        self.structure = structure
        self.encoder = encoder
        self.decoder = decoder
        self.output = output
        self._guessed = features is None
        self.mean_head: nn.Module | None = None
        self.factor_head: nn.Module | None = None
        # where the channels of a batch of maps stand; for vectors and tokens the features are last
        self._axis = 1 if len(self.shape) > 2 else -1
        self._channels = self.shape[self._axis if self._axis < 0 else 0]
        entries = 0 if structure is None else self._entries(structure)
        if head is False:
            self.features = self._channels + entries
            if features not in (None, self.features):
                raise InputError(f"features is {features}; with head=False expected {self._given()}")
            if isinstance(structure, Shared):
                self.factor_head = structure.head(self.features, self.latents)
            return
        maps = len(self.shape) > 1
        self.features = out_features(encoder, maps) if features is None else positive_int("features", features)
        if head is None:
            warn_of_doubt(encoder, self.features, self._channels, structure is not None)
        as_it_is = head is None and self.features == self._channels
        self.mean_head = nn.Identity() if as_it_is else self._head(self._channels)
        if structure is not None:
            shared = isinstance(structure, Shared) or not maps
            self.factor_head = structure.head(self.features, self.latents) if shared else self._head(entries)

    def _head(self, outputs: int) -> nn.Module:
        """A linear map of the features, the same at every position."""
        return nn.Linear(self.features, outputs) if len(self.shape) < 3 else Pointwise(self.features, outputs)

    def _entries(self, structure: Structure) -> int:
        """How many parameters of the posterior the encoder gives at each position."""
        if isinstance(structure, Shared):
            return 0
        if len(self.shape) == 1:
            return structure.num_parameters(self.latents)
        if isinstance(structure, Diagonal):
            return self._channels
        axis = 0 if self._axis == 1 else len(self.shape) - 1
        if isinstance(structure, Along) and (structure.shape, structure.axis) == (self.shape, axis):
            return structure.num_parameters(self.latents) * self._channels // self.latents
        raise InputError(
            f"structure is {structure} and latents {self.shape}; expected Diagonal(), Along({self.shape}, axis={axis}) "
            "or Shared(…) for latents of several axes"
        )

    def __repr__(self) -> str:
        shape = self.shape if len(self.shape) > 1 else self.latents
        parts = dict[str, Any](encoder=self.encoder, decoder=self.decoder, latents=shape, structure=self.structure)
        if self.condition is not None:
            parts["condition"] = self.condition
        return line(type(self).__name__, weights(self), **parts)

    def given(self, c: Tensor) -> Conditioned:
        """The model at the conditions of one batch, for objectives and metrics: ``objective(model.given(c), x)``.

        Args:
            c: one row for each sample, ``[B, *C]``.

        Raises:
            InputError: the model takes no condition, or c is no tensor with an axis of samples.
        """
        if self.condition is None:
            raise InputError(_UNCONDITIONAL)
        if not isinstance(c, torch.Tensor) or c.dim() == 0:
            raise InputError(f"the condition is {shown(c)}; expected a tensor [B, *C], one row for each sample")
        return Conditioned(self, c)

    def posterior(self, x: Float[Tensor, "B *D"], c: Tensor | None = None) -> Normal:
        r"""$q(z\mid x)$ for a batch; of a conditional model $q(z\mid x,c)$.

        Raises:
            InputError: if the model was built without a structure.
        """
        if self.structure is None:
            raise InputError(
                "this autoencoder is deterministic and has no posterior of its own; "
                "build it with structure=…, or use metrics.Implied(model, beta), the one that its decoder implies"
            )
        features = self._encoded(x, c)
        if self.factor_head is None:
            parameters = features.narrow(self._axis, self._channels, self.features - self._channels)
        else:
            parameters = self.factor_head(features)
        if isinstance(self.structure, Along) and parameters.dim() > 2:  # one position after the other
            parameters = parameters.movedim(self._axis, -1)
        parameters = at_least_float32(parameters).flatten(1)
        return Normal(self._mean(features), factor_of(self.structure, parameters, self.latents))

    def encode(self, x: Float[Tensor, "B *D"], c: Tensor | None = None) -> Float[Tensor, "B *L"]:
        r"""The posterior's mean $h_\phi(x)$."""
        return self._mean(self._encoded(x, c))

    def decode(self, z: Float[Tensor, "B *L"], c: Tensor | None = None) -> Float[Tensor, "B *D"]:
        r"""$g_\theta(z)$, the parameters of the observation model."""
        answer = self._called("decoder", self.decoder, z, c)
        if self.output is not None:
            answer = self.output(answer)
        if not isinstance(answer, torch.Tensor):
            raise InputError(
                f"the decoder returned {an_answer(answer)}; expected one tensor [B, *D]: say which with "
                "Autoencoder(…, output=lambda answer: …)"
            )
        return answer

    def reconstruct(self, x: Float[Tensor, "B *D"], c: Tensor | None = None) -> Float[Tensor, "B *D"]:
        r"""$g_\theta(h_\phi(x))$."""
        return self.decode(self.encode(x)) if c is None else self.decode(self.encode(x, c), c)

    def sample(
        self, n: int, generator: torch.Generator | None = None, c: Tensor | None = None
    ) -> Float[Tensor, "n *D"]:
        r"""$g_\theta(z)$ for ``n`` draws of the prior $z\sim\mathcal N(0,I)$; of a conditional model with ``n`` rows c.

        Raises:
            InputError: if ``n`` is not ≥ 1.
        """
        like = next(self.parameters(), torch.empty(0))
        shape = (positive_int("n", n), *self.shape)
        z = torch.randn(shape, generator=stream(generator), dtype=like.dtype, device=like.device)
        return self.decode(z) if c is None else self.decode(z, c)

    def forward(self, x: Float[Tensor, "B *D"], c: Tensor | None = None) -> Float[Tensor, "B *D"]:
        """The reconstruction."""
        return self.reconstruct(x) if c is None else self.reconstruct(x, c)

    def _called(self, name: str, network: nn.Module, values: Tensor, c: Tensor | None) -> Any:
        """What one of the networks returns: with the condition, if it is one that takes it."""
        values = as_weights(values, network)
        if c is None:
            if self.condition in (name, "both"):
                raise InputError(
                    f"this autoencoder is conditional (condition={self.condition!r}) and no condition is given; pass "
                    "it as the second argument, or use model.given(c) in the model's place"
                )
            return network(values)
        if self.condition is None:
            raise InputError(_UNCONDITIONAL)
        if c.dim() == 0 or len(c) != len(values):
            raise InputError(f"the condition has shape {tuple(c.shape)} for {len(values)} samples; expected a row each")
        return network(values, as_weights(c, network)) if self.condition in (name, "both") else network(values)

    def _mean(self, features: Float[Tensor, "B *F"]) -> Float[Tensor, "B *L"]:
        head = self.mean_head
        return at_least_float32(features.narrow(self._axis, 0, self._channels) if head is None else head(features))

    def _encoded(self, x: Float[Tensor, "B *D"], c: Tensor | None) -> Float[Tensor, "B *F"]:
        answer = self._called("encoder", self.encoder, x, c)
        if self.mean_head is None and isinstance(answer, tuple | list):
            answer = torch.cat(list(answer), self._axis)
        if not isinstance(answer, torch.Tensor):
            raise InputError(
                f"the encoder returned {an_answer(answer)}; expected one tensor of features [B, {self.features}], or "
                "build the Autoencoder with head=False if it gives mean and factor of the posterior"
            )
        if answer.shape[1:] != self._expected():
            sizes = ", ".join(map(str, self._expected()))
            why = ", as many as its last linear layer has" if self._guessed else ""
            maps = "; these are tokens × features, maps [B, C, T] have latents (C, T, 1)" * (len(self.shape) == 2)
            expected = self._given() if self.mean_head is None else f"[B, {sizes}]{why}; pass features=…"
            raise InputError(f"the encoder's features have shape {tuple(answer.shape)}; expected {expected}{maps}")
        return answer

    def _expected(self) -> tuple[int, ...]:
        """The shape of one sample's features."""
        return (self.features, *self.shape[1:]) if self._axis == 1 else (*self.shape[:-1], self.features)

    def _given(self) -> str:
        """What an encoder without heads gives."""
        factor = "" if self.structure is None else f" and {self.features - self._channels} entries ({self.structure})"
        where = "" if len(self.shape) == 1 else f" at each position, {self._expected()} in all"
        return f"{self._channels} means{factor}{where}"


_UNCONDITIONAL = (
    "a condition is given but this autoencoder takes none; build it with condition='both' (or 'encoder', 'decoder') "
    "over networks with a second argument"
)
