import itertools
import math

import pytest
import torch

from curvae.errors import InputError
from curvae.geometry import energy, length, metric_energy, metric_length, pullback

D = torch.float64


def helix(z: torch.Tensor) -> torch.Tensor:
    return torch.stack([2 * z[:, 0].cos(), 2 * z[:, 0].sin(), z[:, 1]], dim=1)


def wiggle(nodes: int) -> torch.Tensor:
    t = torch.linspace(0, 1, nodes, dtype=D)
    return torch.stack([torch.stack([3 * t, t**2], 1), torch.stack([t, torch.sin(3 * t)], 1)])


def test_against_arc_length_by_quadrature() -> None:
    # |γ'|² = 4·9 + 4t² and 4 + 9cos²(3t)
    t = (torch.arange(200_000, dtype=D) + 0.5) / 200_000
    squared = torch.stack([36 + 4 * t**2, 4 + 9 * torch.cos(3 * t) ** 2])
    exact_length, exact_energy = squared.sqrt().mean(1), squared.mean(1) / 2
    curve = wiggle(2001)
    for measured in (length(helix, curve), metric_length(lambda z: pullback(helix, z), curve)):
        torch.testing.assert_close(measured, exact_length, rtol=1e-6, atol=0)
    for measured in (energy(helix, curve), metric_energy(lambda z: pullback(helix, z), curve)):
        torch.testing.assert_close(measured, exact_energy, rtol=1e-6, atol=0)


def test_convergence_is_of_second_order_and_the_polygon_is_shorter() -> None:
    fine = length(helix, wiggle(50_001))
    errors = [(fine - length(helix, wiggle(n))) for n in (51, 101, 201)]
    assert (errors[0] > 0).all()
    for coarse, finer in itertools.pairwise(errors):
        torch.testing.assert_close(coarse / finer, torch.full((2,), 4.0, dtype=D), rtol=0.02, atol=0)


def test_length_squared_is_at_most_twice_the_energy() -> None:
    curve = torch.randn(5, 9, 2, generator=torch.Generator().manual_seed(0), dtype=D)
    assert (length(helix, curve) ** 2 <= 2 * energy(helix, curve)).all()
    # equal at constant speed: a straight line on the cylinder unrolled
    line = torch.linspace(0, 1, 9, dtype=D)[None, :, None] * torch.tensor([1.0, 2.0], dtype=D)
    torch.testing.assert_close(length(helix, line) ** 2, 2 * energy(helix, line))
    unrolled = metric_length(lambda z: pullback(helix, z), line)
    torch.testing.assert_close(unrolled, torch.tensor([math.hypot(2.0, 2.0)], dtype=D))


def test_metric_length_takes_the_metric_half_way() -> None:
    # up the hyperbolic plane from y = 1 to 3: ∫ dy/y = log 3, with the midpoint rule's second order
    def hyperbolic(z: torch.Tensor) -> torch.Tensor:
        return torch.eye(2, dtype=D) / z[:, 1, None, None] ** 2

    errors = []
    for nodes in (17, 33):
        y = torch.linspace(1, 3, nodes, dtype=D)
        errors.append(abs(metric_length(hyperbolic, torch.stack([0 * y, y], dim=1)[None]).item() - math.log(3)))
    assert errors[1] < 2e-4
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.01)


def test_image_shaped_decoders_and_gradients() -> None:
    curve = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1), dtype=D).requires_grad_()
    torch.testing.assert_close(length(lambda z: helix(z).unflatten(1, (3, 1, 1)), curve), length(helix, curve))
    metric = lambda z: pullback(helix, z)  # noqa: E731
    assert torch.autograd.gradcheck(lambda c: (energy(helix, c), length(helix, c)), curve)
    assert torch.autograd.gradcheck(lambda c: (metric_energy(metric, c), metric_length(metric, c)), curve)


def test_bad_input_is_one_clear_line() -> None:
    for measure in (length, energy):
        with pytest.raises(InputError, match="T >= 2"):
            measure(helix, torch.zeros(1, 1, 2))
    with pytest.raises(InputError, match="T >= 2"):
        metric_length(lambda z: pullback(helix, z), torch.zeros(1, 1, 2))


def test_what_is_no_metric_has_no_length() -> None:
    """Negative by rounding is zero; by more it is not clamped."""
    curve = torch.tensor([[[0.0, 0.0], [1.0, 2.0]]], dtype=D)
    for corner, expected in ((-1.0, math.nan), (1.0, math.sqrt(5)), (-0.25 - 1e-17, 0.0)):
        metric = torch.diag(torch.tensor([1.0, corner], dtype=D))
        found = metric_length(lambda z, metric=metric: metric.expand(len(z), 2, 2), curve).item()
        assert found == pytest.approx(expected, nan_ok=True)


def test_curves_that_wait_have_a_gradient() -> None:
    curve = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [2.0, 3.0]]], dtype=D)
    for waits, measure in itertools.product(
        (True, False), (length, lambda f, c: metric_length(lambda z: pullback(f, z), c))
    ):
        part = curve if waits else curve[:, [0, 1, 3]]
        part = part.clone().requires_grad_()
        slope = torch.autograd.grad(measure(lambda z: z * torch.tensor([2.0, 1.0]), part).sum(), part)[0]
        # by the unit vectors of the steps that there are: 4 sqrt(5) and so on
        w = torch.tensor([2.0, 1.0], dtype=D)
        units = [w * w * step / (w * step).norm() for step in (curve[0, 1], curve[0, 3] - curve[0, 1])]
        torch.testing.assert_close(slope[0, 0], -units[0])
        torch.testing.assert_close(slope[0, -1], units[1])
        assert slope.isfinite().all()


@pytest.mark.usefixtures("as_shipped")
def test_whole_numbers_and_other_shapes_are_one_clear_line() -> None:
    for measure in (length, energy):
        with pytest.raises(InputError, match="the curve is of torch.int64; expected floating-point latents"):
            measure(helix, torch.zeros(1, 3, 2).long())
    for measured in (metric_length, metric_energy):
        with pytest.raises(InputError, match=r"the metric returned shape \(2, 2\) for latents \(8, 2\)"):
            measured(lambda _: torch.eye(2, dtype=D), wiggle(5))
