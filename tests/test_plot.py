"""One-line pictures: figures that show what they say, made without Matplotlib's global state."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from curvae import plot
from curvae.errors import InputError, MissingExtraError
from curvae.report.view import View
from curvae.runs import Run, RunConfig
from curvae.training import train

KINDS = {"images": (1, 8, 8), "colours": (3, 8, 8), "vectors": (6,)}


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    np.save(folder / "x.npy", np.random.default_rng(0).random((40, *KINDS[request.param]), dtype=np.float32))
    small: dict[str, Any] = {"network": "mlp", "width": 0.02, "steps": 4, "batch_size": 8, "log_every": 2}
    config = RunConfig(data=str(folder / "x.npy"), latents=3, structure="full", device="cpu", **small)
    return train(config, folder / "run").run


def panels(figure: plot.Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.get_visible()]


@pytest.mark.parametrize("name", ["traversal", "precision", "latents", "losses"])
def test_a_figure_for_a_run_alone(name: str, run: Run) -> None:
    figure = getattr(plot, name)(run)
    picture = np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB"))
    assert picture.std() > 5
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_traversals_show_the_runs_own(run: Run) -> None:
    x = run.dataset().test[:1]
    figure, expected = (
        plot.traversal(run, x, latents=[2, 0], values=[-1.0, 1.0]),
        run.traverse(x, latents=[2, 0], values=[-1.0, 1.0]),
    )
    if len(x.shape) == 2:
        assert [axes.get_title() for axes in panels(figure)] == ["latent 2", "latent 0"]
        np.testing.assert_allclose(panels(figure)[1].lines[1].get_ydata(), expected[0, 1, 1])
    else:
        shown = np.asarray(panels(figure)[2].images[0].get_array())
        image = expected[0, 1, 0].movedim(0, -1).clip(0, 1).numpy()
        np.testing.assert_allclose(shown, image.squeeze(-1) if image.shape[-1] == 1 else image)


def test_precisions_are_those_of_the_report(run: Run) -> None:
    x = run.dataset().test
    trained = run.trained()
    expected = View(trained.model, trained.likelihood, trained.structure, trained.beta).precisions(x)
    own, implied = trained.precisions(x)
    np.testing.assert_allclose(own, expected.posterior, rtol=1e-4)
    np.testing.assert_allclose(implied, expected.implied, rtol=1e-5)
    figure = plot.precision(run, x.numpy())
    for axes, matrix in zip(panels(figure), (own, implied), strict=False):
        np.testing.assert_allclose(axes.images[0].get_array(), matrix.mean(0), rtol=1e-5)


def test_codes_and_their_labels(run: Run) -> None:
    x = run.dataset().test
    plain = plot.latents(run, x, axes=(2, 0))
    assert np.allclose(panels(plain)[0].collections[0].get_offsets(), run.encode(x).mean[:, [2, 0]])
    assert panels(plain)[0].get_xlabel() == "latent 2"
    few = plot.latents(run, x, labels=["a", "b", "a", "a"])
    assert [text.get_text() for text in panels(few)[0].get_legend().get_texts()] == ["a", "b"]
    many = plot.latents(run, labels=np.arange(40.0))
    assert len(panels(many)) == 2  # with a scale of colours


def test_losses_are_those_that_were_logged(run: Run) -> None:
    lines = panels(plot.losses(run))[0].lines
    assert list(lines[0].get_ydata()) == [record["total"] for record in run.metrics]
    assert len(lines[1].get_ydata()) == sum("held_out" in record for record in run.metrics)


REFUSED: list[tuple[Callable[[Run], object], str]] = [
    (lambda run: plot.losses("runs/a"), "expected a Run"),  # type: ignore[arg-type]
    (lambda run: plot.traversal(run, run.dataset().test), "x holds 4 samples; expected one"),
    (lambda run: plot.traversal(run, latents=[7]), "latents has 7"),
    (lambda run: plot.precision(run, torch.zeros(2, 5)), r"the model takes \[N"),
    (lambda run: plot.latents(run, axes=(0, 3)), r"axes is \(0, 3\); expected two latents from 0 to 2"),
    (lambda run: plot.latents(run, labels=[1, 2]), r"labels have shape \(2,\); expected \(40,\)"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
@pytest.mark.usefixtures("as_shipped")
def test_what_cannot_be_drawn(number: int, run: Run) -> None:
    call, said = REFUSED[number]
    with pytest.raises(InputError, match=said):
        call(run)


def test_nothing_logged(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no steps logged yet"):
        plot.losses(Run(tmp_path, run.config, run.data, {}))


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "curvae.plot")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'plots need matplotlib.*pip install "curvae\[cli\]"'):
        __import__("curvae.plot")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("told")
    x = np.random.default_rng(0).random((40, 6), dtype=np.float32)
    np.savez(folder / "x.npz", x=x, y=np.arange(40) % 2)
    small: dict[str, Any] = {"network": "mlp", "width": 0.02, "steps": 4, "batch_size": 8, "condition": "labels"}
    config = RunConfig(data=str(folder / "x.npz"), latents=3, structure="full", device="cpu", **small)
    return train(config, folder / "run").run


def test_a_condition_that_is_given_is_the_one_that_is_shown(told: Run) -> None:
    x = told.dataset().half(test=True)[:].x
    shown, own = plot.precision(told, condition=1), plot.precision(told, x, condition=1)
    for one, other in zip(panels(shown)[:2], panels(own)[:2], strict=True):
        np.testing.assert_allclose(one.images[0].get_array(), other.images[0].get_array(), rtol=1e-5)
    assert shown.get_suptitle() != plot.precision(told).get_suptitle()
    first, second, each = (
        panels(plot.latents(told, condition=c, axes=(0, 1)))[0].collections[0].get_offsets()
        for c in (0, 1, np.zeros(40, dtype=int))
    )
    assert not np.allclose(first, second)
    np.testing.assert_allclose(first, each)


def test_a_condition_of_a_run_without_is_refused(run: Run) -> None:
    for draw in (plot.precision, plot.latents):
        with pytest.raises(InputError, match="a condition is given but the model takes none"):
            draw(run, condition=1)


def test_thinned_codes_have_their_own_labels(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "_SHOWN", 20)
    with pytest.raises(InputError, match=r"labels have shape \(39,\); expected \(40,\)"):
        plot.latents(run, labels=np.arange(39.0))
    drawn = panels(plot.latents(run, labels=np.arange(40)))[0]
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == [str(one) for one in range(0, 40, 2)]


def test_colours_go_with_the_values(run: Run) -> None:
    if len(run.dataset().test.shape) > 2:
        pytest.skip("images have no lines")
    up, down = (panels(plot.traversal(run, values=values))[0].lines for values in ([-1.0, 1.0], [1.0, -1.0]))
    assert up[0].get_color() == down[1].get_color() != up[1].get_color()
