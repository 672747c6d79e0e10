"""Objectives under torch.utils.checkpoint: the gradient of the draw that gave the value, or none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from curvae import Autoencoder
from curvae.curvature import Columns, Coordinates, Exact, Fraction, Lanczos, Signs, Sphere, Trace
from curvae.errors import InputError
from curvae.objectives import GRAE, RAE, BetaVAE
from curvae.posteriors import Diagonal, Full

pytestmark = pytest.mark.usefixtures("float64")

BETA = 0.5
OBJECTIVES = {
    "beta-vae": BetaVAE(BETA, samples=2),
    "columns": GRAE(BETA, structure=Diagonal(), estimator=Columns(1)),
    "weighted": GRAE(BETA, structure=Diagonal(), estimator=Columns(1, [1.0, 2.0, 3.0])),
    "fraction": GRAE(BETA, estimator=Fraction(Exact(), 0.5)),
    "lanczos": GRAE(BETA, estimator=Lanczos(2, Signs(1))),
    "sphere": RAE(BETA, trace=Trace(Sphere(1))),
    "coordinates": RAE(BETA, trace=Trace(Coordinates(1))),
}

# the reverse products of Lanczos are refused by PyTorch itself under the hooks of the other kind
CASES = [(name, reentrant) for name in OBJECTIVES for reentrant in (False, True) if reentrant or name != "lanczos"]


def _gradients(
    name: str, checkpointed: bool, reentrant: bool, draws: Callable[[], torch.Generator | None]
) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    model = Autoencoder(nn.Linear(5, 7), nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 5)), 3, Full())
    x = torch.randn(4, 5, requires_grad=True)

    def loss(x: Tensor) -> Tensor:
        return OBJECTIVES[name](model, x, draws()).mean()

    value = checkpoint(loss, x, use_reentrant=reentrant) if checkpointed else loss(x)
    torch.rand(3)  # the global generator goes on before the backward pass
    value.backward()
    return tuple(parameter.grad for parameter in model.parameters() if parameter.grad is not None)


@pytest.mark.covering
@pytest.mark.parametrize(("name", "reentrant"), CASES)
def test_the_gradient_is_that_of_the_draw_or_refused(name: str, reentrant: bool) -> None:
    def own() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    for draws in (lambda: None, own):
        torch.testing.assert_close(_gradients(name, True, reentrant, draws), _gradients(name, False, reentrant, draws))
    generator = own()
    with pytest.raises(InputError, match="recomputation") as refusal:
        _gradients(name, True, reentrant, lambda: generator)
    assert "\n" not in str(refusal.value)


def test_a_generator_that_is_seeded_again_inside_passes() -> None:
    generator = torch.Generator()
    expected = _gradients("fraction", False, False, lambda: torch.Generator().manual_seed(3))
    torch.testing.assert_close(_gradients("fraction", True, False, lambda: generator.manual_seed(3)), expected)


def test_the_first_look_at_a_decoder_may_lie_in_the_checkpointed_pass() -> None:
    model = Autoencoder(nn.Linear(5, 2), nn.Linear(2, 5), 2)
    x = torch.randn(4, 5)
    checkpoint(lambda x: OBJECTIVES["columns"](model, x).mean(), x, use_reentrant=False).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
