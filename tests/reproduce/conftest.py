"""Toy data on which a run takes a second, small images, a cheap extractor, and no cache of the user's."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from curvae.metrics import efficientnet
from curvae.reproduce import fig4, table1
from curvae.reproduce.sweep.training import TrainingSettings

Make = Callable[..., Path]


@pytest.fixture
def toy(tmp_path: Path) -> TrainingSettings:
    """Twelve-dimensional vectors for the MLP."""
    np.save(tmp_path / "toy.npy", np.random.default_rng(0).random((80, 12), dtype=np.float32))
    return TrainingSettings(
        steps=20, width=0.03, seeds=(0,), data=str(tmp_path / "toy.npy"), network="mlp", batch_size=8, device="cpu"
    )


def smooth_images(path: Path) -> Path:
    """Eighty RGB images of 16 × 16 pixels, smooth enough to be learned."""
    corners = np.random.default_rng(0).random((80, 3, 2, 2))
    weights = np.linspace(0, 1, 16)
    rows = corners[..., :1, :] + (corners[..., 1:, :] - corners[..., :1, :]) * weights[:, None]
    pixels = rows[..., :1] + (rows[..., 1:] - rows[..., :1]) * weights
    np.save(path, (255 * pixels).astype(np.uint8).transpose(0, 2, 3, 1))
    return path


def maker(folder: Path, data: Path) -> Make:
    """Make a figure at smoke scale into a folder, with some settings changed, and return its own."""
    smoke = {"network": "mlp", "width": "0.05", "batch_size": "8", "steps": "10", "device": "cpu"}

    def call(figure: str, **changes: Any) -> Path:
        own = {"ablation": "k4"} if figure == "fig4" else {}
        changes = {**smoke, **own, **changes}
        package = {"table1": table1, "fig4": fig4}[figure]
        package.reproduce(figure, "smoke", folder / figure, data=str(data), runs=folder / "runs", changes=changes)
        return folder / figure

    return call


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The images that a test may spoil."""
    return smooth_images(tmp_path / "images.npy")


@pytest.fixture
def make(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a figure of them."""
    monkeypatch.setenv("CURVAE_CACHE", str(tmp_path / "cache"))
    return maker(tmp_path, images)


class Pixels(nn.Module):
    """A cheap extractor: colours at four places."""

    num_features = 12
    about = {"extractor": "pixels", "features": 12, "rounding": "none at all", "resize": "every fourth pixel"}  # noqa: RUF012

    def forward(self, x: Any) -> Any:
        return x[..., ::4, ::4][..., :2, :2].flatten(1)


LITE0 = {
    "extractor": "EfficientNet-Lite0", "features": 1280, "rounding": "to uint8",
    "resize": "Pillow bicubic, centred crop, to 32 × 32",
}  # fmt: skip


@pytest.fixture(scope="session", params=["pixels", pytest.param("lite0", marks=pytest.mark.slow)])
def about(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What is said of the extractor by which ``made`` measures distances."""
    if request.param == "pixels":
        return Pixels.about
    pytest.importorskip(efficientnet._PACKAGE)
    return LITE0


@pytest.fixture(scope="session")
def made(about: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with table 1, then figure 4, and their runs."""
    folder = tmp_path_factory.mktemp("made")
    make = maker(folder, smooth_images(folder / "images.npy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURVAE_CACHE", str(folder / "cache"))
        if about is Pixels.about:
            patch.setattr(fig4, "image_extractor", lambda *_: Pixels())
        make("table1")
        shutil.copytree(folder / "runs", folder / "runs-of-table1")
        make("fig4")
    return folder
