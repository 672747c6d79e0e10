"""A model whose condition is given: what an objective sees of a conditional one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Shaped
from torch import nn

from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.posteriors import Normal, Structure


class AtOne(nn.Module):
    r"""A conditional :class:`~curvae.Autoencoder` at one condition for all samples, however many: a model of x alone.

    Args:
        model: the model.
        c: the condition, ``[1, *C]``.

    Example:
        >>> import torch
        >>> from curvae import Autoencoder, nn
        >>> encoder, decoder = nn.Beside(torch.nn.Linear(3 + 2, 8)), nn.Beside(torch.nn.Linear(1 + 2, 3))
        >>> model = Autoencoder(encoder, decoder, latents=1, features=8, condition="both")
        >>> AtOne(model, torch.tensor([[0.0, 1.0]])).encode(torch.zeros(5, 3)).shape
        torch.Size([5, 1])
    """

    condition = None

    def __init__(self, model: Any, c: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("c", c)
        self.latents, self.shape, self.structure = model.latents, model.shape, model.structure

    c: Tensor

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        r"""$q(z\mid x,c)$."""
        return self.model.posterior(x, self._many(x))

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *L"]:
        """The posterior's mean."""
        return self.model.encode(x, self._many(x))

    def decode(self, z: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
        r"""$g(z,c)$."""
        return self.model.decode(z, self._many(z))

    def _many(self, rows: Tensor) -> Tensor:
        return self.c.expand(len(rows), *self.c.shape[1:])


@dataclass(frozen=True, repr=False, eq=False)
class Conditioned(OneLine):
    r"""A conditional :class:`~curvae.Autoencoder` at the conditions of one batch: $q(z\mid x,c)$ and $g(z,c)$, c fixed.

    Made by :meth:`curvae.Autoencoder.given`. It has what objectives, metrics and :class:`~curvae.metrics.Implied` ask
    of a model, so that these know nothing of conditions. Row i of c belongs to sample i, and every call takes as many
    samples as there are rows: a part of them is refused, and never decoded with the conditions of others.

    Args:
        model: the model.
        c: a condition for each sample, ``[B, *C]``.

    Example:
        >>> import torch
        >>> from curvae import Autoencoder, nn, objectives
        >>> encoder, decoder = nn.Beside(torch.nn.Linear(3 + 2, 8)), nn.Beside(torch.nn.Linear(1 + 2, 3))
        >>> model = Autoencoder(encoder, decoder, latents=1, features=8, condition="both")
        >>> x, c = torch.randn(5, 3), torch.eye(2)[torch.tensor([0, 1, 1, 0, 1])]
        >>> objectives.GRAE(beta=0.2)(model.given(c), x).total.shape
        torch.Size([5])
    """

    model: Any
    c: Tensor

    @property
    def structure(self) -> Structure | None:
        """Of the model's posterior; None for a deterministic one."""
        return self.model.structure

    @property
    def decoder(self) -> Any:
        """The model's decoder."""
        return self.model.decoder

    @property
    def latents(self) -> int:
        """d."""
        return self.model.latents

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the latents of one sample."""
        return self.model.shape

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        r"""$q(z\mid x,c)$."""
        return self.model.posterior(x, self.c)

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *L"]:
        """The posterior's mean."""
        return self.model.encode(x, self.c)

    def decode(self, z: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
        r"""$g(z,c)$, the parameters of the observation model."""
        return self.model.decode(z, self.c)

    def reconstruct(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        """The decoded mean."""
        return self.decode(self.encode(x))

    def rows(self, which: slice | Tensor) -> Conditioned:
        """The same for some of the samples.

        Example:
            >>> import torch
            >>> Conditioned(None, torch.tensor([[1.0], [2.0], [3.0]])).rows(slice(1, 3)).c.flatten()
            tensor([2., 3.])
        """
        return replace(self, c=self.c[which])

    def each(self, count: int) -> Conditioned:
        """The same for ``count`` codes of each sample, one sample after the other.

        Example:
            >>> import torch
            >>> Conditioned(None, torch.tensor([[1.0], [2.0]])).each(2).c.flatten()
            tensor([1., 1., 2., 2.])
        """
        return replace(self, c=self.c.repeat_interleave(count, 0))

    def repeated(self, count: int) -> Conditioned:
        """The same for ``count`` draws of the batch, one after the other.

        Example:
            >>> import torch
            >>> Conditioned(None, torch.tensor([[1.0], [2.0]])).repeated(2).c.flatten()
            tensor([1., 2., 1., 2.])
        """
        return replace(self, c=self.c.repeat(count, *[1] * (self.c.dim() - 1)))


def for_codes(model: Any, count: int) -> Any:
    """A model for so many codes: of a conditional one as many for each condition, one sample after the other."""
    return model.each(count // len(model.c)) if isinstance(model, Conditioned) else model


def pieces(model: Any, values: Shaped[Tensor, "N *S"], size: int) -> Iterator[tuple[Any, Shaped[Tensor, "B *S"]]]:
    """Samples or codes some at a time, each time with the model for them; see :func:`for_codes`.

    Example:
        >>> import torch
        >>> model = Conditioned(None, torch.tensor([[1.0], [2.0]]))
        >>> [(at.c.flatten().tolist(), z.tolist()) for at, z in pieces(model, torch.arange(4), 3)]
        [([1.0, 1.0, 2.0], [0, 1, 2]), ([2.0], [3])]
    """
    wide = for_codes(model, len(values))
    for start in range(0, len(values), size):
        rows = slice(start, start + size)
        yield (wide.rows(rows) if isinstance(wide, Conditioned) else wide), values[rows]
