import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as td

from curvae.errors import InputError
from curvae.identifiability import (
    CorrelatedNormal,
    Factorised,
    Mixing,
    Prior,
    gaussian_mixture,
    plane_rotation,
    random_rotation,
)

D = torch.float64
N = 4000
ZERO, ONE = torch.zeros((), dtype=D), torch.ones((), dtype=D)


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


COVARIANCE = torch.tensor([[2.0, 0.8, -0.3], [0.8, 1.0, 0.2], [-0.3, 0.2, 0.5]], dtype=D)
MEANS = torch.tensor([[-3.0, 0.0, 1.0], [2.0, 2.0, -1.0]], dtype=D)
WEIGHTS = torch.tensor([0.35, 0.65], dtype=D)
NORMAL = td.MultivariateNormal(torch.tensor([1.0, -1.0, 0.0], dtype=D), COVARIANCE)
MIXTURE = td.MixtureSameFamily(
    td.Categorical(WEIGHTS), td.MultivariateNormal(MEANS, torch.stack([COVARIANCE, torch.eye(3, dtype=D)]))
)
MARGINALS = (stats.laplace(0, 1), stats.gamma(2.0, scale=1.0), stats.norm(1.0, 0.5))
PRIORS: dict[str, Prior] = {
    "factorised": Factorised([td.Laplace(ZERO, ONE), td.Gamma(2 * ONE, ONE), td.Normal(ONE, ONE / 2)]),
    "correlated normal": CorrelatedNormal(NORMAL),
    "mixture": gaussian_mixture(MIXTURE),
}


def draw(name: str, seed: int, n: int = N) -> torch.Tensor:
    """Draws of each prior by NumPy, not through its c.d.f.s."""
    rng = np.random.default_rng(seed)
    if name == "factorised":
        columns = [marginal.rvs(n, random_state=rng) for marginal in MARGINALS]
        return torch.from_numpy(np.stack(columns, axis=1))
    if name == "correlated normal":
        return torch.from_numpy(rng.multivariate_normal(NORMAL.loc.numpy(), COVARIANCE.numpy(), n))
    parts = [
        rng.multivariate_normal(m, c, n) for m, c in zip(MEANS.numpy(), [COVARIANCE.numpy(), np.eye(3)], strict=True)
    ]
    first = rng.random(n) < WEIGHTS[0].item()
    return torch.from_numpy(np.where(first[:, None], parts[0], parts[1]))


def marginal_cdf(name: str, i: int, z: np.ndarray) -> np.ndarray:
    if name == "factorised":
        return MARGINALS[i].cdf(z)
    if name == "correlated normal":
        return stats.norm(NORMAL.loc[i].item(), COVARIANCE[i, i].sqrt().item()).cdf(z)
    scales = (COVARIANCE[i, i].sqrt().item(), 1.0)
    return sum(
        w * stats.norm(m, s).cdf(z) for w, m, s in zip(WEIGHTS.tolist(), MEANS[:, i].tolist(), scales, strict=True)
    )


def mixing(name: str, seed: int = 0) -> Mixing:
    return Mixing(PRIORS[name], random_rotation(3, gen(seed)))


@pytest.mark.parametrize("name", PRIORS)
def test_the_law_is_preserved(name: str) -> None:
    z = draw(name, seed=1)
    mixed, fresh = mixing(name)(z), draw(name, seed=2)
    # a transform that did nothing would pass: it does not
    assert (mixed - z).abs().mean() > 0.3
    for i in range(3):
        assert stats.kstest(mixed[:, i].numpy(), lambda v, i=i: marginal_cdf(name, i, v)).pvalue > 1e-3
    for direction in torch.randn(8, 3, generator=gen(3), dtype=D):
        assert stats.ks_2samp((mixed @ direction).numpy(), (fresh @ direction).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("name", PRIORS)
def test_a_bare_rotation_does_not_preserve_the_law(name: str) -> None:
    rotated = draw(name, seed=1) @ random_rotation(3, gen(0)).mT
    worst = min(stats.kstest(rotated[:, i].numpy(), lambda v, i=i: marginal_cdf(name, i, v)).pvalue for i in range(3))
    assert worst < 1e-6


@pytest.mark.cases(2)
@pytest.mark.parametrize("name", PRIORS)
def test_density_identity_and_mixing(name: str) -> None:
    r, prior, z = mixing(name), PRIORS[name], draw(name, seed=4, n=12)
    jacobian = torch.stack([torch.func.jacrev(r)(point) for point in z])
    torch.testing.assert_close(r.jacobian(z), jacobian, rtol=1e-10, atol=1e-12)
    log_det = torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(prior.log_prob(z), prior.log_prob(r(z)) + log_det, rtol=0, atol=1e-9)
    torch.testing.assert_close(r.log_abs_det(z), log_det, rtol=0, atol=1e-9)
    off_diagonal = jacobian[:, ~torch.eye(3, dtype=torch.bool)].abs()
    assert off_diagonal.median() > 0.05
    # |det J_r| = 1 is special to a normal prior
    assert (log_det.abs().max() < 1e-9) == (name == "correlated normal")


@pytest.mark.cases(2)
@pytest.mark.parametrize("name", PRIORS)
def test_inverse(name: str) -> None:
    r, z = mixing(name, seed=5), draw(name, seed=6, n=500)
    torch.testing.assert_close(r.inverse(r(z)), z, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(r(r.inverse(z)), z, rtol=1e-8, atol=1e-8)
    # r is a group action: first U, then V is VU
    u, v = random_rotation(3, gen(7)), random_rotation(3, gen(8))
    prior = PRIORS[name]
    torch.testing.assert_close(Mixing(prior, v)(Mixing(prior, u)(z)), Mixing(prior, v @ u)(z), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", PRIORS)
def test_the_data_keep_their_law_under_the_transformed_decoder(name: str) -> None:
    weights = torch.randn(3, 5, generator=gen(9), dtype=D)

    def decoder(z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(z @ weights)

    noise = torch.randn(2, N, 5, generator=gen(10), dtype=D) * 0.1
    x = decoder(draw(name, seed=11)) + noise[0]
    x_mixed = decoder(mixing(name)(draw(name, seed=12))) + noise[1]
    for direction in torch.cat([torch.eye(5, dtype=D), torch.randn(6, 5, generator=gen(13), dtype=D)]):
        assert stats.ks_2samp((x @ direction).numpy(), (x_mixed @ direction).numpy()).pvalue > 1e-3


def test_linear_normal_model_has_exactly_the_same_data_density() -> None:
    r = mixing("correlated normal")
    a, b = torch.randn(5, 3, generator=gen(14), dtype=D), torch.randn(5, generator=gen(15), dtype=D)
    # r is affine: read its matrix off, then compare the two marginals N(E x, Cov x) of x = A r(z) + b + ε
    linear, mean = r.jacobian(NORMAL.loc[None])[0], r(NORMAL.loc)
    eye = 0.1 * torch.eye(5, dtype=D)
    p = td.MultivariateNormal(a @ NORMAL.loc + b, a @ COVARIANCE @ a.mT + eye)
    p_r = td.MultivariateNormal(a @ mean + b, a @ linear @ COVARIANCE @ linear.mT @ a.mT + eye)
    x = torch.randn(20, 5, generator=gen(16), dtype=D)
    torch.testing.assert_close(p.log_prob(x), p_r.log_prob(x), rtol=1e-11, atol=1e-11)
    assert (linear - torch.eye(3, dtype=D)).abs().max() > 0.1


def test_isotropic_normal_prior_is_just_rotated() -> None:
    r = Mixing(Factorised(td.Normal(torch.zeros(2, dtype=D), 1.0)), plane_rotation(25.0))
    z = torch.randn(10, 2, generator=gen(0), dtype=D)
    torch.testing.assert_close(r(z), z @ plane_rotation(25.0).mT, rtol=1e-14, atol=1e-14)


def test_random_rotations_are_rotations_and_haar() -> None:
    draws = torch.stack([random_rotation(3, gen(seed)) for seed in range(600)])
    torch.testing.assert_close(draws @ draws.mT, torch.eye(3, dtype=D).expand(600, 3, 3))
    torch.testing.assert_close(torch.linalg.det(draws), torch.ones(600, dtype=D))
    # under the Haar measure of SO(3) each entry is uniform on [−1, 1]
    for i in range(3):
        for j in range(3):
            assert stats.kstest(draws[:, i, j].numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert random_rotation(1, gen(0)).item() == 1.0


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"expected \(3, 3\)"):
        Mixing(PRIORS["mixture"], plane_rotation(10.0))
    with pytest.raises(InputError, match="not orthogonal"):
        Mixing(PRIORS["mixture"], torch.ones(3, 3, dtype=D))
    with pytest.raises(InputError, match="not orthogonal"):
        Mixing(PRIORS["mixture"], torch.full((3, 3), torch.nan, dtype=D))
    with pytest.raises(InputError, match="dimension is 0"):
        random_rotation(0)


def test_a_prior_of_another_type_than_the_rotation() -> None:
    prior = Factorised(td.Laplace(torch.zeros(2), 1.0))
    r, z = Mixing(prior, plane_rotation(30.0)), torch.randn(5, 2, generator=gen(0))
    expected = Mixing(Factorised(td.Laplace(torch.zeros(2, dtype=D), 1.0)), plane_rotation(30.0))(z.double())
    assert r(z).dtype == torch.float32
    torch.testing.assert_close(r(z), expected.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(r.inverse(r(z)), z, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("as_shipped")
def test_points_of_another_shape() -> None:
    r = mixing("mixture")
    with pytest.raises(InputError, match=r"dimension is 2\.5"):
        random_rotation(2.5)  # type: ignore[arg-type]
    for points in (torch.zeros(r.prior.dim, dtype=D), torch.zeros(2, 3, r.prior.dim, dtype=D)):
        with pytest.raises(InputError, match=r"the points have shape .*; expected \[B, "):
            r.jacobian(points)
    normal = CorrelatedNormal(td.MultivariateNormal(torch.zeros(3), torch.eye(3), validate_args=False))
    with pytest.raises(InputError, match=r"the points have shape \(4, 1\); expected \[..., 3\]"):
        normal.log_prob(torch.zeros(4, 1))
