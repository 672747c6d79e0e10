"""What every adapter returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from curvae._checks import a_kind, positive, shape_of
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.forward.identity import parts
from curvae.likelihoods import Likelihood
from curvae.posteriors import DiagonalFactor, Normal

Encode = Callable[[Tensor], "Tensor | tuple[Tensor, Tensor]"]
Decode = Callable[[Tensor], Tensor]


class Adapted(nn.Module):
    r"""Somebody else's autoencoder with curvae's names: ``encode``, ``decode``, ``posterior``.

    ``encode`` gives latents in the shape that the maker gives them, ``[B, *L]``; ``decode`` takes that shape or
    ``[B, d]``. The posterior is over the flattened latents, d = Π L. Parameters, device and mode are the wrapped
    module's. Made by :func:`callables` and the other functions of this package.

    Args:
        encode: x → mean, or (mean, standard deviation); None for a decoder alone, whose data are codes.
        decode: latents → the parameters of the observation model.
        module: what holds the parameters; default the modules that ``encode`` and ``decode`` are, or make use of.
        latents: L, where it is to be known before the first ``encode``.
        beta: the maker's β in curvae's convention, if it is known.
        convention: which β the maker's number is, in words.
        prior_std: standard deviation of the prior in these latents: one number, or one that fits ``[*L]``. Not 1 where
            the latents are scaled for a model that comes after.
        pixels: the range that images are meant to have; None for 0 to 1, where nobody has said so.
        likelihood: observation model of what ``decode`` gives; None for Gaussian with σ = 1.
        channel_axis: of L, that of the channels: 0 for ``[C, *places]``, −1 for tokens × features; None for what the
            decoder's first layer takes.

    Raises:
        InputError: (when called) if the callables return something else.

    Attributes:
        shape: L; None if it was not given and nothing was encoded yet.
        stochastic: whether ``encode`` gives a posterior; None until something was encoded.
        of_codes: whether it is a decoder alone.
    """

    def __init__(
        self,
        encode: Encode | None,
        decode: Decode,
        module: nn.Module | Sequence[nn.Module] | None = None,
        *,
        latents: Sequence[int] | int | None = None,
        beta: float | None = None,
        convention: str = "",
        prior_std: float | Tensor = 1.0,
        pixels: tuple[float, float] | None = None,
        likelihood: Likelihood | None = None,
        channel_axis: int | None = None,
    ) -> None:
        super().__init__()
        if module is None:
            used = [*parts(encode), *parts(decode)]
            module = [owner for owner in used if isinstance(owner, nn.Module)]
        self.modules_ = nn.ModuleList(dict.fromkeys([module] if isinstance(module, nn.Module) else module))
        self._encode, self._decode = encode or _as_it_is, decode
        self.of_codes = encode is None
        self.shape = None if latents is None else shape_of("latents", latents)
        self.beta = None if beta is None else positive("beta", beta)
        self.convention = convention
        self.pixels = pixels
        self.likelihood = likelihood
        self.channel_axis = channel_axis
        self.stochastic: bool | None = None
        self.register_buffer("prior_std", torch.as_tensor(prior_std, dtype=torch.get_default_dtype()), persistent=False)

    @property
    def latents(self) -> int | None:
        """d = Π L, if it is known."""
        return None if self.shape is None else math.prod(self.shape)

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *L"]:
        """The latents, or the posterior's mean."""
        return self._encoded(x)[0]

    def decode(self, z: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
        """The parameters of the observation model."""
        if z.dim() == 2 and self.shape is not None and len(self.shape) > 1:
            z = z.unflatten(1, self.shape)
        eta = self._decode(z)
        if not isinstance(eta, torch.Tensor):
            raise InputError(f"decode returned {a_kind(eta)}; expected one tensor [B, *D]")
        return eta

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        r"""$q(z\mid x)$ over the flattened latents.

        Raises:
            InputError: ``encode`` gives a mean alone.
        """
        mean, std = self._encoded(x)
        if std is None:
            raise InputError("this autoencoder is deterministic: its encode gives no standard deviation")
        return Normal(mean.flatten(1), DiagonalFactor(std.flatten(1)))

    def reconstruct(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        """The decoded mean."""
        return self.decode(self.encode(x))

    def forward(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        """The reconstruction."""
        return self.reconstruct(x)

    def _encoded(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        answer: Any = self._encode(x)
        mean, std = (answer, None) if isinstance(answer, torch.Tensor) else _pair(answer)
        if mean.dim() < 2 or len(mean) != len(x):
            raise InputError(f"encode gave latents of shape {tuple(mean.shape)} for {len(x)} samples; expected [B, *L]")
        if std is not None and (std.shape != mean.shape or not bool((std > 0).all())):
            raise InputError(
                f"encode gave standard deviations of shape {tuple(std.shape)}, the smallest {std.min().item():.3g}; "
                f"expected {tuple(mean.shape)} and > 0 (half a log-variance goes through exp first)"
            )
        self.shape, self.stochastic = tuple(mean.shape[1:]), std is not None
        return mean, std


def callables(
    encode: Encode | None,
    decode: Decode,
    *,
    latents: Sequence[int] | int | None = None,
    beta: float | None = None,
    convention: str = "",
    prior_std: float | Tensor = 1.0,
    pixels: tuple[float, float] | None = None,
    likelihood: Likelihood | None = None,
    channel_axis: int | None = None,
) -> Adapted:
    r"""Any two functions as a model.

    Args:
        encode: x → mean ``[B, *L]``, or (mean, standard deviation); None for a decoder alone, whose data are codes.
        decode: latents ``[B, *L]`` → ``[B, *D]``. Modules come along: what these two are, or are methods of, and what
            a plain function names or encloses.
        latents: L, needed to draw from the prior before anything was encoded.
        beta: the β that it was trained at, in curvae's convention (:mod:`curvae.beta`).
        convention: which β the maker's number is, in words.
        prior_std: standard deviation of the prior in these latents.
        pixels: the range that images are meant to have; default 0 to 1.
        likelihood: observation model of what ``decode`` gives; default Gaussian with σ = 1.
        channel_axis: of L, that of the channels, as of :class:`Adapted`.

    Example:
        >>> model = callables(encode=lambda x: (x[:, :2], 0.1 + 0 * x[:, :2]), decode=nn.Linear(2, 3))
        >>> x = torch.randn(4, 3)
        >>> model.encode(x).shape, model.decode(model.encode(x)).shape, len(list(model.parameters()))
        (torch.Size([4, 2]), torch.Size([4, 3]), 2)
    """
    return Adapted(
        encode,
        decode,
        latents=latents,
        beta=beta,
        convention=convention,
        prior_std=prior_std,
        pixels=pixels,
        likelihood=likelihood,
        channel_axis=channel_axis,
    )


def _as_it_is(z: Tensor) -> Tensor:
    return z


def _pair(answer: Any) -> tuple[Tensor, Tensor]:
    if isinstance(answer, tuple | list) and len(answer) == 2 and all(isinstance(a, torch.Tensor) for a in answer):
        return answer[0], answer[1]
    raise InputError(f"encode returned {a_kind(answer)}; expected the mean [B, *L], or (mean, standard deviation)")
