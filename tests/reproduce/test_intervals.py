"""Bootstrap intervals and slopes, against SciPy, theory and hand-made gaps."""

import numpy as np
import pytest
import scipy.stats

from curvae.errors import InputError
from curvae.reproduce.intervals import bootstrap, mean, paired, slope
from curvae.reproduce.summary import text


def test_over_points_alone_it_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(0).exponential(size=(1, 400))
    found = bootstrap(mean, values, np.random.default_rng(1), 4000)
    other = scipy.stats.bootstrap((values[0],), np.mean, method="percentile", n_resamples=4000, rng=2)
    width = other.confidence_interval.high - other.confidence_interval.low
    assert found["value"] == values.mean()
    assert found["low"] == pytest.approx(other.confidence_interval.low, abs=0.05 * width)
    assert found["high"] == pytest.approx(other.confidence_interval.high, abs=0.05 * width)


def test_seeds_that_differ_widen_it() -> None:
    generator = np.random.default_rng(0)
    alike = generator.normal(size=(6, 200))
    apart = alike + np.linspace(-3, 3, 6)[:, None]
    narrow, wide = (bootstrap(mean, v, np.random.default_rng(1)) for v in (alike, apart))
    assert wide["high"] - wide["low"] > 5 * (narrow["high"] - narrow["low"])
    spread = 2 * 1.96 * np.linspace(-3, 3, 6).std() / np.sqrt(6)
    assert wide["high"] - wide["low"] == pytest.approx(spread, rel=0.15)


def test_slope_equals_polyfit_and_recovers_a_power() -> None:
    generator = np.random.default_rng()
    betas = np.array([0.05, 0.1, 0.4, 1.0])
    values = generator.normal(size=(2, 30, 4)) + 5
    expected = np.polyfit(np.log(betas), np.log(np.abs(values.mean((0, 1)))), 1)[0]
    assert slope(betas, values) == pytest.approx(expected, rel=1e-10)
    noisy = -(betas**1.5) * generator.uniform(0.5, 1.5, size=(2, 300, 4))  # a gap's sign does not matter
    found = bootstrap(lambda drawn: slope(betas, drawn), noisy, np.random.default_rng(0), 200)
    assert found["low"] is not None
    assert found["high"] is not None
    assert found["low"] - 0.1 < 1.5 < found["high"] + 0.1


def test_what_is_not_defined_has_no_interval() -> None:
    assert slope(np.array([0.1, 0.2]), np.zeros((1, 3, 2))) is None
    nothing = bootstrap(lambda _: None, np.ones((1, 3)), np.random.default_rng(0), 5)
    assert nothing == {"value": None, "low": None, "high": None}
    assert text(nothing) == "–"
    with pytest.raises(InputError, match="no values"):
        bootstrap(mean, np.ones((1, 0)), np.random.default_rng(0))


def test_interval_of_differences_is_students() -> None:
    values = np.random.default_rng().normal(size=5)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = paired(values)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert paired(values[:1])["low"] is None
