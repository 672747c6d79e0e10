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
    Pushforward,
    Transform,
    best_objective,
    both_sides,
    gaussian_mixture,
    integrand,
    log_volume,
    plane_rotation,
    posterior_precision,
    random_rotation,
    rotation_drop,
    stays_mean_field,
)

D = torch.float64
ONE = torch.ones((), dtype=D)


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orthogonal_columns(seed: int, outputs: int = 5, norms: tuple[float, ...] = (2.0, 1.0, 0.5)) -> torch.Tensor:
    basis = torch.linalg.qr(torch.randn(outputs, len(norms), generator=gen(seed), dtype=D))[0]
    return basis * torch.tensor(norms, dtype=D)


PRIORS: dict[str, Prior] = {
    "isotropic": Factorised(td.Normal(torch.zeros(3, dtype=D), ONE)),
    "laplace and gamma": Factorised([td.Laplace(0 * ONE, ONE), td.Gamma(2 * ONE, ONE), td.Normal(ONE, ONE / 2)]),
    "correlated": CorrelatedNormal(
        td.MultivariateNormal(torch.ones(3, dtype=D), torch.eye(3, dtype=D) + 0.5 * torch.ones(3, 3, dtype=D))
    ),
    "mixture": gaussian_mixture(
        td.MixtureSameFamily(
            td.Categorical(torch.tensor([0.4, 0.6], dtype=D)),
            td.MultivariateNormal(
                torch.tensor([[-2.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=D), torch.eye(3, dtype=D).expand(2, 3, 3)
            ),
        )
    ),
}


@pytest.mark.covering
@pytest.mark.parametrize("beta", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("name", PRIORS)
def test_both_sides_of_theorem_1_agree_sample_by_sample(name: str, beta: float) -> None:
    prior = PRIORS[name]
    r = Mixing(prior, random_rotation(3, gen(0)))
    assert isinstance(r, Transform)
    weights, x = torch.randn(3, 4, generator=gen(1), dtype=D), torch.randn(2, 4, generator=gen(2), dtype=D)
    # amortised q: another mean for each of two data, inside every prior's support
    q = td.Normal(torch.tensor([[0.5, 2.0, 0.1], [-0.4, 3.0, 1.0]], dtype=D), torch.tensor([0.3, 0.2, 0.4], dtype=D))
    z = q.mean + q.stddev * torch.randn(6, 2, 3, generator=gen(3), dtype=D)

    def log_likelihood(z: torch.Tensor) -> torch.Tensor:
        return td.Normal(torch.tanh(z @ weights), 0.3).log_prob(x).sum(-1)

    left, right = both_sides(z, r, log_likelihood, lambda z: q.log_prob(z).sum(-1), prior, beta)
    assert left.shape == (6, 2)
    torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-10)
    # not because r does nothing
    untouched = integrand(z, log_likelihood, lambda z: q.log_prob(z).sum(-1), prior.log_prob, beta)
    assert (left - untouched).abs().median() > 0.1


def test_the_identity_fails_for_a_transform_that_moves_the_prior() -> None:
    # a bare rotation under a Laplace prior
    prior = PRIORS["laplace and gamma"]
    r = Mixing(PRIORS["isotropic"], torch.block_diag(plane_rotation(30.0), torch.ones(1, 1, dtype=D)))
    z = 0.3 * torch.randn(20, 3, generator=gen(3), dtype=D) + torch.tensor([1.0, 3.0, 1.0], dtype=D)
    q = td.Normal(torch.tensor([1.0, 3.0, 1.0], dtype=D), 0.3)
    left, right = both_sides(z, r, lambda z: z.sum(-1), lambda z: q.log_prob(z).sum(-1), prior, 1.0)
    assert (left - right).abs().median() > 0.1


def test_pushforward_of_a_normal_under_a_rotation_is_a_normal() -> None:
    rotation = random_rotation(3, gen(4))
    q = td.Normal(torch.randn(3, generator=gen(5), dtype=D), torch.tensor([0.3, 1.0, 2.0], dtype=D))
    r_q = Pushforward(lambda z: q.log_prob(z).sum(-1), Mixing(PRIORS["isotropic"], rotation))
    exact = td.MultivariateNormal(rotation @ q.mean, rotation @ torch.diag(q.variance) @ rotation.mT)
    z = torch.randn(2, 7, 3, generator=gen(6), dtype=D)
    torch.testing.assert_close(r_q.log_prob(z), exact.log_prob(z), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_best_objective_is_what_optimising_q_finds(block: int) -> None:
    weight = torch.randn(5, 3, generator=gen(7), dtype=D)
    bias, x = torch.randn(5, generator=gen(8), dtype=D), torch.randn(1, 5, generator=gen(9), dtype=D)
    noise, beta = 0.7, 0.3
    pattern = torch.block_diag(*[torch.ones(n, n, dtype=D) for n in {1: (1, 1, 1), 2: (2, 1), 3: (3,)}[block]])
    mean, root = torch.zeros(3, dtype=D, requires_grad=True), torch.eye(3, dtype=D).requires_grad_()
    optimiser = torch.optim.LBFGS([mean, root], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def objective() -> torch.Tensor:
        factor = torch.tril(root) * pattern
        q = td.MultivariateNormal(mean, factor @ factor.mT)
        # E_q log p(x|z), exactly: the likelihood at the mean less the trace term
        expected = td.Normal(weight @ mean + bias, noise).log_prob(x[0]).sum()
        expected = expected - (weight @ factor).square().sum() / (2 * noise**2)
        prior = td.MultivariateNormal(torch.zeros(3, dtype=D), torch.eye(3, dtype=D))
        return expected - beta * td.kl_divergence(q, prior)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = -objective()
        loss.backward()
        return loss

    optimiser.step(closure)
    closed = best_objective(x, weight, bias, noise, beta, block)
    torch.testing.assert_close(objective().detach()[None], closed, rtol=1e-9, atol=1e-9)


def test_full_covariance_at_beta_one_is_the_marginal_likelihood() -> None:
    weight, bias = torch.randn(5, 3, generator=gen(7), dtype=D), torch.randn(5, generator=gen(8), dtype=D)
    x = torch.randn(9, 5, generator=gen(9), dtype=D)
    exact = stats.multivariate_normal(bias.numpy(), (weight @ weight.mT).numpy() + 0.49 * np.eye(5))
    np.testing.assert_allclose(best_objective(x, weight, bias, 0.7, 1.0, block=3), exact.logpdf(x.numpy()), rtol=1e-11)


@pytest.mark.parametrize("aligned", [True, False])
def test_sampled_objective_of_the_best_q_averages_to_the_closed_form(aligned: bool) -> None:
    weight = orthogonal_columns(10) if aligned else torch.randn(5, 3, generator=gen(10), dtype=D)
    x, noise, beta = torch.randn(1, 5, generator=gen(11), dtype=D), 0.7, 0.3
    precision = posterior_precision(weight, noise, beta)
    mean = torch.linalg.solve(precision, weight.mT @ x[0] / (beta * noise**2))
    q = td.Normal(mean, torch.diagonal(precision).rsqrt())
    z = q.mean + q.stddev * torch.randn(20000, 3, generator=gen(12), dtype=D)
    samples = integrand(
        z,
        lambda z: td.Normal(z @ weight.mT, noise).log_prob(x).sum(-1),
        lambda z: q.log_prob(z).sum(-1),
        PRIORS["isotropic"].log_prob,
        beta,
    )
    closed = best_objective(x, weight, torch.zeros(5, dtype=D), noise, beta)
    if aligned:  # mean-field holds the exact posterior: every sample gives the maximum itself
        torch.testing.assert_close(samples, closed.expand(20000), rtol=1e-10, atol=1e-10)
    else:
        assert samples.std() > 0.1
        assert (samples.mean() - closed).abs().item() < 4 * samples.std().item() / 20000**0.5


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_strict_drop_for_mean_field_and_none_for_the_full_family(seed: int) -> None:
    noise, beta = 0.5, 0.4
    weight, x = orthogonal_columns(seed), torch.randn(4, 5, generator=gen(100 + seed), dtype=D)
    rotation, zero = random_rotation(3, gen(200 + seed)), torch.zeros(5, dtype=D)
    precision = posterior_precision(weight, noise, beta)
    for block, lost in ((1, True), (2, True), (3, False)):
        before = best_objective(x, weight, zero, noise, beta, block)
        after = best_objective(x, weight @ rotation, zero, noise, beta, block)
        drop = rotation_drop(precision, rotation, beta, block)
        torch.testing.assert_close(before - after, drop.expand(4), rtol=1e-8, atol=1e-10)
        assert (drop.item() > 1e-3) == lost
        assert drop.item() > -1e-12


def test_no_drop_for_equal_variances_nor_for_signed_permutations() -> None:
    equal = posterior_precision(orthogonal_columns(0, norms=(1.5, 1.5, 1.5)), 0.5, 0.4)
    unequal = posterior_precision(orthogonal_columns(0), 0.5, 0.4)
    signed_permutation = torch.tensor([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=D)
    assert rotation_drop(equal, random_rotation(3, gen(1)), 0.4).abs().item() < 1e-12
    assert rotation_drop(unequal, signed_permutation, 0.4).abs().item() < 1e-12
    assert rotation_drop(unequal, torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=D)), 0.4).abs().item() < 1e-12


def test_drop_over_the_plane_has_its_closed_form_and_its_period() -> None:
    a, b, beta = 9.0, 3.0, 0.7
    for degrees in range(-180, 181, 15):
        c, s = np.cos(np.radians(degrees)) ** 2, np.sin(np.radians(degrees)) ** 2
        exact = beta / 2 * np.log((a * c + b * s) * (a * s + b * c) / (a * b))
        drop = rotation_drop(torch.diag(torch.tensor([a, b], dtype=D)), plane_rotation(float(degrees)), beta).item()
        assert drop == pytest.approx(exact, abs=1e-12)
        assert (drop < 1e-12) == (degrees % 90 == 0)


def test_volumes_are_ordered_and_the_last_block_may_be_smaller() -> None:
    root = torch.randn(5, 5, generator=gen(2), dtype=D)
    precision = torch.eye(5, dtype=D) + root @ root.mT
    volumes = [log_volume(precision, block).item() for block in (1, 2, 5)]
    assert volumes[0] > volumes[1] > volumes[2]
    assert volumes[0] == pytest.approx(np.log(np.diag(precision.numpy())).sum())
    pieces = [np.linalg.slogdet(precision.numpy()[i : i + 2, i : i + 2])[1] for i in (0, 2, 4)]
    assert volumes[1] == pytest.approx(sum(pieces))


def test_objective_is_strictly_concave_in_q() -> None:
    # the step that Corollary 1 rests on: between two densities, (2) lies above the chord
    z = torch.linspace(-12, 12, 4001, dtype=D)[:, None]
    cell, prior = (z[1] - z[0]).item(), Factorised(td.Normal(torch.zeros(1, dtype=D), ONE))
    q0, q1 = (torch.exp(td.Normal(m, s).log_prob(z[:, 0])) for m, s in ((-0.5 * ONE, 0.6), (1.2 * ONE, 0.9)))

    def objective(q: torch.Tensor) -> float:
        values = integrand(z, lambda z: -((z[:, 0].sin() - 0.3) ** 2), lambda _: torch.log(q), prior.log_prob, 0.5)
        return (q * values).sum().item() * cell

    for t in (0.1, 0.5, 0.8):
        chord = (1 - t) * objective(q0) + t * objective(q1)
        assert objective((1 - t) * q0 + t * q1) > chord + 1e-2


def test_which_rotations_a_mean_field_family_survives() -> None:
    unequal, tied = torch.tensor([3.0, 2.0, 1.0], dtype=D), torch.tensor([2.0, 2.0, 1.0], dtype=D)
    inside = torch.block_diag(plane_rotation(33.0), torch.ones(1, 1, dtype=D))
    across = torch.block_diag(torch.ones(1, 1, dtype=D), plane_rotation(33.0))
    generic = random_rotation(3, gen(3))
    swap = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=D)
    equal = torch.ones(3, dtype=D)
    assert [stays_mean_field(u, equal) for u in (inside, across, generic, swap)] == [True] * 4
    assert stays_mean_field(generic.float(), equal.float())
    assert not stays_mean_field(generic.float(), unequal)
    assert [stays_mean_field(u, tied) for u in (inside, across, generic, swap)] == [True, False, False, True]
    assert [stays_mean_field(u, unequal) for u in (inside, across, generic, swap)] == [False, False, False, True]
    # one entry that is not normal may be moved but not mixed
    not_normal = torch.tensor([True, True, False])
    assert [stays_mean_field(u, equal, not_normal) for u in (inside, across, generic, swap)] == [
        True,
        False,
        False,
        True,
    ]


def test_rotated_equal_variance_laplace_is_uncorrelated_yet_dependent() -> None:
    # the second half of §3.1, on draws: what stays_mean_field says of entries that are not normal
    rng, turn = np.random.default_rng(0), plane_rotation(45.0).numpy()
    for draw, independent in ((rng.standard_normal, True), (lambda size: rng.laplace(size=size) / 2**0.5, False)):
        y = draw((40000, 2)) @ turn.T
        assert stats.pearsonr(y[:, 0], y[:, 1]).pvalue > 1e-3
        assert (stats.pearsonr(y[:, 0] ** 2, y[:, 1] ** 2).pvalue > 1e-3) == independent
        normal = torch.tensor([independent, independent])
        assert stays_mean_field(torch.from_numpy(turn), torch.ones(2, dtype=D), normal) == independent


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"beta is 0\.0"):
        posterior_precision(torch.eye(2, dtype=D), 1.0, 0.0)
    with pytest.raises(InputError, match="noise is -1"):
        best_objective(torch.zeros(1, 2), torch.eye(2), torch.zeros(2), -1.0, 1.0)
    with pytest.raises(InputError, match="block is 0"):
        log_volume(torch.eye(2), 0)
    with pytest.raises(InputError, match="beta is -1"):
        rotation_drop(torch.eye(2, dtype=D), plane_rotation(30.0), -1.0)


@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize(("x", "bias"), [((4, 1), (3,)), ((4, 3), (1,)), ((3,), (3,))])
def test_data_of_another_width_than_the_weights(x: tuple[int, ...], bias: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected \[B, 3\] and \[3\], as the weight has"):
        best_objective(torch.zeros(x), torch.ones(3, 2), torch.zeros(bias), 1.0, 1.0)


@pytest.mark.usefixtures("as_shipped")
def test_nothing_is_independent_of_what_is_no_number() -> None:
    turn = plane_rotation(30.0)
    for variances in ([-1.0, 1.0], [0.0, 0.0], [torch.nan, 1.0], [1.0], [1.0, 1.0, 1.0]):
        with pytest.raises(InputError, match="variances are .*; expected 2 finite numbers > 0"):
            stays_mean_field(turn, torch.tensor(variances, dtype=D))
    with pytest.raises(InputError, match="the rotation U holds NaN"):
        stays_mean_field(turn * torch.nan, torch.ones(2, dtype=D))
