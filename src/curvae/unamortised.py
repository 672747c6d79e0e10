"""Inference without an encoder: one free posterior for each sample (App. C)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from curvae._checks import a_kind, an_answer, positive_int, shown
from curvae._repr import OneLine, line
from curvae._typing import Float, Int, Tensor
from curvae.errors import InputError
from curvae.posteriors import Normal, Shared, Structure
from curvae.posteriors.own import check_structure, factor_of


class Unamortised(nn.Module):
    r"""A decoder and a free $\mu_i$, $\Sigma_i$ for each of ``count`` data.

    An objective needs to know which data a batch holds: give it :meth:`at` of their indices in the model's place.

    Args:
        decoder: module, ``[B, d] → [B, *D]``.
        latents: d.
        structure: covariance structure of each posterior, of :class:`~curvae.posteriors.Shared` one covariance for all;
            covariances start at the identity.
        count: number of samples.
        generator: draws the initial means from $\mathcal N(0, 0.01^2 I)$ (equal means would stay equal).

    Raises:
        InputError: if ``latents`` or ``count`` is not ≥ 1, the decoder is no module or the structure none; (when
            called) if the decoder does not return one tensor.

    Example:
        >>> from curvae import objectives, posteriors
        >>> x = torch.randn(100, 3)
        >>> model = Unamortised(nn.Linear(2, 3), latents=2, structure=posteriors.Full(), count=len(x))
        >>> batch = torch.tensor([4, 8, 15])
        >>> objectives.BetaVAE(beta=0.2)(model.at(batch), x[batch]).total.shape
        torch.Size([3])
    """

    def __init__(
        self,
        decoder: nn.Module,
        latents: int,
        structure: Structure,
        count: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(decoder, nn.Module):  # the weights of a plain function would not be trained
            raise InputError(f"the decoder is {shown(decoder)}; expected a torch.nn.Module, which holds its weights")
        check_structure(structure)
        self.latents = positive_int("latents", latents)
        self.structure = structure
        self.decoder = decoder
        rows = positive_int("count", count)
        self.means = nn.Parameter(0.01 * torch.randn(rows, latents, generator=generator))
        covariances = 1 if isinstance(structure, Shared) else rows
        self.factors = nn.Parameter(torch.zeros(covariances, structure.num_parameters(latents)))

    def __repr__(self) -> str:
        parts = {"decoder": self.decoder, "latents": self.latents, "structure": self.structure}
        return line(type(self).__name__, **parts, count=len(self.means))

    def at(self, indices: Int[Tensor, " B"]) -> PosteriorsAt:
        """The model as an objective sees it for the data with these indices.

        Args:
            indices: whole numbers, one for each row of the batch.

        Raises:
            InputError: if an index is out of range, or they are not whole numbers ``[B]``.
        """
        if not isinstance(indices, Tensor):
            raise InputError(f"sample indices are {a_kind(indices)}; expected a tensor of whole numbers [B]")
        if indices.dim() != 1 or indices.is_floating_point() or indices.dtype == torch.bool:
            raise InputError(
                f"sample indices are {str(indices.dtype).removeprefix('torch.')} {list(indices.shape)}; expected whole "
                "numbers [B], of a mask mask.nonzero()[:, 0]"
            )
        indices = indices.long()  # bytes would be taken for a mask
        if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < len(self.means):
            raise InputError(
                f"sample indices {int(indices.min())} … {int(indices.max())} are not all in 0 … {len(self.means) - 1}"
            )
        return PosteriorsAt(self, indices)


@dataclass(frozen=True, repr=False)
class PosteriorsAt(OneLine):
    """An :class:`Unamortised` model at some of its data; what an objective needs of a model."""

    model: Unamortised
    indices: Int[Tensor, " B"]

    def posterior(self, x: Float[Tensor, "B *D"]) -> Normal:
        """The free posteriors of these data; ``x`` only has to have as many rows."""
        parameters = self.model.factors.expand(len(self.model.means), -1)[self.indices]
        return Normal(self.encode(x), factor_of(self.model.structure, parameters, self.model.latents))

    def encode(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B d"]:
        """The free means of these data."""
        if len(x) != len(self.indices):
            raise InputError(f"{len(self.indices)} samples were named by index but the batch holds {len(x)}")
        return self.model.means[self.indices]

    def decode(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B *D"]:
        r"""$g_\theta(z)$."""
        answer = self.model.decoder(z)
        if not isinstance(answer, Tensor):
            raise InputError(f"the decoder returned {an_answer(answer)}; expected one tensor [B, *D]")
        return answer
