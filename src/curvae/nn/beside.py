"""What stands beside the data as more inputs of a network: a condition, and which values were observed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from curvae._checks import positive_int, shown
from curvae._typing import Float, Tensor
from curvae.errors import InputError


class Beside(nn.Module):
    """A network of ``(x, c)`` from one of x: the condition c is joined to its input, or to its features.

    ``"input"`` flattens x and puts c behind it: for perceptrons and for decoders of vectors, which then have as many
    inputs more. ``"features"`` leaves the network alone and puts c behind what it returns, ``[B, F]``: for
    convolutions; an autoencoder's linear heads then see both.

    Args:
        network: ``[B, n + C] → [B, …]``, or for ``"features"`` ``[B, *D] → [B, F]``.
        join: ``"input"`` or ``"features"``.
        conditions: C, for ``out_features`` with ``"features"``.

    Raises:
        InputError: a network that is no module, another ``join``, or (when called) a condition that is not ``[B, C]``
            of floating-point numbers, or features that are not ``[B, F]``.

    Example:
        >>> decoder = Beside(nn.Linear(2 + 3, 5))
        >>> decoder(torch.zeros(4, 2), torch.zeros(4, 3)).shape
        torch.Size([4, 5])
    """

    def __init__(
        self, network: nn.Module, join: Literal["input", "features"] = "input", conditions: int | None = None
    ) -> None:
        super().__init__()
        _check_network(network)
        if join not in ("input", "features"):
            raise InputError(f"join is {shown(join)}; expected 'input' or 'features'")
        self.network, self.join = network, join
        features = getattr(network, "out_features", None)
        if isinstance(features, int) and (join == "input" or conditions is not None):
            joined = 0 if conditions is None else positive_int("conditions", conditions)
            self.out_features = features + joined * (join == "features")

    def forward(self, x: Float[Tensor, "B *D"], c: Tensor) -> Float[Tensor, "B *F"]:
        """The network's output for x and c."""
        if c.dim() != 2 or not c.is_floating_point():
            raise InputError(
                f"the condition is {str(c.dtype).removeprefix('torch.')} {list(c.shape)}; expected floating-point "
                "numbers [B, C], of a class one_hot(c).float()"
            )
        if self.join == "input":
            return self.network(torch.cat([x.flatten(1), c.to(x.dtype) if x.is_floating_point() else c], 1))
        features = self.network(x)
        if features.dim() != 2:
            raise InputError(
                f"the network's features have shape {tuple(features.shape)}; expected [B, F], to have the condition "
                "behind them: end the network in nn.Flatten()"
            )
        return torch.cat([features, c.to(features.dtype)], 1)


class Observed(nn.Module):
    """A network of data with missing values: zeros in the place of NaN, and beside them 1 for all that was observed.

    Args:
        network: ``[B, 2 n] → [B, …]`` for samples of n numbers; with more arguments, such as a condition, it gets these
            as they are.

    Example:
        >>> seen = Observed(nn.Identity())
        >>> seen(torch.tensor([[3.0, torch.nan]]))
        tensor([[3., 0., 1., 0.]])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        _check_network(network)
        self.network = network
        features = getattr(network, "out_features", None)
        if isinstance(features, int):
            self.out_features = features

    def forward(self, x: Float[Tensor, "B *D"], *beside: Tensor) -> Float[Tensor, "B *F"]:
        """The network's output."""
        flat = x.flatten(1)
        seen = ~flat.isnan()
        return self.network(torch.cat([flat.where(seen, 0), seen.to(flat.dtype)], 1), *beside)


def _check_network(network: object) -> None:
    if not isinstance(network, nn.Module):  # the weights of a plain function would not be trained
        raise InputError(f"the network is {shown(network)}; expected a torch.nn.Module, which holds its weights")
