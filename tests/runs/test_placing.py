"""Where a learned noise scale begins."""

import numpy as np
import pytest
import torch

from curvae._typing import Tensor
from curvae.likelihoods import LearnedGaussian
from curvae.runs.placing import begin_noise, spread


def test_a_large_constant_hides_no_other_column() -> None:
    """Its rounding is more than all that varies in the others; values of it that are missing count for nothing."""
    x = 0.01 * np.random.default_rng(0).normal(size=(300, 4))
    x[:, 0], x[:5, 1], x[:, 3] = 123_456.7, np.nan, np.nan
    expected = np.sqrt(np.nansum((x[:, 1:3] - np.nanmean(x[:, 1:3], 0)) ** 2) / (300 + 295 + 300))
    assert spread(torch.tensor(x, dtype=torch.float32)).item() == pytest.approx(expected, rel=1e-5)


def test_nothing_that_varies_is_1() -> None:
    for x in (torch.full((9, 3), 0.1), torch.randn(1, 3), torch.full((4, 2), torch.nan)):
        assert spread(x) == 1


def test_some_hundred_samples_at_most_are_made_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """As 4 bytes for each, large images that fit in memory as bytes may not."""
    sizes = []

    def counting(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x.float() / 255

    monkeypatch.setattr("curvae.runs.placing.as_float", counting)
    for samples in (3, 500, 999, 3999):
        begin_noise(LearnedGaussian(), torch.randint(256, (samples, 1, 2, 2), dtype=torch.uint8))
    assert sizes == [3, 500, 500, 500]
