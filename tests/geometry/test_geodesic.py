from functools import partial

import pytest
import torch
from torch import nn

from curvae import posteriors
from curvae.errors import InputError
from curvae.geometry import christoffel, energy, from_covariance, geodesic, length, metric_energy, pullback

D = torch.float64


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sphere(z: torch.Tensor, radius: float = 1.5) -> torch.Tensor:
    theta, phi = z.unbind(1)
    return radius * torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], dim=1)


def network(seed: int = 0) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 6)).double()
    for parameter in net.parameters():
        parameter.data = 0.9 * torch.randn(parameter.shape, generator=gen(seed), dtype=D)
    return net


START = torch.tensor([[0.4, 0.0], [1.0, -0.5], [0.6, 0.2], [2.0, 0.1]], dtype=D)
END = torch.tensor([[0.5, 2.2], [1.9, 0.7], [0.6, 2.0], [2.4, 1.8]], dtype=D)


@pytest.mark.parametrize("nodes", [3, 9, 33, 100])
def test_great_circles_on_a_sphere(nodes: int) -> None:
    path = geodesic(partial(energy, sphere), START, END, nodes=nodes)
    assert path.curve.shape == (4, nodes, 2)
    assert torch.equal(path.curve[:, 0], START)
    assert torch.equal(path.curve[:, -1], END)
    a, b = sphere(START), sphere(END)
    angle = torch.acos((a * b).sum(1) / 1.5**2)
    # the least polygon has its corners evenly on the great circle
    chords = (nodes - 1) * 2 * 1.5 * torch.sin(angle / (2 * (nodes - 1)))
    torch.testing.assert_close(length(sphere, path.curve), chords, rtol=1e-9, atol=0)
    torch.testing.assert_close((2 * path.energy).sqrt(), chords, rtol=1e-9, atol=0)
    normal = torch.linalg.cross(a, b)
    decoded = sphere(path.curve.flatten(0, 1)).unflatten(0, path.curve.shape[:2])
    assert (decoded @ normal[:, :, None]).abs().max() < 1e-6
    assert (path.energy < path.straight_energy).all()
    line = torch.lerp(START[:, None], END[:, None], torch.linspace(0, 1, nodes, dtype=D)[:, None])
    assert (length(sphere, path.curve) < length(sphere, line)).all()
    assert path.gradient.max() < 1e-6


def test_length_converges_to_the_great_circle() -> None:
    angle = torch.acos((sphere(START) * sphere(END)).sum(1) / 1.5**2)
    path = geodesic(partial(energy, sphere), START, END, nodes=129)
    torch.testing.assert_close(length(sphere, path.curve), 1.5 * angle, rtol=2e-5, atol=0)


def test_a_flat_decoder_has_straight_geodesics() -> None:
    weight = torch.randn(5, 3, generator=gen(1), dtype=D) * torch.tensor([1.0, 10.0, 0.1], dtype=D)
    start, end = torch.randn(2, 6, 3, generator=gen(2), dtype=D)
    path = geodesic(partial(energy, lambda z: z @ weight.mT), start, end)
    line = torch.lerp(start[:, None], end[:, None], torch.linspace(0, 1, 33, dtype=D)[:, None])
    torch.testing.assert_close(path.curve, line, rtol=0, atol=1e-9)
    exact = ((end - start) @ weight.mT).square().sum(1) / 2
    torch.testing.assert_close(path.energy, exact)


def test_a_flat_decoder_in_curved_coordinates_is_straight_in_data_space() -> None:
    basis = torch.linalg.qr(torch.randn(5, 2, generator=gen(3), dtype=D))[0]

    def bent(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([z[:, 0], z[:, 1] + z[:, 0] ** 2], dim=1) @ basis.mT

    start, end = torch.tensor([[-1.0, 0.0]], dtype=D), torch.tensor([[1.5, 0.3]], dtype=D)
    path = geodesic(partial(energy, bent), start, end)
    torch.testing.assert_close(length(bent, path.curve), (bent(end) - bent(start)).norm(dim=1), rtol=1e-12, atol=0)
    t = torch.linspace(0, 1, 33, dtype=D)[:, None]
    torch.testing.assert_close(bent(path.curve[0]), torch.lerp(bent(start), bent(end), t), rtol=0, atol=1e-7)


def test_hyperbolic_plane_by_its_metric_alone() -> None:
    def hyperbolic(z: torch.Tensor) -> torch.Tensor:
        return torch.eye(2, dtype=D) / z[:, 1, None, None] ** 2

    start = torch.tensor([[0.0, 1.0], [-1.0, 0.5]], dtype=D)
    end = torch.tensor([[1.0, 1.5], [1.0, 0.5]], dtype=D)
    distance = torch.acosh(1 + (end - start).square().sum(1) / (2 * start[:, 1] * end[:, 1]))
    errors = []
    for nodes in (33, 65):
        path = geodesic(partial(metric_energy, hyperbolic), start, end, nodes=nodes)
        errors.append(((2 * path.energy).sqrt() / distance - 1).abs().max().item())
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    # geodesics are half circles around a point of the real axis: here of radius √1.25 around 0
    assert (path.curve[1].norm(dim=1) - 1.25**0.5).abs().max() < 1e-3


@pytest.mark.slow
def test_a_networks_geodesics_obey_the_geodesic_equation() -> None:
    decoder = network()
    start, end = torch.tensor([[-1.0, -0.5]], dtype=D), torch.tensor([[1.0, 0.8]], dtype=D)
    path = geodesic(partial(energy, decoder), start, end, nodes=257)
    assert path.energy.item() < 0.99 * path.straight_energy.item()
    points, h = path.curve[0], 1 / 256
    velocity = (points[2:] - points[:-2]) / (2 * h)
    acceleration = (points[2:] - 2 * points[1:-1] + points[:-2]) / h**2
    gamma = christoffel(lambda z: pullback(decoder, z), points[1:-1])
    residual = acceleration + torch.einsum("nkij,ni,nj->nk", gamma, velocity, velocity)
    assert residual.abs().max() < 1e-2 * acceleration.abs().max()


@pytest.mark.slow
def test_the_metric_of_a_posterior_gives_the_same_path_without_a_jacobian_of_the_decoder() -> None:
    decoder, beta = network(), 0.2

    def covariance(z: torch.Tensor) -> torch.Tensor:  # what an encoder at the optimum (11) would return
        return posteriors.Full().optimal(pullback(decoder, z), beta).covariance()

    start, end = torch.tensor([[-1.0, -0.5]], dtype=D), torch.tensor([[1.0, 0.8]], dtype=D)
    by_points = geodesic(partial(energy, decoder), start, end, nodes=65)
    by_posterior = geodesic(
        partial(metric_energy, lambda z: from_covariance(covariance(z), beta)), start, end, nodes=65
    )
    assert (by_points.curve - by_posterior.curve).abs().max() < 1e-2
    assert by_posterior.energy.item() == pytest.approx(by_points.energy.item(), rel=2e-3)


def test_the_units_of_the_latents_do_not_matter() -> None:
    decoder, units = network(), torch.tensor([30.0, 0.03], dtype=D)
    start, end = torch.randn(2, 5, 2, generator=gen(4), dtype=D)
    path = geodesic(partial(energy, decoder), start, end, nodes=17)
    scaled = geodesic(partial(energy, lambda z: decoder(z / units)), start * units, end * units, nodes=17)
    assert path.gradient.max() < 1e-6
    torch.testing.assert_close(scaled.energy, path.energy, rtol=1e-9, atol=0)
    torch.testing.assert_close(scaled.curve / units, path.curve, rtol=0, atol=1e-5)


def test_parameters_collect_no_gradients_and_no_grad_is_fine() -> None:
    decoder = network()
    with torch.no_grad():
        path = geodesic(partial(energy, decoder), START[:1], END[:1], nodes=9)
    assert all(parameter.grad is None for parameter in decoder.parameters())
    assert not path.curve.requires_grad
    assert (path.energy <= path.straight_energy).all()


def test_equal_ends_and_float32() -> None:
    still = geodesic(partial(energy, sphere), START, START, nodes=9)
    assert torch.equal(still.curve, START[:, None].expand(-1, 9, -1))
    assert (still.energy == 0).all()
    single = geodesic(partial(energy, sphere), START.float(), END.float())
    double = geodesic(partial(energy, sphere), START, END)
    assert single.curve.dtype == torch.float32
    assert torch.equal(single.curve[:, -1], END.float())
    torch.testing.assert_close(single.energy.double(), double.energy, rtol=1e-4, atol=0)


def test_a_dead_latent_stays_straight() -> None:
    def decoder(z: torch.Tensor) -> torch.Tensor:
        return sphere(z[:, :2])

    start, end = torch.cat([START, torch.zeros(4, 1, dtype=D)], 1), torch.cat([END, torch.ones(4, 1, dtype=D)], 1)
    path = geodesic(partial(energy, decoder), start, end)
    torch.testing.assert_close(path.curve[..., 2], torch.linspace(0, 1, 33, dtype=D).expand(4, 33))


@pytest.mark.usefixtures("as_shipped")
def test_whole_numbers_are_no_ends() -> None:
    with pytest.raises(InputError, match="expected the same floating-point type"):
        geodesic(partial(energy, sphere), START.long(), END.long())


def test_bad_input_is_one_clear_line() -> None:
    measure = partial(energy, sphere)
    with pytest.raises(InputError, match="nodes is 2"):
        geodesic(measure, START, END, nodes=2)
    with pytest.raises(InputError, match="the ends are torch.float64 and torch.float32"):
        geodesic(measure, START, END.float())
    with pytest.raises(InputError, match="iterations is 0"):
        geodesic(measure, START, END, iterations=0)
    with pytest.raises(InputError, match="not finite"):
        geodesic(measure, torch.full_like(START, torch.nan), END)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.layer = (
            nn.Linear(2, 3 * 8),
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True),
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layer(self.tokens(z).unflatten(1, (3, 8)))


def test_through_attention() -> None:
    """The search needs second derivatives, which PyTorch's fast attention kernels do not have."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = _Attention().double()
    path = geodesic(partial(energy, decoder), START[:2], END[:2], nodes=5)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        plain = geodesic(partial(energy, decoder), START[:2], END[:2], nodes=5)
    torch.testing.assert_close(path.curve, plain.curve)
    assert (path.energy < path.straight_energy).all()


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * ctx.saved_tensors[0].cos()


def test_an_energy_without_a_second_derivative() -> None:
    with pytest.raises(InputError, match="cannot be differentiated: .*must be twice differentiable.*docs/decoders.md"):
        geodesic(partial(energy, _Once.apply), START, END)


def test_no_pairs_have_no_curves() -> None:
    found = geodesic(partial(energy, sphere), START[:0], END[:0], nodes=5)
    assert (found.curve.shape, found.energy.shape, found.gradient.shape) == ((0, 5, 2), (0,), (0,))


def test_in_inference_mode() -> None:
    expected = geodesic(partial(energy, sphere), START, END, nodes=9)
    with torch.inference_mode():
        found = geodesic(partial(energy, sphere), START + 0, END + 0, nodes=9)
    assert torch.equal(found.curve, expected.curve)


def test_a_tolerance_is_not_negative() -> None:
    with pytest.raises(InputError, match="tolerance is -1"):
        geodesic(partial(energy, sphere), START, END, tolerance=-1.0)
