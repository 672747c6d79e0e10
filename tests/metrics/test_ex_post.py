"""The density fitted to codes, against scikit-learn and the law it should have."""

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.mixture import GaussianMixture

from curvae.errors import InputError
from curvae.metrics import fit_mixture

pytestmark = pytest.mark.usefixtures("float64", "seed")


def codes(count: int = 600) -> torch.Tensor:
    """Two separated, correlated clouds of unequal weight."""
    first = torch.randn(count, 2) @ torch.tensor([[1.0, 0.8], [0.0, 0.4]]) + torch.tensor([4.0, 0.0])
    second = 0.5 * torch.randn(count, 2) - torch.tensor([3.0, 1.0])
    return torch.where(torch.rand(count, 1) < 0.7, first, second)


def test_density_is_scikit_learns() -> None:
    data = codes()
    oracle = GaussianMixture(3, random_state=5).fit(data.numpy())
    points = 3 * torch.randn(50, 2)
    found = fit_mixture(data, components=3, seed=5).log_prob(points)
    np.testing.assert_allclose(found, oracle.score_samples(points.numpy()), rtol=1e-9)


def test_draws_have_the_densitys_law() -> None:
    density = fit_mixture(codes(), components=2)
    draws = density.sample(20_000, torch.Generator().manual_seed(1))
    near = draws[:, 0] > 0.5
    right = int(density.means[:, 0].argmax())
    share = float(density.weights[right])
    assert float(near.double().mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / 20_000) ** 0.5)
    for component, cloud in ((right, draws[near]), (1 - right, draws[~near])):
        whitened = torch.linalg.solve_triangular(
            density.roots[component], (cloud - density.means[component]).mT, upper=False
        )
        for marginal in whitened.numpy():
            assert scipy.stats.kstest(marginal, "norm").pvalue > 1e-4


def test_one_component_is_the_sample_mean_and_covariance() -> None:
    data = codes()
    density = fit_mixture(data, components=1)
    np.testing.assert_allclose(density.means[0], data.mean(0), rtol=1e-9)
    np.testing.assert_allclose(density.roots[0] @ density.roots[0].mT, np.cov(data.T, ddof=0), rtol=1e-4)


def test_a_seed_repeats_both_fit_and_draws() -> None:
    data = codes()
    first, second = (fit_mixture(data, 4, seed=2).sample(9, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.dtype == torch.get_default_dtype()


def test_an_unused_latent_is_no_obstacle() -> None:
    density = fit_mixture(torch.cat([codes(), torch.zeros(600, 1)], dim=1), components=2)
    assert float(density.sample(100)[:, 2].abs().max()) < 0.01


def test_bad_input(as_shipped: None) -> None:
    for data, components, message in (
        (codes(3), 4, "3 codes for 4 components"),
        (codes(3), 0, "components is 0"),
        (torch.zeros(5), 1, "shape"),
        (torch.full((5, 2), torch.nan), 1, "finite"),
    ):
        with pytest.raises(InputError, match=message):
            fit_mixture(data, components)
    with pytest.raises(InputError, match="n is 0"):
        fit_mixture(codes(), 2).sample(0)


def test_codes_without_a_covariance_are_refused_in_one_line() -> None:
    line = 1e6 * torch.randn(50, 1, generator=torch.Generator().manual_seed(0)).double().expand(-1, 2)
    with pytest.raises(InputError, match="a mixture of 2 cannot be fitted to these codes: .* ill-defined"):
        fit_mixture(line, 2)
    with pytest.raises(InputError, match="random_state"):
        fit_mixture(codes(), 2, seed=-1)


@pytest.mark.usefixtures("as_shipped")
def test_latents_of_another_width_have_no_density() -> None:
    density = fit_mixture(codes().requires_grad_(), 2)
    for z in (torch.zeros(4, 1), torch.zeros(2), torch.zeros(4, 2, 1)):
        with pytest.raises(InputError, match=r"the latents have shape .*; expected \[n, 2\]"):
            density.log_prob(z)
