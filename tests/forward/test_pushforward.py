"""Forward-mode columns against reverse-mode Jacobians, one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import jacrev, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from curvae import regulariser
from curvae.curvature import Exact, Operator, Secants, columns, hessian, jacobian, pushforward
from curvae.errors import DerivativeError, InputError
from curvae.likelihoods import Gaussian
from curvae.nn import MLPDecoder, SameConvTranspose2d
from curvae.posteriors import Diagonal

pytestmark = pytest.mark.usefixtures("float64")

LATENTS = 4


def _convolutional(norm: Callable[[int], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(LATENTS, 6 * 9),
        nn.Unflatten(1, (6, 3, 3)),
        SameConvTranspose2d(6, 4, 4, 2),
        norm(4),
        nn.ELU(),
        nn.Conv2d(4, 2, 3, padding=1),
        nn.Sigmoid(),
    )


DECODERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(LATENTS, 7),
    "mlp": lambda: MLPDecoder(LATENTS, (2, 3), hidden=(8, 9)),
    "mlp-relu": lambda: MLPDecoder(LATENTS, (5,), hidden=(8, 9), activation=nn.ReLU),
    "mlp-inplace": lambda: MLPDecoder(LATENTS, (5,), hidden=(8,), activation=lambda: nn.ELU(inplace=True)),
    "mlp-layernorm": lambda: nn.Sequential(nn.Linear(LATENTS, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 5)),
    "conv": lambda: _convolutional(lambda c: nn.Identity()),
    "conv-groupnorm": lambda: _convolutional(lambda c: nn.GroupNorm(2, c)),
    "conv-layernorm": lambda: _convolutional(lambda c: nn.LayerNorm((c, 6, 6))),
    "conv-instancenorm": lambda: _convolutional(lambda c: nn.InstanceNorm2d(c, affine=True)),
    "conv-batchnorm-eval": lambda: _convolutional(nn.BatchNorm2d).eval(),
}


@pytest.fixture(params=DECODERS.values(), ids=DECODERS.keys())
def decoder(request: pytest.FixtureRequest, seed: int) -> nn.Module:
    module = request.param()
    for name, buffer in module.named_buffers():  # eval mode with statistics that are not 0 and 1
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return module


def _reference(fn: nn.Module, z: Tensor) -> Tensor:
    return torch.stack([jacrev(lambda p: fn(p[None])[0])(sample) for sample in z])


@pytest.mark.covering
@pytest.mark.parametrize("chunk_size", [1, 100])
def test_jacobian(decoder: nn.Module, chunk_size: int | None) -> None:
    z = torch.randn(3, LATENTS)
    torch.testing.assert_close(jacobian(decoder, z, chunk_size), _reference(decoder, z))


@pytest.mark.covering
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_gradients(decoder: nn.Module, chunk_size: int | None) -> None:
    z = torch.randn(3, LATENTS, requires_grad=True)
    eta, got = pushforward(decoder, z, torch.eye(LATENTS).expand(3, -1, -1), chunk_size)
    expected = _reference(decoder, z)
    torch.testing.assert_close(eta, decoder(z))
    weight, eta_weight = torch.randn_like(got), torch.randn_like(eta)
    wrt = (z, *decoder.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((weight * got.square()).sum() + (eta_weight * eta).sum(), wrt, materialize_grads=True),
        torch.autograd.grad(
            (weight * expected.square()).sum() + (eta_weight * decoder(z)).sum(), wrt, materialize_grads=True
        ),
    )


@pytest.mark.covering
@pytest.mark.parametrize("count", [1, 9])
def test_columns_are_chosen_for_each_sample(decoder: nn.Module, count: int) -> None:
    z, indices = torch.randn(3, LATENTS), torch.randint(LATENTS, (3, count))
    full = _reference(decoder, z)
    expected = torch.stack([full[i][..., indices[i]] for i in range(3)])
    torch.testing.assert_close(columns(decoder, z, indices), expected)


def test_any_tangents(decoder: nn.Module) -> None:
    z, tangents = torch.randn(3, LATENTS), torch.randn(3, LATENTS, 2)
    full = _reference(decoder, z)
    pushed = pushforward(decoder, z, tangents)[1]
    torch.testing.assert_close(pushed, torch.einsum("b...d,bdk->b...k", full, tangents))


def test_a_single_sample_and_an_empty_batch() -> None:
    decoder = DECODERS["conv-groupnorm"]()
    z = torch.randn(1, LATENTS)
    torch.testing.assert_close(jacobian(decoder, z), _reference(decoder, z))
    assert jacobian(DECODERS["mlp"](), z[:0]).shape == (0, 2, 3, LATENTS)


def test_functions_that_are_no_modules(seed: int) -> None:
    z = torch.randn(3, LATENTS)
    identity = torch.eye(LATENTS).expand(3, -1, -1)
    torch.testing.assert_close(jacobian(lambda z: z, z), identity)
    torch.testing.assert_close(jacobian(lambda z: torch.ones(3, 2), z), torch.zeros(3, 2, LATENTS))
    torch.testing.assert_close(jacobian(lambda z: z.square().sum(1), z), 2 * z)
    torch.testing.assert_close(jacobian(lambda z: z.sin(), z, 1), identity * z.cos()[..., None])


def test_derivatives_of_the_jacobian_in_either_mode(seed: int) -> None:
    """What a metric's derivatives need: forward over forward and reverse over forward."""
    decoder, z = DECODERS["conv-batchnorm-eval"](), torch.randn(1, LATENTS)
    forward = torch.func.jacfwd(lambda point: jacobian(decoder, point))(z)
    reverse = jacrev(lambda point: jacobian(decoder, point))(z)
    torch.testing.assert_close(forward, reverse)
    torch.testing.assert_close(reverse[0, :, :, :, :, 0], jacrev(jacrev(lambda p: decoder(p[None])[0]))(z[0]))


def test_dropout_has_one_mask_for_all_columns(seed: int) -> None:
    decoder = nn.Sequential(nn.Linear(LATENTS, 50, bias=False), nn.Dropout(0.5), nn.Linear(50, 6, bias=False))
    z = torch.randn(3, LATENTS)
    eta, full = pushforward(decoder, z, torch.eye(LATENTS).expand(3, -1, -1))
    torch.testing.assert_close(eta, torch.einsum("bDd,bd->bD", full, z))
    assert not torch.allclose(eta, decoder.eval()(z))


@pytest.mark.parametrize("latents", [1, LATENTS])
def test_one_code_many_times(latents: int, seed: int) -> None:
    """Forward mode itself refuses a tensor that is expanded without a copy."""
    decoder, z = MLPDecoder(latents, (5,), hidden=(6,)), torch.randn(1, latents)
    full = jacobian(decoder, z)
    for many in (z.expand(3, -1), z.expand(3, -1).requires_grad_()):
        torch.testing.assert_close(jacobian(decoder, many), full.expand(3, -1, -1))
        torch.testing.assert_close(
            columns(decoder, many, torch.zeros(3, 1, dtype=torch.long)), full.expand(3, -1, -1)[..., :1]
        )


class _Attention(nn.Module):
    """Three tokens that attend to each other, by whichever kernel PyTorch likes best."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(LATENTS, 3 * 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(self.tokens(z).unflatten(1, (3, 8)))


def test_attention(seed: int) -> None:
    """The fast kernels have no forward-mode derivative, and their backward pass none at all."""
    decoder, z, x = _Attention(), torch.randn(2, LATENTS, requires_grad=True), torch.randn(2, 3, 8)
    got, curvature = jacobian(decoder, z), hessian(decoder, z, x, Gaussian())
    product = Operator(decoder, z, x, Gaussian())(torch.ones(2, LATENTS, 1))
    with sdpa_kernel(SDPBackend.MATH):
        expected = _reference(decoder, z)
        torch.testing.assert_close(
            torch.autograd.grad(got.square().sum(), decoder.tokens.weight),
            torch.autograd.grad(expected.square().sum(), decoder.tokens.weight),
        )
        exact = [
            torch.func.hessian(lambda p, i=i: Gaussian().log_prob(decoder(p[None]), x[i : i + 1])[0])(z[i])
            for i in range(2)
        ]
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(curvature, torch.stack(exact))
    flat = expected.flatten(1, 2)
    torch.testing.assert_close(product, flat.mT @ flat @ torch.ones(2, LATENTS, 1))


def test_without_autograd(seed: int) -> None:
    decoder, z = DECODERS["conv"](), torch.randn(2, LATENTS)
    with torch.no_grad():
        got = jacobian(decoder, z)
    assert not got.requires_grad
    torch.testing.assert_close(got, _reference(decoder, z))


class _Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that any operation makes."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.entries = max(self.entries, tensor.numel())
        return out


@pytest.mark.parametrize("chunk_size", [1, 3, 16])
def test_memory_is_bounded_by_the_chunk(chunk_size: int) -> None:
    batch, latents, hidden = 2, 16, 1000
    decoder = nn.Sequential(nn.Linear(latents, hidden), nn.ELU(), nn.Linear(hidden, 3))
    calls = 0

    def counted(z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return decoder(z)

    with torch.no_grad(), _Largest() as largest:
        jacobian(counted, torch.randn(batch, latents), chunk_size)
    assert calls == math.ceil(latents / chunk_size)
    weights = latents * hidden
    assert largest.entries <= max(weights, (1 + chunk_size) * batch * hidden)  # the output, and tangents
    with torch.no_grad(), _Largest() as largest:
        jacobian(counted, torch.randn(batch, latents))
    assert largest.entries == batch * (1 + latents) * hidden


@pytest.mark.parametrize("indices", [[[0], [4]], [[-1], [0]], [[0, 1], [2, 99]]])
def test_an_index_out_of_range(indices: list[list[int]]) -> None:
    with pytest.raises(InputError, match=r"column indices must be 0 … 3; got .* … "):
        columns(nn.Linear(LATENTS, 2), torch.randn(2, LATENTS), torch.tensor(indices))


@pytest.mark.usefixtures("as_shipped")
def test_bad_shapes_and_chunks() -> None:
    decoder, z = nn.Linear(LATENTS, 2), torch.randn(2, LATENTS)
    for tangents in (torch.ones(2, LATENTS), torch.ones(3, LATENTS, 1), torch.ones(2, 3, 1), torch.ones(2, LATENTS, 0)):
        with pytest.raises(InputError, match=r"expected \[B, d\] and \[B, d, K\]"):
            pushforward(decoder, z, tangents)
    with pytest.raises(InputError, match="z has shape"):
        pushforward(decoder, z[0], torch.ones(2, LATENTS, 1))
    for wrong in (z[0], z[0, 0]):
        with pytest.raises(InputError, match="z has shape"):
            jacobian(decoder, wrong)
        with pytest.raises(InputError, match="z has shape"):
            columns(decoder, wrong, torch.zeros(2, 1, dtype=torch.long))
    for chunk_size in (0, -1, 1.5, "2", True):
        with pytest.raises(InputError, match="chunk_size is"):
            jacobian(decoder, z, chunk_size)
    for indices in (torch.zeros(3, 1), torch.zeros(2), torch.zeros(2, 0)):
        with pytest.raises(InputError):
            columns(decoder, z, indices.long())


def _regularised(estimator: Any) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda decoder, z: regulariser(
        decoder, z, 0.2, structure=Diagonal(), estimator=estimator, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize(
    "measure",
    [
        lambda decoder, z: columns(decoder, z, torch.zeros(2, 1, dtype=torch.long)),
        lambda decoder, z: pushforward(decoder, z, torch.ones(1, LATENTS, 1), chosen=torch.tensor([1]))[1],
        lambda decoder, z: Operator(decoder, z, torch.zeros(2, 5), Gaussian())(torch.ones(2, LATENTS, 1)),
        lambda decoder, z: hessian(decoder, z, torch.zeros(2, 5), Gaussian()),
        _regularised(Exact()),
    ],
)
def test_tangents_of_a_callers_own_level_are_not_lost(measure: Callable[[nn.Module, Tensor], Tensor]) -> None:
    decoder, z = DECODERS["mlp-layernorm"](), torch.randn(2, LATENTS)
    with forward_ad.dual_level(), pytest.raises(DerivativeError, match=r"dual_level\(\), whose .* torch.func.jvp$"):
        measure(decoder, forward_ad.make_dual(z, torch.ones_like(z)))


def test_secants_carry_the_tangents_of_a_callers_own_level() -> None:
    decoder, z = DECODERS["mlp-layernorm"](), torch.randn(2, LATENTS)
    along = torch.randn_like(z)
    measure = _regularised(Secants(LATENTS))
    with forward_ad.dual_level():
        got = forward_ad.unpack_dual(measure(decoder, forward_ad.make_dual(z, along))).tangent
    torch.testing.assert_close(got, jvp(lambda z: measure(decoder, z), (z,), (along,))[1])
