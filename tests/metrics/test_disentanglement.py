"""Scores against values of google-research/disentanglement_lib on fixed arrays, and against what they must be."""

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from curvae.errors import InputError
from curvae.metrics.disentanglement import DCI, MIG, SAP, FactorVAEScore
from curvae.metrics.predictors import boosted, concentration


def fixed() -> tuple[torch.Tensor, torch.Tensor]:
    i = np.arange(400)
    factors = np.stack([i % 3, (i // 3) % 4, (i // 12) % 5], 1)
    wobble = np.sin(np.outer(i + 1, [1.3, 2.1, 3.7, 5.9, 0.7]))
    v = factors / [2, 3, 4] - 0.5
    columns = [v[:, 0] + 0.3 * v[:, 1], v[:, 1] * 0.9, v[:, 2] ** 2 + 0.2 * v[:, 0], v[:, 2] - 0.4 * v[:, 1], 0 * i]
    codes = np.stack(columns, 1) + [0.1, 0.25, 0.1, 0.2, 0.01] * wobble
    return torch.tensor(codes + 0.9 * np.roll(codes, 1, 1)), torch.tensor(factors)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [(MIG(), 0.23301619672015642), (SAP(), 0.21865576407544443), (SAP((0, 1, 2)), 0.055)],
)
def test_values_are_those_of_the_public_implementation(metric, expected: float) -> None:
    codes, factors = fixed()
    for part in (slice(0, 150), slice(150, None)):  # batches make no difference
        metric.update(codes[part], factors[part])
    assert metric.compute().item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        np.asarray,
        lambda values: np.asarray(values)[::-1],
        lambda values: np.asarray(values).astype(values.numpy().dtype.newbyteorder(">")),
        lambda values: np.asarray(values, np.longdouble) if values.is_floating_point() else np.asarray(values),
        lambda values: values.tolist(),
        lambda values: pd.DataFrame(values.numpy()),
    ],
)
def test_arrays_are_taken(given) -> None:
    codes, factors = fixed()
    metric = MIG()
    metric.update(given(codes), given(factors))
    assert metric.compute().item() == pytest.approx(0.23301619672015642, abs=1e-6)


def test_lists_keep_the_digits_of_their_numbers() -> None:
    codes, factors = fixed()
    metric = SAP()
    metric.update(codes.tolist(), factors.tolist())
    assert torch.equal(metric.codes[0], codes)


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(InputError, match="factors holds <U1 values"):
        MIG().update(np.zeros((2, 2)), np.array([["a"], ["b"]]))


def test_concentration_is_that_of_the_public_implementation() -> None:
    importance = np.array([[0.5, 0.1, 0.0], [0.2, 0.7, 0.05], [0.0, 0.0, 0.9], [0.3, 0.2, 0.05]])
    assert concentration(importance) == pytest.approx(0.560958111921789, abs=1e-6)
    assert concentration(importance.T) == pytest.approx(0.46479157642085767, abs=1e-6)
    assert concentration(np.zeros((3, 2))) == 0


@pytest.mark.slow
def test_boosting_is_that_of_the_public_implementation() -> None:
    codes, factors = fixed()
    metric = DCI("boosting")
    metric.update(codes, factors)
    found = metric.compute()
    # whose trees have no seed: two of its runs differ by less than 0.001
    expected = {"disentanglement": 0.5814, "completeness": 0.4710, "informativeness": 0.89}
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, abs=5e-3)


def test_boosting_does_not_depend_on_the_scale_of_a_latent() -> None:
    codes, factors = (each.numpy()[:120] for each in fixed())
    train, test = np.arange(80), np.arange(80, 120)
    weights, right = boosted(codes, factors[:, 0], train, test, seed=0)
    for scale in (2.0**-40, 1e-8, 1e30 * np.array([1, 1e-60, 1, 1, 1e-30])):
        found = boosted(codes * scale, factors[:, 0], train, test, seed=0)
        assert found[0] == pytest.approx(weights, abs=1e-6)
        assert found[1] == right


@pytest.mark.parametrize("largest", [1e8, 1e12])
def test_boosting_sees_codes_beside_one_that_is_much_larger(largest: float) -> None:
    codes = np.random.default_rng(0).normal(size=(90, 2))
    factor = (codes[:, 0] > 0).astype(int)
    codes[np.argmax(codes[:60, 0]), 0] = largest
    weights, right = boosted(codes, factor, np.arange(60), np.arange(60, 90), seed=0)
    assert weights == pytest.approx([1, 0], abs=1e-6)
    assert right > 0.9


def test_a_rotation_of_two_latents_costs_every_score() -> None:
    factors = torch.from_numpy(np.random.default_rng(0).integers(0, 8, (1000, 2)))
    codes = factors.double()
    turned = codes @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]]).double()
    for make in (MIG, SAP, lambda: FactorVAEScore(200, 4)):
        values = []
        for each in (codes, turned):
            metric = make()
            metric.update(each, factors)
            values.append(metric.compute().item())
        assert values[0] > 0.9
        assert values[1] < values[0] - 0.2


def factor_vae_by_enumeration(codes: list[list[float]], factors: list[list[int]], size: int, least: float) -> float:
    """The limit of FactorVAE's score for many votes: every possible vote, by its probability."""
    n, latents = len(codes), range(len(codes[0]))

    def variance(rows: tuple[int, ...] | range, j: int, dof: int) -> float:
        mean = sum(codes[i][j] for i in rows) / len(rows)
        return sum((codes[i][j] - mean) ** 2 for i in rows) / (len(rows) - dof)

    whole = [variance(range(n), j, 1) for j in latents]
    taking_part = [j for j in latents if whole[j] > 0 and whole[j] ** 0.5 >= least]
    chance = {(k, j): Fraction(0) for k in range(len(factors[0])) for j in taking_part}
    for k, drawn in product(range(len(factors[0])), range(n)):
        alike = [i for i in range(n) if factors[i][k] == factors[drawn][k]]
        for rows in product(alike, repeat=size):
            vote = min(taking_part, key=lambda j: variance(rows, j, 1) / whole[j])
            chance[k, vote] += Fraction(1, len(factors[0]) * n * len(alike) ** size)
    assert sum(chance.values()) == 1
    return float(sum(max(chance[k, j] for k in range(len(factors[0]))) for j in taking_part))


@pytest.mark.cases(2)
@pytest.mark.parametrize("seed", range(4))
def test_factor_vae_is_what_all_votes_give(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rare = [[0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 2, 2]]  # values of unlike frequency
    factors = np.stack([generator.permutation(column) for column in rare], 1)
    codes = factors + generator.normal(0, 0.4, factors.shape)
    # of unlike scales, and two that take no part: one too narrow, though it knows its factor, and one constant
    codes = np.stack([0.01 * factors[:, 1], 10 * codes[:, 0], 0.3 * codes[:, 1], np.ones(len(codes))], 1)
    # pairs: the variance of one sample drawn twice is 0 without rounding, and a tie goes to the first
    expected = factor_vae_by_enumeration(codes.tolist(), factors.tolist(), size=2, least=0.05)
    metric = FactorVAEScore(votes=4000, size=2, least=0.05, seed=seed)
    metric.update(torch.from_numpy(codes), torch.from_numpy(factors))
    assert 0.5 < expected < 1
    assert metric.compute().item() == pytest.approx(expected, abs=4 * 0.5 / 4000**0.5)  # four standard deviations


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (torch.rand(5, 1), torch.zeros(5, 2).long(), r"codes have shape \(5, 1\)"),
        (torch.rand(5, 2), torch.zeros(4, 2).long(), r"factors \(4, 2\)"),
        (torch.rand(5, 2), torch.rand(5, 2), "expected floats and whole numbers"),
        (torch.rand(5, 2), torch.zeros(5, 0).long(), "with F >= 1"),
        (torch.full((5, 2), torch.nan), torch.zeros(5, 2).long(), "codes are not finite"),
        (
            torch.full((5, 2), 1e200, dtype=torch.float64),
            torch.zeros(5, 2).long(),
            "codes are not finite, or beyond float32",
        ),
    ],
)
def test_bad_samples(codes: torch.Tensor, factors: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MIG().update(codes, factors)


@pytest.mark.parametrize(("d", "f", "message"), [(3, 2, "codes have 3 columns"), (2, 1, "factors have 1 columns")])
def test_batches_of_other_widths_are_refused(d: int, f: int, message: str) -> None:
    metric = MIG()
    metric.update(torch.rand(5, 2), torch.zeros(5, 2).long())
    with pytest.raises(InputError, match=f"{message} after a batch of 2"):
        metric.update(torch.rand(5, d), torch.zeros(5, f).long())


@pytest.mark.parametrize("values", [2, 4])
def test_samples_in_the_order_of_a_grid_are_split_otherwise(values: int) -> None:
    """Every other of them is a half with other values of the last factor than the rest."""
    factors = torch.cartesian_prod(torch.arange(20), torch.arange(values))
    codes = factors + 0.01 * torch.randn(factors.shape, generator=torch.Generator().manual_seed(0)).double()
    found = []
    for order in (torch.arange(len(codes)), torch.randperm(len(codes), generator=torch.Generator().manual_seed(1))):
        metric = SAP(categorical=[1])
        metric.update(codes[order], factors[order])
        found.append(metric.compute().item())
    assert found[0] == pytest.approx(found[1], abs=0.1)


@pytest.mark.parametrize("noise", [2.2e-16, 0.0])
@pytest.mark.parametrize("place", [1.0, 1e20])
def test_a_latent_that_is_constant_but_for_rounding_tells_nothing(place: float, noise: float) -> None:
    factors = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    rounding = place + noise * torch.randint(2, (100, 1), generator=torch.Generator().manual_seed(0)).double()
    metric = MIG()
    metric.update(torch.cat([rounding, factors], 1), factors)
    assert metric.compute().item() == pytest.approx(1, abs=1e-6)


def test_votes_of_single_samples_do_not_count() -> None:
    """All latents are constant in one sample: the vote would be for the first, whichever that is."""
    generator = np.random.default_rng(0)
    factors = np.stack([np.r_[np.arange(30), [30] * 30], generator.integers(0, 3, 60)], 1)
    for order in ([0, 1], [1, 0]):
        metric = FactorVAEScore(votes=200)
        metric.update(torch.from_numpy(factors[:, order] + 0.0), torch.from_numpy(factors))
        assert metric.compute().item() == 1
    metric = FactorVAEScore(votes=200)
    metric.update(torch.rand(60, 2), torch.from_numpy(np.stack([np.arange(60), factors[:, 1]], 1)))
    with pytest.raises(InputError, match="factor 0 has another value in each sample"):
        metric.compute()


def test_a_factor_that_cannot_be_regressed_is_refused() -> None:
    """A single sample has its other value, and so one side has none of it."""
    factors = torch.stack([(torch.arange(100) == 0).long(), torch.arange(100) % 5], 1)
    for categorical in ((), (0,)):
        metric = DCI("lasso", categorical)
        metric.update(factors.double(), factors)
        with pytest.raises(InputError, match="one value in all samples of a side"):
            metric.compute()


@pytest.mark.usefixtures("as_shipped")
def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="no samples yet"):
        MIG().compute()
    empty = MIG()
    empty.update(torch.zeros(0, 2), torch.zeros(0, 2).long())
    with pytest.raises(InputError, match="no samples yet"):
        empty.compute()
    for make in (lambda: MIG(1), lambda: DCI("trees"), lambda: DCI(held_out=1.0), lambda: FactorVAEScore(size=1)):
        with pytest.raises(InputError, match="expected"):
            make()
    arguments: list[tuple[Callable[[], object], str]] = [
        (lambda: DCI(held_out="a"), "held_out is 'a'; expected a number between 0 and 1"),  # type: ignore[arg-type]
        (lambda: DCI(seed=-1), "seed is -1; expected a whole number"),
        (lambda: FactorVAEScore(seed=1.5), "seed is 1.5; expected a whole number"),  # type: ignore[arg-type]
        (lambda: FactorVAEScore(least="a"), "least is 'a'; expected a finite number"),  # type: ignore[arg-type]
        (lambda: SAP(categorical=1), "categorical is 1; expected columns"),  # type: ignore[arg-type]
        (lambda: SAP(categorical=[0.5]), r"categorical is \[0.5\]; expected columns"),  # type: ignore[list-item]
        (lambda: DCI(categorical="kind"), "categorical is 'kind'; expected columns"),  # type: ignore[arg-type]
    ]
    for argument, message in arguments:
        with pytest.raises(InputError, match=message):
            argument()


@pytest.mark.parametrize("make", [MIG, SAP, lambda: DCI("lasso"), lambda: FactorVAEScore(votes=50)])
def test_values_of_factors_may_be_large(make: Callable[[], Any]) -> None:
    codes, factors = fixed()
    found = []
    for offset in (0, 2**60):
        metric = make()
        metric.update(codes.double(), factors.long() + offset)
        found.append(metric.compute())
    assert found[0] == found[1]


def test_a_tensor_that_is_filled_again_leaves_what_was_seen() -> None:
    codes, factors = fixed()
    codes, factors, metric = codes.double(), factors.long(), MIG()
    metric.update(codes, factors)
    codes.zero_()
    factors.zero_()
    assert metric.compute().item() == pytest.approx(0.23301619672015642, abs=1e-6)


@pytest.mark.parametrize("change", [lambda m: m.to(torch.float16), lambda m: m.set_dtype(torch.bfloat16)])
def test_other_types_do_not_change_what_was_seen(change: Callable[[Any], Any]) -> None:
    codes, factors = fixed()
    metric, expected = MIG(), MIG()
    for each in (metric, expected):
        each.update(1e5 * codes, factors + 1000)  # beyond float16, and steps that bfloat16 does not have
    change(metric)
    assert (metric.codes[0].dtype, metric.factors[0].dtype) == (torch.float64, torch.int64)
    assert metric.compute() == expected.compute()
