"""Decoders that the formulas do not hold for are refused at their first use, and no other is."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from curvae import Autoencoder, objectives, posteriors, regulariser
from curvae.curvature import (
    Columns,
    Estimator,
    Exact,
    Fraction,
    Lanczos,
    Linearised,
    Operator,
    Secants,
    hessian,
    jacobian,
    unchecked,
)
from curvae.errors import InputError
from curvae.forward import first_use
from curvae.likelihoods import Gaussian
from curvae.nn import CelebADecoder, MLPDecoder, MNISTDecoder, linear_decoder

BATCH, LATENTS = 6, 3


class Layers(nn.Module):
    """Two linear layers with something between."""

    def __init__(self, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.inner = nn.Linear(LATENTS, 8), nn.Linear(8, 5), inner

    def forward(self, z: Tensor) -> Tensor:
        return self.last(torch.tanh(self.inner(self.first(z))))


class _HiddenNorm(torch.autograd.Function):
    """A normalisation in a function of its own, with PyTorch's (wrong) derivatives of the derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            return torch.native_layer_norm(x, [8], None, None, 1e-5)[0]

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx, tangent: Tensor) -> Tensor:
        return torch.func.jvp(functools.partial(nn.functional.layer_norm, normalized_shape=[8]), *ctx.saved_tensors)


class _WithoutGraph(torch.autograd.Function):
    """The exponential, whose forward-mode derivative is right and carries no gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_forward(*inputs)
        ctx.save_for_backward(*inputs)

    @staticmethod
    def jvp(ctx, tangent: Tensor) -> Tensor:
        with torch.no_grad():
            return tangent * ctx.saved_tensors[0].exp().detach()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient * ctx.saved_tensors[0].exp()


class _Wrong(_WithoutGraph):
    @staticmethod
    def jvp(ctx, tangent: Tensor) -> Tensor:
        return tangent


def _quietly(layer: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return torch.no_grad()(layer)


def _partly(z: Tensor, plain: nn.Module, quiet: nn.Module) -> Tensor:
    with torch.no_grad():
        hidden = quiet(z)
    return plain(z) + hidden


REFUSED: dict[str, tuple[Callable[[], Callable[[Tensor], Tensor]], str]] = {
    "graph": (lambda: lambda z: torch.roll(z, 1, 0) + z.sin(), "mixes the samples"),
    "centred": (lambda: Layers(lambda h: h - h.mean(0)), "mixes the samples"),
    "attention-over-data": (lambda: Layers(lambda h: torch.softmax(h @ h.mT, -1) @ h), "mixes the samples"),
    "earlier-data": (lambda: Layers(lambda h: h.cumsum(0)), "mixes the samples"),
    "scripted": (lambda: torch.jit.script(MLPDecoder(LATENTS, (4,), (8,)).layers), "TorchScript"),
    "scripted-inside": (lambda: Layers(torch.jit.script(nn.LayerNorm(8))), "TorchScript"),
    "traced": (lambda: torch.jit.trace(nn.Linear(LATENTS, 4), torch.zeros(BATCH, LATENTS)), "TorchScript"),
    "hidden-norm": (lambda: Layers(_HiddenNorm.apply), "native_layer_norm"),
    "all-under-no-grad": (lambda: _quietly(Layers(torch.exp)), "no_grad"),
    "part-under-no-grad": (
        lambda: functools.partial(_partly, plain=Layers(torch.exp), quiet=Layers(torch.exp)),
        "no_grad",
    ),
    "detached": (lambda: Layers(lambda h: h.detach() + 0.1 * h), "detached"),
    "a-third-detached": (lambda: Layers(lambda h: 0.35 * h.detach() + 0.65 * h), "detached"),
    "function-without-graph": (lambda: Layers(_WithoutGraph.apply), "autograd.Function"),
    "function-wrong": (lambda: Layers(_Wrong.apply), "autograd.Function"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_every_time_and_on_demand_not(name: str) -> None:
    build, reason = REFUSED[name]
    decoder, z = build(), torch.randn(BATCH, LATENTS)
    for _ in range(2):
        with pytest.raises(InputError, match=reason) as error:
            jacobian(decoder, z)
        assert "\n" not in str(error.value)
        assert "unchecked" in str(error.value)
    if name != "hidden-norm":  # which has no derivative at all
        with unchecked():
            jacobian(decoder, z)


WAYS: dict[str, Callable[[nn.Module, Tensor, Tensor], object]] = {
    "hessian": lambda model, z, x: hessian(model, z, x, Gaussian()),
    "operator": lambda model, z, x: Operator(model, z, x, Gaussian()),
    "lanczos": lambda model, z, x: Lanczos(2).penalty(Linearised(model, z, x, Gaussian()), posteriors.Full(), 0.2),
    "columns": lambda model, z, x: Columns(1).penalty(Linearised(model, z, x, Gaussian()), posteriors.Diagonal(), 0.2),
    "fraction": lambda model, z, x: Fraction(Columns(1), 0.5).penalty(
        Linearised(model, z, x, Gaussian()), posteriors.Diagonal(), 0.2
    ),
    "grae": lambda model, z, x: objectives.GRAE(0.2)(Autoencoder(nn.Linear(5, LATENTS), model, LATENTS), x),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_pass_looks(way: str) -> None:
    with pytest.raises(InputError, match="mixes the samples"):
        WAYS[way](Layers(lambda h: h - h.mean(0)), torch.randn(BATCH, LATENTS), torch.randn(BATCH, 5))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, z: Tensor) -> Tensor:
        tokens = z.unsqueeze(-1).expand(-1, -1, 4)
        return tokens + self.inner(tokens, tokens, tokens)[0]


def _conditioned(decoder: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda z: torch.cat([decoder(z), GIVEN], 1)


GIVEN = torch.randn(BATCH, 5, generator=torch.Generator().manual_seed(0))
ALLOWED: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "mnist": lambda: MNISTDecoder(LATENTS, 1 / 128),
    "celeba": lambda: CelebADecoder(LATENTS, 1 / 128),
    "mlp": lambda: MLPDecoder(LATENTS, (1, 2, 3), (16, 16)),
    "deep-relu": lambda: MLPDecoder(LATENTS, (6,), (32,) * 8, nn.ReLU),
    "linear": lambda: linear_decoder(LATENTS, (5,)),
    "batch-norm": lambda: Layers(nn.BatchNorm1d(8)),
    "layer-norm": lambda: Layers(nn.LayerNorm(8)),
    "below-functional": lambda: Layers(lambda h: torch.native_layer_norm(h, [8], None, None, 1e-5)[0]),
    "group-norm": lambda: Layers(nn.GroupNorm(2, 8)),
    "dropout": lambda: Layers(nn.Dropout(0.5)),
    "spectral-norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(LATENTS, 5)),
    "attention": Residual,
    "condition": lambda: _conditioned(Layers(torch.sin)),
    "fixed-weights": lambda: Layers(torch.sin).requires_grad_(False),
    "kink-at-the-origin": lambda: nn.Sequential(nn.Linear(LATENTS, 8, bias=False), nn.ReLU()),
    "high-frequency": lambda: Layers(lambda h: torch.sin(100 * h)),
    "straight-through": lambda: Layers(lambda h: h + (h.round() - h).detach()),
    "no-weights": lambda: torch.sin,
    "constant": lambda: lambda z: torch.zeros_like(z),
    "constant-but-for-rounding": lambda: Layers(lambda h: 3 * nn.functional.normalize(h[:, ::8], dim=1).expand(-1, 8)),
    "compiled": lambda: torch.compile(Layers(torch.sin), backend="eager"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "compiled" else []) for name in ALLOWED]
)
def test_never_in_the_way(name: str) -> None:
    """In both modes, with and without gradients, under autocast, at the origin and elsewhere; nothing is moved."""
    somewhere, origin = torch.randn(BATCH, LATENTS), torch.zeros(BATCH, LATENTS)
    for training, grad, half, z in (
        (True, True, False, somewhere),
        (True, True, True, origin),
        (False, True, False, origin),
        (True, False, False, somewhere),
    ):
        decoder = ALLOWED[name]()
        if isinstance(decoder, nn.Module):
            decoder.train(training)
        before = copy.deepcopy(decoder.state_dict()) if isinstance(decoder, nn.Module) else {}
        state = torch.get_rng_state()
        with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16, enabled=half):
            first_use.check_first_use(decoder, z)
        assert torch.equal(torch.get_rng_state(), state)
        if name != "spectral-norm":  # any pass of it in train mode moves its vectors
            after = decoder.state_dict() if isinstance(decoder, nn.Module) else {}
            assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("name", ["mnist", "mlp", "batch-norm", "condition", "attention"])
def test_what_is_allowed_was_examined(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not let pass because the examination failed."""
    done = []
    original = first_use._Examination._with_gradients
    monkeypatch.setattr(first_use._Examination, "_with_gradients", lambda self, u, v: done.append(original(self, u, v)))
    jacobian(ALLOWED[name](), torch.randn(BATCH, LATENTS))
    assert done == [None]


def test_once_for_each_decoder_and_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(first_use._Examination, "run", lambda self: seen.append(1))
    encoder, decoder, z = nn.Linear(5, LATENTS), Layers(torch.sin), torch.randn(BATCH, LATENTS)
    model = Autoencoder(encoder, decoder, LATENTS)
    objective = objectives.GRAE(0.2)
    for _ in range(3):
        objective(model, torch.randn(BATCH, 5))
    assert len(seen) == 1
    model.eval()
    objective(model, torch.randn(BATCH, 5))
    assert len(seen) == 2
    labels = torch.randn(BATCH, 5)
    for _ in range(3):  # a function made anew at each step
        jacobian(lambda z: decoder(z) + labels, z)
    assert len(seen) == 3
    jacobian(copy.deepcopy(decoder), z)
    assert len(seen) == 4


def test_one_sample_is_looked_at_again_with_others() -> None:
    decoder = Layers(lambda h: h - h.mean(0))
    jacobian(decoder, torch.randn(1, LATENTS))
    with pytest.raises(InputError, match="mixes the samples"):
        jacobian(decoder, torch.randn(BATCH, LATENTS))


def test_a_callers_graph_is_left_whole() -> None:
    """A decoder that closes over something with a graph of its own can still be trained."""
    condition = Layers(torch.sin)
    given = condition(torch.randn(BATCH, LATENTS))
    eta_free = jacobian(lambda z: torch.cat([z.sin() * given[:, :3]], 1), torch.randn(BATCH, LATENTS))
    eta_free.square().sum().backward()
    assert condition.first.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("estimator", [Columns(1), Lanczos(2), Secants(1)], ids=str)
@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_spectral_normalisation_iterates_no_more_often_at_the_first_use(
    norm: Callable[[nn.Module], nn.Module], estimator: Estimator
) -> None:
    """Or a run that is resumed, which looks again, would be another one."""
    z, first = torch.randn(BATCH, LATENTS), Layers(torch.sin)
    norm(first.first)
    later = copy.deepcopy(first)
    states = [copy.deepcopy(first.state_dict())]
    for decoder in (later, later, first):
        regulariser(decoder.requires_grad_(), z, 0.3, estimator=estimator)
        states.append(copy.deepcopy(decoder.state_dict()))
        decoder.load_state_dict(states[0])
    torch.testing.assert_close(states[3], states[2], rtol=0, atol=0)


@pytest.mark.parametrize("estimator", [Columns(1), Secants(1)], ids=str)
def test_buffers_that_cannot_be_copied_compared_or_written_to_are_no_hindrance(estimator: Estimator) -> None:
    z, right, mixing = (
        torch.randn(BATCH, LATENTS),
        Layers(lambda y: y * right.scales[0]),
        Layers(lambda y: y - y.mean(0)),
    )
    for decoder in (right, mixing):
        decoder.register_buffer("graph", torch.eye(4).to_sparse())
        decoder.register_buffer("nowhere", torch.ones(4, device="meta"))
        decoder.register_buffer("bytes", torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.quint8))
        decoder.register_buffer("scales", torch.tensor([2.0, torch.nan]))
        decoder.unused = nn.LazyBatchNorm1d()
    regulariser(right, z, 0.3, estimator=estimator).sum().backward()
    with pytest.raises(InputError, match="mixes the samples"):
        regulariser(mixing, z, 0.3, estimator=estimator)


def test_a_free_variable_without_a_value_yet_is_no_hindrance() -> None:
    decoder, z = nn.Linear(LATENTS, 4), torch.randn(BATCH, LATENTS)

    def step(labelled: bool) -> Tensor:
        if labelled:
            labels = torch.ones(BATCH, 4)
        return regulariser(lambda z: decoder(z) + labels if labelled else decoder(z), z, 0.2, estimator=Exact())

    torch.testing.assert_close(step(False), step(True))
