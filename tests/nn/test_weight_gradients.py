"""bfloat16 convolutions: the weight's gradient against autograd's in float64, and the whole against PyTorch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.nn import HalfConvolutions
from curvae.nn.half import weight_gradient

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
    ours, theirs = _gradients(layer, x, HalfConvolutions()), _gradients(layer, x, None)
    exact = _gradients(layer, x, None, enabled=False)
    for a, b, c in zip(ours, theirs, exact, strict=True):
        assert a.dtype == b.dtype
        assert (a.float() - c).norm() <= 1.5 * (b.float() - c).norm() + 1e-6 * c.norm()
        assert (a.float() - c).norm() < 0.01 * c.norm()


class _Counted(TorchDispatchMode):
    """Counts the weight gradients that are PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.convolution_backward:
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
            with HalfConvolutions(), _Counted() as counted:
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


def test_outside_autocast_and_in_double_nothing_changes(seed, float64):
    layer, x = nn.Conv2d(2, 3, 3), torch.randn(2, 2, 5, 5, requires_grad=True)
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            with HalfConvolutions():
                ours = layer(x)
            theirs = layer(x)
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype


class _Doubled(torch.Tensor):
    """Layers apply to twice its values."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            plain = [2 * arg.as_subclass(torch.Tensor) if isinstance(arg, cls) else arg for arg in args]
            return func(*plain, **(kwargs or {}))


def test_other_kinds_of_tensors_decide_first(seed):
    layer, x = nn.Conv2d(18, 20, 3), torch.randn(2, 18, 5, 5)
    with torch.autocast("cpu", torch.bfloat16), HalfConvolutions(), _Counted() as counted:
        y = layer(x.as_subclass(_Doubled))
        y.float().sum().backward()
    assert type(y) is torch.Tensor
    assert counted.weights == 0
    torch.testing.assert_close(y.float(), layer(2 * x), rtol=0.02, atol=0.02)
