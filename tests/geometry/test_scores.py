import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.optimize import minimize

from curvae.errors import DerivativeError, InputError
from curvae.geometry import (
    affine_flatness,
    christoffel,
    flatness,
    from_covariance,
    hadamard_gap,
    log_magnification,
    log_magnification_of,
    mean_cosine,
    pullback,
)

D = torch.float64


def random_metrics(count: int, dim: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    root = torch.randn(count, dim, dim, generator=torch.Generator().manual_seed(seed), dtype=D)
    return torch.matrix_exp(spread * (root + root.mT) / 2)


def test_flatness_against_its_definition() -> None:
    g = random_metrics(9, 3, 0).numpy()
    mean = g.mean(0)
    expected = np.sqrt(np.mean([np.linalg.norm(m - mean) ** 2 for m in g])) / np.linalg.norm(mean)
    assert flatness(torch.from_numpy(g)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("score", [flatness, affine_flatness])
def test_zero_iff_constant_and_free_of_scale_and_rotation(score) -> None:
    g = random_metrics(9, 3, 1)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=D))[0]
    assert score(g[:1].expand(9, 3, 3)).item() == pytest.approx(0.0, abs=1e-7)
    assert score(g).item() > 0.1
    assert score(7 * g).item() == pytest.approx(score(g).item(), rel=1e-9)
    assert score(rotation.mT @ g @ rotation).item() == pytest.approx(score(g).item(), rel=1e-9)


def test_affine_flatness_is_free_of_linear_maps_and_of_inversion() -> None:
    g = random_metrics(9, 3, 3)
    w = torch.randn(3, 3, generator=torch.Generator().manual_seed(4), dtype=D)
    assert affine_flatness(w.mT @ g @ w).item() == pytest.approx(affine_flatness(g).item(), rel=1e-7)
    assert affine_flatness(torch.linalg.inv(g)).item() == pytest.approx(affine_flatness(g).item(), rel=1e-7)
    assert abs(flatness(w.mT @ g @ w) / flatness(g) - 1) > 1e-2  # the Frobenius score is not


def test_affine_flatness_of_commuting_metrics_is_the_spread_of_log_eigenvalues() -> None:
    logs = torch.randn(20, 4, generator=torch.Generator().manual_seed(5), dtype=D)
    expected = (logs - logs.mean(0)).square().mean().sqrt()
    torch.testing.assert_close(affine_flatness(torch.diag_embed(logs.exp())), expected)


def test_affine_flatness_against_direct_minimisation() -> None:
    g = random_metrics(5, 2, 6, spread=1.5)

    def total(parameters: np.ndarray) -> float:
        factor = np.array([[np.exp(parameters[0]), 0.0], [parameters[1], np.exp(parameters[2])]])
        mean = factor @ factor.T
        return sum((np.log(scipy.linalg.eigvalsh(m, mean)) ** 2).sum() for m in g.numpy())

    best = minimize(total, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000})
    assert affine_flatness(g).item() == pytest.approx(np.sqrt(best.fun / (5 * 2)), rel=1e-8)


def test_affine_flatness_of_widely_spread_metrics() -> None:
    g = random_metrics(30, 4, 7, spread=4.0)
    w = torch.randn(4, 4, generator=torch.Generator().manual_seed(8), dtype=D)
    assert affine_flatness(w.mT @ g @ w).item() == pytest.approx(affine_flatness(g).item(), rel=1e-5)


def test_hadamard_gap_against_its_definition_and_its_invariance() -> None:
    g = random_metrics(6, 4, 9)
    expected = [np.log(np.diag(m)).sum() - np.linalg.slogdet(m)[1] for m in g.numpy()]
    np.testing.assert_allclose(hadamard_gap(g), expected, rtol=1e-10)
    scale = torch.tensor([1e-6, 1.0, 3.0, 1e5], dtype=D)
    torch.testing.assert_close(hadamard_gap(g * scale * scale[:, None]), hadamard_gap(g), rtol=1e-8, atol=1e-10)
    assert (hadamard_gap(g) > 0).all()
    assert hadamard_gap(torch.diag_embed(scale)[None]).item() < 1e-15


def test_hadamard_gap_is_the_looseness_of_the_bound() -> None:
    # (14): Σ log(1 + ‖J_i‖²/β) − log|I + JᵀJ/β|
    j, beta = torch.randn(8, 6, 3, generator=torch.Generator().manual_seed(10), dtype=D), 0.3
    m = torch.eye(3, dtype=D) + j.mT @ j / beta
    bound = torch.log1p(j.square().sum(1) / beta).sum(-1)
    torch.testing.assert_close(hadamard_gap(m), bound - torch.logdet(m))


def test_mean_cosine_against_the_columns_themselves() -> None:
    j = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(11), dtype=D)
    cosine = torch.nn.functional.cosine_similarity
    pairs = torch.stack([cosine(j[:, :, a], j[:, :, b], dim=1).abs() for a, b in ((0, 1), (0, 2), (1, 2))])
    torch.testing.assert_close(mean_cosine(j.mT @ j), pairs.mean(0))
    assert mean_cosine(torch.ones(1, 4, 4, dtype=D)).item() == pytest.approx(1.0)


def test_dead_columns_and_single_latents() -> None:
    j = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(12), dtype=D)
    padded = torch.cat([j, torch.zeros(1, 6, 2, dtype=D)], dim=2)
    for score in (hadamard_gap, mean_cosine):
        torch.testing.assert_close(score(padded.mT @ padded), score(j.mT @ j))
        assert score(torch.full((1, 1, 1), 3.0, dtype=D)).item() == 0.0
        assert score(torch.zeros(1, 2, 2, dtype=D)).item() == 0.0
    parallel = torch.ones(1, 2, 2, dtype=D)
    assert hadamard_gap(parallel).item() == torch.inf


def test_scores_are_differentiable() -> None:
    root = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(13), dtype=D).requires_grad_()
    for score in (hadamard_gap, mean_cosine, flatness):
        assert torch.autograd.gradcheck(lambda r, score=score: score(r @ r.mT + torch.eye(3, dtype=D)), root)


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="leave dead latents out"):
        affine_flatness(torch.diag(torch.tensor([1.0, 0.0])).expand(3, 2, 2))
    with pytest.raises(InputError, match="there are no metrics"):
        affine_flatness(torch.zeros(0, 2, 2))
    with pytest.raises(InputError, match="smallest eigenvalue nan"):
        affine_flatness(torch.full((3, 2, 2), torch.nan))
    with pytest.raises(InputError, match="norm 0"):
        flatness(torch.zeros(3, 2, 2))


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
@pytest.mark.parametrize("outputs", [3, 30, 784])
def test_singular_metrics_are_singular_in_every_draw_and_at_every_scale(outputs: int, scale: float) -> None:
    """One rule for both ways to the volume, for the gap, and for those who need an inverse."""
    generator = torch.Generator().manual_seed(outputs)
    columns = torch.randn(200, outputs, 2, generator=generator, dtype=D)
    columns = columns @ torch.randn(200, 2, 3, generator=generator, dtype=D)
    regular = torch.linalg.qr(torch.randn(200, outputs, 3, generator=generator, dtype=D))[0]
    regular = regular @ torch.tensor([[1.0, 0.9, 0.5], [0.0, 0.3, 0.7], [0.0, 0.0, 0.4]], dtype=D)
    uneven = torch.tensor([1.0, 1e-6, 1e6], dtype=D)
    for jacobian in (columns, regular):
        singular = jacobian is columns
        for dtype, unit in ((D, scale), (torch.float32, scale**0.5)):  # its squares must be float32's, too
            j = (unit * jacobian * (uneven if dtype is D else 1.0)).to(dtype)
            g = (j.double().mT @ j.double()).to(dtype)
            by_columns = log_magnification_of(
                lambda z, j=j: (j @ z.unsqueeze(-1)).squeeze(-1), torch.zeros(200, 3).to(j)
            )
            assert (by_columns == -torch.inf).all() == singular
            assert (log_magnification(g) == -torch.inf).all() == singular
            assert (hadamard_gap(g) == torch.inf).all() == singular
            if singular:
                for refuses in (affine_flatness, lambda g: christoffel(lambda z: g, torch.zeros(200, 3).to(g))):
                    with pytest.raises(InputError, match="zero to rounding or below; expected > 0"):
                        refuses(g)
            else:
                exact = torch.linalg.slogdet(regular.mT @ regular).logabsdet / 2 + 3 * math.log(unit)
                torch.testing.assert_close(by_columns.double(), exact, rtol=1e-5, atol=1e-3)
                torch.testing.assert_close(log_magnification(g).double(), exact, rtol=1e-5, atol=1e-3)


def test_what_is_no_metric_has_no_volume() -> None:
    indefinite = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=D))
    hidden = torch.tensor([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=D)
    broken = torch.full((3, 3), torch.nan, dtype=D)
    metrics = torch.stack([torch.eye(3, dtype=D), indefinite, hidden, broken])
    for score in (log_magnification, hadamard_gap):
        assert score(metrics).isnan().tolist() == [False, True, True, True]
    assert from_covariance(metrics[[0, 3]], 1.0).isnan().flatten(1).all(1).tolist() == [False, True]
    points = torch.tensor([[0.0], [torch.nan]], dtype=D)
    assert log_magnification_of(lambda z: 2 * z + z * z, points).isnan().tolist() == [False, True]


def test_the_volume_is_twice_differentiable_where_stretches_are_equal() -> None:
    z = torch.zeros(1, 2, dtype=D, requires_grad=True)

    def bowl(z: torch.Tensor) -> torch.Tensor:  # a Jacobian with equal singular values at 0
        return torch.cat([z, z.square().sum(1, keepdim=True)], dim=1)

    assert torch.autograd.gradgradcheck(lambda z: log_magnification_of(bowl, z), z)
    assert torch.autograd.gradgradcheck(lambda z: log_magnification(pullback(bowl, z)), z)


@pytest.mark.parametrize("score", [flatness, affine_flatness])
def test_gradients_where_eigenvalues_are_equal(score: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Of spheres of other sizes, by differences; and of the same metric everywhere, the minimum, which has none."""
    sizes = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    metrics = (sizes[:, None, None] * torch.eye(2, dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(score(metrics), metrics)
    way = torch.randn(3, 2, 2, dtype=torch.float64)
    way, h = way + way.mT, 1e-5
    ahead, back = (score(metrics.detach() + h * sign * way) for sign in (1, -1))
    assert (slope * way).sum().item() == pytest.approx((ahead - back).item() / (2 * h), rel=1e-6)
    same = torch.eye(2, dtype=torch.float64).repeat(3, 1, 1).requires_grad_()
    assert not torch.autograd.grad(score(same), same)[0].any()


def test_second_derivatives_of_the_affine_flatness_are_refused() -> None:
    g = torch.randn(4, 3, 2, dtype=torch.float64)
    metrics = (g.mT @ g).requires_grad_()
    (slope,) = torch.autograd.grad(affine_flatness(metrics), metrics, create_graph=True)
    with pytest.raises(DerivativeError, match="the dispersion around a Karcher mean has first derivatives only"):
        slope.square().sum().backward()


@pytest.mark.usefixtures("as_shipped")
def test_what_has_no_shape_of_metrics() -> None:
    for score in (flatness, affine_flatness):
        with pytest.raises(InputError, match=r"the metrics have shape \(2, 2\); expected \[N, d, d\]"):
            score(torch.eye(2))
        with pytest.raises(InputError, match="there are no metrics"):
            score(torch.zeros(0, 2, 2))
    for score in (hadamard_gap, mean_cosine, log_magnification):
        with pytest.raises(InputError, match=r"the metrics have shape \(4, 3, 2\); expected square matrices"):
            score(torch.ones(4, 3, 2))
        with pytest.raises(InputError, match=r"have shape \(4, 0, 0\); expected square matrices \[B, d, d\], d >= 1"):
            score(torch.ones(4, 0, 0))


def test_what_is_no_metric_has_no_cosines() -> None:
    """A posterior wider than the prior gives such matrices; their columns have no angles."""
    metrics = torch.tensor([[[-1.0, 0.5], [0.5, 1.0]], [[1.0, 5.0], [5.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
    torch.testing.assert_close(mean_cosine(metrics), torch.tensor([torch.nan, torch.nan, 1.0]), equal_nan=True)
    out_of_use = torch.tensor([[[4.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, -1e-7]]])
    torch.testing.assert_close(mean_cosine(out_of_use), torch.tensor([0.5]))
