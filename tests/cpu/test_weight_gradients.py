"""Weight gradients as matrix products: against autograd's in float64, and whole layers against PyTorch's own."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.cpu.convolution import weight_gradient
from curvae.nn import MatrixWeightGradients
from curvae.training.module import Training

# (in, out, kernel, stride, padding, side)
SHAPES = [
    (3, 5, (4, 4), (2, 2), (1, 1), 9),
    (5, 3, (4, 4), (1, 1), (0, 0), 8),
    (4, 6, (3, 2), (3, 1), (0, 1), 11),
    (2, 2, (2, 3), (3, 2), (1, 0), 10),
    (17, 2, (4, 4), (1, 1), (1, 1), 7),
    (9, 1, (3, 2), (1, 1), (0, 1), 6),
    (9, 1, (3, 3), (2, 2), (0, 0), 8),
]


@pytest.mark.parametrize(("before", "after", "kernel", "stride", "padding", "side"), SHAPES)
def test_the_weights_gradient_is_autograds(before, after, kernel, stride, padding, side, seed, float64):
    x = torch.randn(3, before, side, side + 1, requires_grad=True)
    weight = torch.randn(after, before, *kernel, requires_grad=True)
    y = functional.conv2d(x, weight, stride=stride, padding=padding)
    gradient = torch.randn_like(y, requires_grad=True)
    (expected,) = torch.autograd.grad(y, weight, gradient, create_graph=True)
    got = weight_gradient(x, gradient, kernel, stride, padding)
    torch.testing.assert_close(got, expected)
    # exact Hessians differentiate it once more
    direction = torch.randn_like(got)
    ours, theirs = (torch.autograd.grad((g * direction).sum(), [x, gradient]) for g in (got, expected))
    torch.testing.assert_close(ours, theirs)


LAYERS = {
    "convolution": lambda: nn.Conv2d(3, 8, 4, stride=2, padding=1),
    "no-bias": lambda: nn.Conv2d(3, 8, (3, 2), bias=False),
    "few-pixels": lambda: nn.Conv2d(24, 32, (7, 6), stride=2),
    "few-pixels-no-bias": lambda: nn.Conv2d(24, 32, 7, padding=1, stride=4, bias=False),
    "few-pixels-transposed": lambda: nn.Sequential(
        nn.AvgPool2d(3), nn.ConvTranspose2d(24, 32, 4, stride=2, padding=1, output_padding=1)
    ),
    "transposed": lambda: nn.ConvTranspose2d(3, 8, 4, stride=2, padding=1, output_padding=1),
    "transposed-1": lambda: nn.ConvTranspose2d(3, 8, (2, 4), bias=False),
    "groups": lambda: nn.Conv2d(4, 8, 3, groups=2),
    "dilation": lambda: nn.Conv2d(4, 8, 3, dilation=2),
    "same": lambda: nn.Conv2d(4, 8, 3, padding="same"),
    "transposed-groups": lambda: nn.ConvTranspose2d(4, 8, 3, groups=2),
    "one-dimensional": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 8, 3)),
}


def _gradients(layer, x, mode, **autocast):
    with torch.autocast("cpu", torch.bfloat16, **autocast):
        if mode is None:
            y = layer(x)
        else:
            with mode:
                y = layer(x)
    loss = (y.float() * torch.linspace(-1, 2, y.numel()).view(y.shape)).sum()
    return y, *torch.autograd.grad(loss, [x, *layer.parameters()])


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_pytorchs_in_half_precision(name, seed):
    layer = LAYERS[name]()
    channels = next(m for m in layer.modules() if hasattr(m, "in_channels")).in_channels
    x = torch.randn(4, channels, 9, 8, requires_grad=True)
    ours, theirs = _gradients(layer, x, MatrixWeightGradients()), _gradients(layer, x, None)
    exact = _gradients(layer, x, None, enabled=False)
    for a, b, c in zip(ours, theirs, exact, strict=True):
        assert a.dtype == b.dtype
        assert (a.float() - c).norm() <= 1.5 * (b.float() - c).norm() + 1e-6 * c.norm()
        assert (a.float() - c).norm() < 0.01 * c.norm()


class _Counted(TorchDispatchMode):
    """Counts the gradients of weights and of inputs that are PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = self.weights = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.convolution_backward:
            self.inputs += args[-1][0]
            self.weights += args[-1][1]
        return func(*args, **(kwargs or {}))


def _model(structure):
    """More channels than pixels in every convolution."""
    encoder = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ELU(), nn.Flatten(), nn.Linear(32 * 16, 20), nn.ELU())
    decoder = nn.Sequential(
        nn.Linear(3, 32 * 4),
        nn.Unflatten(1, (32, 2, 2)),
        nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ELU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ELU(),
        nn.Conv2d(32, 32, 1),
    )
    model = Autoencoder(encoder, decoder, latents=3, structure=structure)
    return model.to(memory_format=torch.channels_last)


OBJECTIVES = {
    "beta-vae": (posteriors.Diagonal(), objectives.BetaVAE(0.2)),
    "taylor": (posteriors.Diagonal(), objectives.Taylor(0.2)),
    "grae": (None, objectives.GRAE(0.2)),
    "chunks": (None, objectives.GRAE(0.2, estimator=curvature.Exact(chunk_size=2))),
    "fraction": (None, objectives.GRAE(0.2, estimator=curvature.Fraction(curvature.Exact(), 0.25))),
    "columns": (None, objectives.GRAE(0.2, structure=posteriors.Diagonal(), estimator=curvature.Columns(1))),
}


def _step(model, objective, x, half, mode):
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        if mode:
            with MatrixWeightGradients(), _Counted() as counted:
                loss = objective(model, x, torch.Generator().manual_seed(0)).mean()
                loss.backward()
            assert counted.weights == 0
        else:
            loss = objective(model, x, torch.Generator().manual_seed(0)).mean()
            loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_inside_it(name, seed):
    """No weight gradient is left to PyTorch, whatever transform is on; values and gradients stay near float32's."""
    structure, objective = OBJECTIVES[name]
    model, x = _model(structure), torch.rand(16, 32, 4, 4)
    loss, gradient = _step(copy.deepcopy(model), objective, x, half=True, mode=True)
    plain_loss, plain = _step(copy.deepcopy(model), objective, x, half=True, mode=False)
    exact_loss, exact = _step(copy.deepcopy(model), objective, x, half=False, mode=False)
    torch.testing.assert_close(loss, exact_loss, rtol=0.01, atol=0)
    torch.testing.assert_close(loss, plain_loss, rtol=0.005, atol=0)
    assert (gradient - exact).norm() < 0.1 * exact.norm()
    assert (gradient - exact).norm() < 1.3 * (plain - exact).norm()


def test_exact_hessians_go_through_in_half_precision(seed):
    """Forward mode over reverse mode, and gradients of the result."""
    objective = objectives.Taylor(0.2, curvature="hessian")
    model, x = _model(posteriors.Diagonal()), torch.rand(16, 32, 4, 4)

    def step(half, mode):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half), mode:
            terms = objective(model, x, torch.Generator().manual_seed(0))
            terms.mean().backward()
        return terms.parts["curvature"].detach(), torch.cat([p.grad.flatten() for p in model.parameters()])

    exact = step(False, nullcontext())
    for ours, plain, right in zip(step(True, MatrixWeightGradients()), step(True, nullcontext()), exact, strict=True):
        assert (ours - right).norm() < 0.1 * right.norm()
        assert (ours - right).norm() < 1.3 * (plain - right).norm()


def test_outside_autocast_and_in_double_nothing_changes(seed, float64):
    layer, x = nn.Conv2d(2, 3, 3), torch.randn(2, 2, 5, 5, requires_grad=True)
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            with MatrixWeightGradients():
                ours = layer(x)
            theirs = layer(x)
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype


FEW = {
    "convolution": (lambda: nn.Conv2d(70, 64, 4, stride=2, padding=1), (3, 70, 4, 5)),
    "no-bias": (lambda: nn.Conv2d(64, 64, (4, 3), bias=False), (3, 64, 5, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(64, 65, 4, stride=2, padding=1, output_padding=1), (3, 64, 2, 2)),
}


FEW_OUTPUTS = {
    "last-layer": (lambda: nn.Conv2d(6, 3, 3, padding=1), (3, 6, 7, 9)),
    "no-padding": (lambda: nn.Conv2d(5, 8, (4, 2), bias=False), (2, 5, 6, 7)),
    "much-padding": (lambda: nn.Conv2d(2, 1, (3, 5), padding=(2, 3)), (3, 2, 4, 3)),
    "row": (lambda: nn.Conv2d(4, 2, (1, 2)), (3, 4, 5, 3)),
}


def test_kernels_of_one_pixel_are_pytorchs(seed):
    """Which finds both gradients together, and no slower."""
    with MatrixWeightGradients(), _Counted() as counted:
        nn.Conv2d(4, 2, 1)(torch.randn(3, 4, 5, 3, requires_grad=True)).sum().backward()
    assert (counted.inputs, counted.weights) == (1, 1)


@pytest.mark.parametrize("name", [*FEW, *FEW_OUTPUTS])
def test_in_float32_a_layers_gradients_are_pytorchs_with_one_of_them_by_other_means(name, seed):
    make, shape = (FEW | FEW_OUTPUTS)[name]
    layer, x = make(), torch.randn(shape, requires_grad=True)
    with MatrixWeightGradients(), _Counted() as counted:
        y = layer(x)
        loss = (y.square() * torch.linspace(-1, 2, y.numel()).view(y.shape)).sum()
        ours = torch.autograd.grad(loss, [x, *layer.parameters()], create_graph=True)
    assert (counted.weights if name in FEW else counted.inputs) == 0
    layer = copy.deepcopy(layer).double()
    y = layer(x.double())
    loss = (y.square() * torch.linspace(-1, 2, y.numel()).view(y.shape)).sum()
    exact = torch.autograd.grad(loss, [x, *layer.parameters()], create_graph=True)
    for a, b in zip(ours, exact, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 1e-5 * b.norm()
    # and once more, as exact Hessians do
    (second,), (expected,) = (torch.autograd.grad(sum(g.square().sum() for g in of), x) for of in (ours, exact))
    assert (second - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("name", LAYERS)
def test_in_float32_other_layers_are_pytorchs_to_the_bit(name, seed):
    layer = LAYERS[name]()
    channels = next(m for m in layer.modules() if hasattr(m, "in_channels")).in_channels
    x = torch.randn(4, channels, 9, 8, requires_grad=True)
    found, expected = (_gradients(layer, x, mode, enabled=False) for mode in (MatrixWeightGradients(), None))
    if name == "no-bias":  # to few channels with stride 1
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    else:
        assert all(map(torch.equal, found, expected))


def _transforms(layer, x):
    """The layer under forward mode, reverse mode and ``vmap``."""
    tangent = torch.randn_like(x)
    parameters = dict(layer.named_parameters())
    directions = {name: torch.randn_like(parameter) for name, parameter in parameters.items()}
    ones = torch.ones(2, 64, 2, 2)

    def pushed():
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(layer(forward_ad.make_dual(x, tangent))).tangent

    return (
        pushed,
        lambda: torch.func.jvp(layer, (x,), (tangent,))[1],
        lambda: torch.func.jvp(lambda p: torch.func.functional_call(layer, p, (x,)), (parameters,), (directions,))[1],
        lambda: torch.func.vjp(lambda x: layer(x).float(), x)[1](ones)[0],
        lambda: torch.vmap(layer)(x.unsqueeze(1)),
    )


def test_in_float32_transforms_and_forward_mode_go_through(seed):
    for run in _transforms(nn.Conv2d(64, 64, 4, padding=1), torch.randn(2, 64, 3, 3)):
        expected = run()
        with MatrixWeightGradients():
            torch.testing.assert_close(run(), expected)


@pytest.mark.parametrize(("kind", "kernel"), [(nn.Conv2d, 4), (nn.ConvTranspose2d, 2)])
def test_in_half_precision_transforms_and_forward_mode_go_through(kind, kernel, seed):
    for run in _transforms(kind(64, 64, kernel, padding=1), torch.randn(2, 64, 3, 3)):
        expected = run()
        with torch.autocast("cpu", torch.bfloat16), MatrixWeightGradients():
            found = run()
        assert found.shape == expected.shape
        # rounding to 8 bits of input, weight and result
        assert (found.float() - expected).norm() <= 2**-8 * expected.norm()


CALLS = {
    "tuple-of-one": lambda layer, x: functional.conv2d(x, layer.weight, stride=(2,), padding=(1,)),
    "list": lambda layer, x: functional.conv2d(x, layer.weight, stride=[2, 1], padding=[1, 0]),
    "no-data": lambda layer, x: layer(x[:0]),
    "transposed": lambda layer, x: functional.conv_transpose2d(x[:, :, :2, :2], layer.weight),
    "transposed-strides": lambda layer, x: functional.conv_transpose2d(x[:, :, :2, :2], layer.weight, None, 2, 1, (1,)),
}


@pytest.mark.parametrize("name", CALLS)
def test_in_float32_calls_of_every_kind_are_pytorchs(name, seed):
    layer, x = nn.Conv2d(64, 64, 3), torch.randn(2, 64, 4, 4)

    def gradients():
        y = CALLS[name](layer, x)
        several = torch.randn(3, *y.shape, generator=torch.Generator().manual_seed(0))
        one = torch.autograd.grad(y, layer.weight, several[0], retain_graph=True)
        return y, *one, *torch.autograd.grad(y, layer.weight, several, is_grads_batched=True)

    expected = gradients()
    with MatrixWeightGradients(), _Counted() as counted:
        found = gradients()
    assert counted.weights == 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


REFUSED = {
    "three-strides": lambda layer, x: functional.conv2d(x, layer.weight, stride=(1, 2, 1)),
    "no-strides": lambda layer, x: functional.conv2d(x, layer.weight, stride=()),
    "stride-of-zero": lambda layer, x: functional.conv2d(x, layer.weight, stride=0),
    "weight-of-three-dimensions": lambda layer, x: functional.conv2d(x, layer.weight[0]),
    "nothing-to-transpose": lambda layer, x: functional.conv_transpose2d(x[:, :, :0], layer.weight),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_pytorch_refuses_is_refused_by_pytorch(name, seed):
    layer, x = nn.Conv2d(64, 64, 3), torch.randn(2, 64, 4, 4)
    with pytest.raises(RuntimeError) as expected:
        REFUSED[name](layer, x)
    with MatrixWeightGradients(), pytest.raises(RuntimeError) as found:
        REFUSED[name](layer, x)
    assert str(found.value) == str(expected.value)


class _Doubled(torch.Tensor):
    """Layers apply to twice its values."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            plain = [2 * arg.as_subclass(torch.Tensor) if isinstance(arg, cls) else arg for arg in args]
            return func(*plain, **(kwargs or {}))


def test_other_kinds_of_tensors_decide_first(seed):
    layer, x = nn.Conv2d(18, 20, 3), torch.randn(2, 18, 5, 5)
    with torch.autocast("cpu", torch.bfloat16), MatrixWeightGradients(), _Counted() as counted:
        y = layer(x.as_subclass(_Doubled))
        y.float().sum().backward()
    assert type(y) is torch.Tensor
    assert counted.weights == 0
    torch.testing.assert_close(y.float(), layer(2 * x), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("bf16", "compiled"), [(False, False), (True, False), (False, True)])
def test_training_computes_inside_it_unless_the_networks_are_compiled(bf16, compiled, seed):
    encoder = nn.Sequential(nn.Conv2d(64, 64, 4, padding=1), nn.Flatten(), nn.Linear(256, 4))
    model = Autoencoder(encoder, nn.Linear(2, 3), latents=2)
    module = Training(model, objectives.BetaVAE(1.0), torch.optim.Adam(model.parameters()), seed=0, bf16=bf16)
    module.compiled = compiled
    with module.precision(), _Counted() as counted:
        model.encoder(torch.randn(2, 64, 3, 3)).float().sum().backward()
    assert counted.weights == compiled
