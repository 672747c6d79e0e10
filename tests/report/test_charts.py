"""Axes that charts share, smoothing, and charts that are drawn."""

import base64
import io
import itertools
import math

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from curvae.report import charts
from curvae.report.charts import Axis, Line, chart, common_axis, smoothed


@pytest.mark.parametrize("window", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("length", [1, 2, 9, 30])
def test_smoothing_keeps_the_length_and_constants(window: int, length: int) -> None:
    np.testing.assert_allclose(smoothed(np.full(length, 2.5), window), 2.5)
    assert len(smoothed(np.arange(float(length)), window)) == length


def test_smoothing_is_a_mean_of_neighbours() -> None:
    y = np.random.default_rng(0).normal(size=20)
    expected = [y[max(0, i - 2) : i + 3].mean() for i in range(20)]
    np.testing.assert_allclose(smoothed(y, 5), expected)


def test_common_axis_holds_all_values() -> None:
    axis = common_axis([np.array([3.0, 400.0]), np.array([20.0])], "y")
    assert axis.log
    assert axis.limits is not None
    assert axis.limits[0] < 3 < 400 < axis.limits[1]
    narrow = common_axis([np.array([100.0, 101.0])], "y")
    assert not narrow.log
    assert common_axis([np.array([2.0])], "y").limits == (1.5, 2.5)
    assert common_axis([np.array([math.nan])], "y").limits is None


def test_a_chart_shows_its_line_on_a_clear_ground_and_leaves_no_trace() -> None:
    before = dict(matplotlib.rcParams)
    line = Line("#ff0000", np.array([0.0, 1.0]), np.array([0.0, 1.0]), width=3.0)
    picture = chart([line], "a line", Axis("x"), Axis("y"), size=(2.0, 1.5))
    file = io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))
    image = np.asarray(Image.open(file).convert("RGBA")) / 255
    assert (picture.width, picture.height) == (200, 150)
    assert image.shape[:2] == (300, 400)
    red = (image[..., 0] > 0.9) & (image[..., 1] < 0.2) & (image[..., 3] > 0.9)
    assert red.sum() > 300
    assert image[0, 0, 3] == 0
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("low", "high"), [(-2.0, 0.0), (-1.0, 1.0), (0.0, 20_000.0), (1.118, 1.222), (-0.04, -0.01)])
def test_labels_below_a_chart_stand_apart(low: float, high: float, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Figure] = []
    monkeypatch.setattr(charts, "Figure", lambda **style: made.append(Figure(**style)) or made[-1])
    x = np.array([low, high])
    chart([Line("#ff0000", x, np.array([50.0, 500_000.0]))], "a line", Axis("x"), common_axis([1e5 * x**2 + 1], "y"))
    (axes,) = made[0].axes
    texts = [label for label in axes.get_xticklabels() if label.get_text()]
    left, right = axes.get_xlim()
    inside = [t.get_window_extent() for t in texts if left <= t.get_position()[0] <= right]
    assert len(inside) > 2
    height = inside[0].height
    assert all(b.x0 - a.x1 > height / 2 for a, b in itertools.pairwise(inside))


@pytest.mark.parametrize("only", [0.0, 3.0, 20_000.0])
def test_one_whole_number_is_marked_as_it_is(only: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one latent or step; fractions of it say nothing."""
    made: list[Figure] = []
    monkeypatch.setattr(charts, "Figure", lambda **style: made.append(Figure(**style)) or made[-1])
    chart([Line("#ff0000", np.array([only]), np.array([1.0]))], "a point", Axis("x", whole=True), Axis("y"))
    marked = made[0].axes[0].get_xticks()
    assert only in marked
    assert np.array_equal(marked, np.round(marked))
