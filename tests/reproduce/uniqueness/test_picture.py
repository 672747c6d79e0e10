"""Each plot says which angle it shows, and what became of trials that it cannot show."""

import numpy as np

from curvae.reproduce.uniqueness.config import CONFIGS
from curvae.reproduce.uniqueness.numbers import data_moments
from curvae.reproduce.uniqueness.picture import Scatter, _row, draw
from curvae.reproduce.uniqueness.runner import run


def test_every_plot_stands_under_a_label_that_names_its_own_angle() -> None:
    result = run(CONFIGS["fig5", "smoke"], quiet=True)
    panels = list(result.config.panels)
    moments = {model: data_moments(result.config, model) for model in result.optima}
    rows = [
        _row(result, model, [p for p in panels if p.model == model], moments)
        for model in dict.fromkeys(panel.model for panel in panels)
    ]
    canvas = draw(rows)
    wide = max(len(row) for row in rows)
    grid = np.array(canvas.axes[: len(rows) * wide], dtype=object).reshape(len(rows), wide)
    seen = set()
    for line, row in zip(grid, rows, strict=True):
        label = ""
        for at, scatter in zip(line, row, strict=False):
            label = at.get_ylabel() or label  # it holds for the plots to its right
            assert label == f"angle to the {scatter.target} (°)"
            np.testing.assert_allclose(at.collections[0].get_offsets()[:, 1], scatter.angle)
            seen.add(scatter.target)
    assert len(seen) >= 2


def test_trials_that_diverged_are_counted() -> None:
    score = np.array([-1.0, np.nan, -2.0, -np.inf])
    one = Scatter(np.zeros(4), "optimum", score, np.full(4, 100), "tanh", "ELBO below optimum (nats)")
    at = draw([[one]]).axes[0]
    assert at.get_title() == "tanh (2 diverged)"
    assert len(at.collections[0].get_offsets()) == 2
