"""Compiled decoders give what they give as they were written, wherever they are differentiated or only called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from curvae.curvature import Columns, Estimator, Lanczos, Linearised, Secants, hessian
from curvae.likelihoods import Gaussian
from curvae.posteriors import Diagonal, Full

pytestmark = pytest.mark.usefixtures("float64")

Value = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Decoder(nn.Module):
    """A module without a length, of which rows know no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 6), nn.LayerNorm(6), nn.Linear(6, 4)

    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.norm(self.first(z)).erf())


def _penalty(estimator: Estimator) -> Value:
    def value(decoder: nn.Module, z: Tensor, x: Tensor) -> Tensor:
        structure = Full() if isinstance(estimator, Lanczos) else Diagonal()
        at = Linearised(decoder, z, x, Gaussian())
        return estimator.penalty(at, structure, 0.3, torch.Generator().manual_seed(0))[1]

    return value


VALUES: dict[str, Value] = {
    "hessian": lambda decoder, z, x: hessian(decoder, z, x, Gaussian()).square().sum((1, 2)),
    "lanczos": _penalty(Lanczos(2)),
    "columns": _penalty(Columns(2)),
    "secants": _penalty(Secants(1)),
}


@pytest.mark.parametrize("name", VALUES)
def test_it_is_as_if_it_were_not_compiled(name: str) -> None:
    decoder, z, x = Decoder(), torch.randn(3, 3), torch.randn(3, 4)
    found = []
    for each in (torch.compile(decoder, backend="eager"), decoder):
        value = VALUES[name](each, z, x)
        found.append((value, *torch.autograd.grad(value.sum(), [*decoder.parameters()], allow_unused=True)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
