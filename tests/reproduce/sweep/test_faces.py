"""From the call to the files: what is written, shared, cached and refused."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from curvae.errors import InputError
from curvae.metrics import efficientnet
from curvae.reproduce import fig4, table1
from curvae.reproduce.fig4.config import ablation_runs
from curvae.reproduce.fig4.picture import against_beta
from curvae.reproduce.sweep.training import BETAS

Make = Callable[..., Path]


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture
def features() -> None:
    pytest.importorskip(efficientnet._PACKAGE)


def test_table_1_shows_both_models_and_its_runs_are_figure_4s(made: Path) -> None:
    assert {path.name for path in (made / "table1").iterdir()} == {"table1.png", "table.md", "summary.json"}
    found, figure = summary(made / "table1"), summary(made / "fig4")
    assert [one["beta"] for one in found["settings"]] == [0.1, 1.0]
    assert (found["seed"], found["test_points"]) == (0, 6)
    first, then = ({path.name for path in (made / name).iterdir()} for name in ("runs-of-table1", "runs"))
    assert first < then
    assert (found["runs"], figure["runs"]) == (len(first), len(then)) == (4, 9)
    for name in first:
        times = [
            (made / folder / name / "model.safetensors").stat().st_mtime_ns for folder in ("runs-of-table1", "runs")
        ]
        assert times[0] == times[1]
    assert str(made) not in json.dumps([found, figure])


def test_figure_4_says_all_that_its_distances_depend_on(made: Path, about: dict[str, Any]) -> None:
    folder = made / "fig4"
    assert {path.name for path in folder.iterdir()} == {"fig4.png", "fig4-ablation.png", "table.md", "summary.json"}
    assert all(path.stat().st_size < 300_000 for path in folder.iterdir())
    found = summary(folder)
    said = found["frechet"]
    assert {key: said[key] for key in about} == about
    assert (said["images"], said["reference"]) == (6, "the first 6 held-out images")
    assert set(said["by_number_of_images"]) == {"2", "3", "6"}
    assert said["of_training_images"] == said["by_number_of_images"]["6"]
    text = (folder / "table.md").read_text(encoding="utf-8")
    shown = [about[key] for key in ("extractor", "rounding", "resize")]
    for part in (*shown, "6 images in each set", "the first 6 held-out images"):
        assert part in text
    assert "FID" not in text + json.dumps(found)
    for models in found["models"].values():
        assert all(len(one["values"]) == 2 for values in models.values() for one in values)


def test_the_answer_is_that_of_the_numbers(made: Path) -> None:
    found = summary(made / "fig4")
    for key in ("frechet_prior", "frechet_mixture"):
        for k in range(2):
            a, b = (np.array(found["models"][name][key][k]["values"]) for name in ("GRAE≈", "β-VAE"))
            expected = found["within_spread"][key][k]
            pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
            assert expected["spread"] == pytest.approx(pooled, rel=0.05)
            assert expected["within"] == (abs(a.mean() - b.mean()) <= pooled)
            assert found["differences"][key][k]["value"] == pytest.approx((a - b).mean(), rel=0.05, abs=2e-3)
        assert found["answer"][key].startswith("within the spread of the seeds at ")


def test_real_images_are_a_line_where_they_are_near_and_words_where_they_are_not(made: Path) -> None:
    found = summary(made / "fig4")
    ranges = [one["values"] for name in found["models"] for one in found["models"][name]["frechet_prior"]]
    low, high = np.min(ranges), np.max(ranges)
    for real, near in ((low, True), (low - 100 * (high - low), False), (high + 100 * (high - low), False)):
        found["frechet"]["of_training_images"] = float(real)
        axes = against_beta(found).axes[0]
        dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert len(dotted) == near
        bars = [line.get_ydata() for line in axes.lines if line not in dotted]
        bottom, top = axes.transLimits.transform(
            [(0, np.min([d.min() for d in bars])), (0, np.max([d.max() for d in bars]))]
        )[:, 1]
        assert near or (bottom > 0.12 if real < low else top < 0.88)  # room for the words
        assert [text.get_text()[-1] for text in axes.texts] == ([] if near else ["↓" if real < low else "↑"])


@pytest.mark.slow
def test_statistics_of_real_images_are_kept_between_calls(
    make: Make, features: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"betas": "0.1", "seeds": "0", "ablation": "none"}
    first = summary(make("fig4", **small))
    files = sorted((tmp_path / "cache").glob("features-*.safetensors"))
    assert len(files) == 2 * 3  # both halves, three numbers of images
    seen: list[int] = []
    forward = efficientnet.EfficientNetLite0.forward

    def counted(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(efficientnet.EfficientNetLite0, "forward", counted)
    of_models = 2 * 6 * 3  # six from the prior, six from the mixture and six reconstructions of each
    make("fig4", **small)
    assert sum(seen) == of_models
    files[0].write_bytes(files[0].read_bytes()[:100])
    again = summary(make("fig4", **small))
    assert sum(seen) == 2 * of_models + 6  # and one half anew
    assert again["models"]["GRAE≈"]["frechet_prior"] == first["models"]["GRAE≈"]["frechet_prior"]
    assert again["frechet"] == first["frechet"]


@pytest.mark.slow
def test_grey_images_and_other_sizes(make: Make, features: None, images: Path) -> None:
    grey = np.load(images)[..., :1]
    np.save(images, grey)
    found = summary(make("fig4", size="12", ablation="none", betas="0.1", seeds="0"))
    assert found["ablation"] is None
    table = make("table1", size="12")
    with Image.open(table / "table1.png") as picture:
        assert picture.height < 90  # two bands of images of 12 pixels


@pytest.mark.slow
def test_damaged_images_stop_it_or_are_left_out(
    features: None, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURVAE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, pixels in enumerate(np.load(images)):
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    whole = (folder / "003.png").read_bytes()
    (folder / "003.png").write_bytes(whole[: len(whole) // 2])
    small = {"network": "mlp", "width": "0.05", "steps": "2", "betas": "0.1"}
    call = partial(table1.reproduce, "table1", "smoke", tmp_path / "out", data=str(folder), runs=tmp_path / "runs")
    with pytest.raises(InputError, match=r"1 of \d+ images fail; .*003.png.* of a figure --set damaged=skip\)"):
        call(changes=small)
    with pytest.raises(InputError, match="damaged is 'leave'; expected stop or skip"):
        call(changes={**small, "damaged": "leave"})
    assert not (tmp_path / "runs").exists()
    call(changes={**small, "damaged": "skip"})
    assert summary(tmp_path / "out")["config"]["training"]["damaged"] == "skip"


def test_what_cannot_be_is_refused_before_anything_is_trained(
    make: Make, features: None, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--set ablation is 'k5'; expected any of k4, fraction, "):
        make("fig4", ablation="k5")
    with pytest.raises(InputError, match="has no batch normalisation to leave out; add --set ablation=k4"):
        make("fig4", ablation="k4,no-norm")
    with pytest.raises(InputError, match="torch-fidelity|cannot be read"):
        make("fig4", features=str(tmp_path / "weights.pth"))
    with pytest.raises(InputError, match="--set images is '0'"):
        make("fig4", images="0")
    with pytest.raises(InputError, match="--set codes is 1; expected at least 2"):
        make("fig4", codes="1")
    with pytest.raises(InputError, match="at least 2 in each half"):
        make("fig4", images="1")
    np.save(images, np.random.default_rng(0).random((80, 12), dtype=np.float32))
    for figure in ("table1", "fig4"):
        with pytest.raises(InputError, match=f"{figure} is made of images, but the data have shape"):
            make(figure)
    np.save(images, np.random.default_rng(0).normal(size=(80, 12, 12)).astype(np.float32))
    for figure in ("table1", "fig4"):  # samples are cut off at black and white, and would be of other images
        with pytest.raises(InputError, match=r"images have values from -[\d.]+ to [\d.]+; expected 0 to 1"):
            make(figure)
    with pytest.raises(InputError, match="expected fig4 at smoke, quick, overnight, paper"):
        fig4.reproduce("fig2", "smoke", tmp_path)
    assert not (tmp_path / "runs").exists()


def test_the_papers_settings() -> None:
    assert BETAS == (0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    for config in (table1.CONFIGS["table1", "paper"], fig4.CONFIGS["fig4", "paper"]):
        assert (config.betas, config.latents) == (BETAS, 128)
        assert (config.training.steps, config.training.width, config.training.network) == (50_000, 1.0, "paper")
        assert len(config.training.seeds) == 5
    figure_4 = fig4.CONFIGS["fig4", "paper"]
    # no variant holds all columns of a batch: that fits no GPU of 80 GB
    estimators = {str(run.estimator) for run in ablation_runs(figure_4).values() if run.objective == "grae"}
    assert estimators == {"columns:1", "columns:4", "fraction:1/8:columns:1", "lanczos:1:8"}


@pytest.mark.slow
@pytest.mark.parametrize(("figure", "package"), [("table1", table1), ("fig4", fig4)])
def test_smoke_on_avatars(
    figure: str, package: ModuleType, features: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("python_avatars")
    monkeypatch.setenv("CURVAE_CACHE", str(tmp_path / "cache"))
    package.reproduce(figure, "smoke", tmp_path / "out", runs=tmp_path / "runs")
    assert summary(tmp_path / "out")["config"]["training"]["data"] == "avatars:60"
