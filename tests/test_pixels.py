"""One rule for pixels: every function that takes images says the same of bytes and of the numbers that they mean."""

import base64
import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from curvae import Autoencoder
from curvae.cli.pictures import grid as sample_grid
from curvae.data import Batches, Dataset, as_bytes, as_float, as_images, cut_off
from curvae.errors import InputError
from curvae.likelihoods import Gaussian
from curvae.metrics import (
    active_units,
    codes,
    efficientnet,
    evaluate,
    frechet,
    importance_weighted_nll,
    inception,
    sharpness,
    unit_divergence,
)
from curvae.posteriors import Diagonal
from curvae.report import pictures, sections, view
from curvae.reproduce.comparison.distances import train_classifier
from curvae.reproduce.fig2.numbers import matrices
from curvae.reproduce.fig3.numbers import Measure
from curvae.reproduce.sweep.faces import CHALLENGER, REFERENCE, reconstruction_error
from curvae.reproduce.sweep.frechet import frechet_reference
from curvae.reproduce.table1.picture import sheet

PIXELS = torch.from_numpy(np.random.default_rng().integers(0, 256, (12, 1, 28, 28), dtype=np.uint8))


class Features(nn.Sequential):
    """Differs between a uint8 image and its numbers in every way that an extractor can."""

    num_features = 3

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 3), nn.Tanh())
        self.eval()


class Byte(nn.Module):
    """In Inception's place: takes bytes, as that does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dtype == torch.uint8
        return x.double().mean((-2, -1))


@cache
def model() -> Autoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = nn.Sequential(nn.Linear(2, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28)))
        return Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(784, 5)), decoder, 2, structure=Diagonal()).eval()


@cache
def features() -> Features:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Features()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def lite0(x: Any) -> Any:
    pytest.importorskip(efficientnet._PACKAGE)
    return efficientnet.EfficientNetLite0(32)(x)


def fid(x: Any) -> Any:
    found = inception.Inception.__new__(inception.Inception)
    nn.Module.__init__(found)
    found.network = Byte()
    return found(x)


def likelihoods(x: Any) -> Any:
    return importance_weighted_nll(model(), x, Gaussian(), samples=3, generator=generator()).nll


def evaluated(x: Any) -> Any:
    found = evaluate(model(), x, 0.2, Gaussian(), Diagonal(), generator=generator())
    return [found.beta_vae.mean, found.grae_full.mean, found.mse.mean, *found.examples.x.ravel()]


def looked_at(x: Any) -> Any:
    found = view.View(model(), Gaussian(), Diagonal(), 0.2)
    return [*found.codes(x).ravel(), *found.reconstruct(x).ravel(), *found.effects(x), *found.precisions(x).distance]


def drawn(picture: pictures.Picture) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))).astype(float)


def classified(x: Any) -> Any:
    digits = torch.arange(len(x)) % 2
    return train_classifier((x, digits), (x, digits), steps=2)[0](as_float(x)).detach()


def referred(x: Any) -> Any:
    data = Dataset("toy", x[:6], x[6:], {})
    return list(frechet_reference(features(), {}, data, 6, torch.device("cpu"), None).floor.values())


def measured(x: Any) -> Any:
    tool = Measure(0.2, Gaussian(), Diagonal(), draws=2)
    return torch.cat([tool(model(), x, generator())["beta_vae"], tool.exact(model(), x)["taylor"]])


# everything that takes images of data or of a model, and a number that it makes of them
TAKES_IMAGES: dict[str, Callable[[Any], Any]] = {
    "as_float": as_float,
    "as_images": as_images,
    "as_bytes": lambda x: as_bytes(x).double(),
    "cut_off": lambda x: cut_off(x).double(),
    "Batches": lambda x: torch.cat(list(Batches(x, 4, seed=0, steps=3))),
    "frechet.statistics": lambda x: frechet.statistics(features(), [x]).covariance,
    "frechet.growing": lambda x: frechet.growing(features(), [x], (3, 9))[1].mean,
    "FrechetDistance": lambda x: [
        frechet.FrechetDistance(features(), [x[:6]])([x[6:]]),
        frechet.FrechetDistance(features(), [x[:6]])([as_float(x[6:])]),
    ],
    "EfficientNetLite0": lite0,
    "Inception": fid,
    "sharpness": sharpness.sharpness,
    "mean_sharpness": lambda x: [sharpness.mean_sharpness([x[:5], x[5:]])],
    "frechet_reference": referred,
    "evaluate": evaluated,
    "codes": lambda x: codes(model(), x),
    "active_units": lambda x: active_units(model(), x).variance,
    "unit_divergence": lambda x: unit_divergence(model(), x),
    "importance_weighted_nll": likelihoods,
    "reconstruction_error": lambda x: [reconstruction_error(model(), x)],
    "fig3.Measure": measured,
    "fig2.matrices": lambda x: matrices(model(), x).gram,
    "digits.train_classifier": classified,
    "table1.picture": lambda x: np.asarray(sheet({(REFERENCE, 1.0): x, (CHALLENGER, 1.0): x}, (1.0,))).astype(float),
    "cli.pictures.grid": lambda x: sample_grid(x.numpy()).astype(float),
    "report.pictures.to_pixels": lambda x: pictures.to_pixels(x.numpy(), (0.0, 1.0)).astype(float),
    "report.pictures.grid": lambda x: drawn(pictures.grid(x.permute(0, 2, 3, 1).numpy(), 3, "")),
    "report.sections.held_out": lambda x: sections.held_out(Dataset("toy", x, x, {}), 5),
    "report.view.View": looked_at,
}


@pytest.mark.parametrize("name", TAKES_IMAGES)
@pytest.mark.usefixtures("as_shipped")
def test_bytes_are_the_numbers_that_they_mean(name: str) -> None:
    take = TAKES_IMAGES[name]
    from_bytes, from_numbers = (torch.as_tensor(np.array(take(x))) for x in (PIXELS, PIXELS.float() / 255))
    torch.testing.assert_close(from_bytes, from_numbers, rtol=2e-4, atol=1e-6)
    assert from_bytes.double().abs().max() > 0


@pytest.mark.parametrize(
    "name",
    ["as_float", "as_images", "sharpness", "mean_sharpness", "frechet.statistics", "FrechetDistance", "evaluate"],
)
@pytest.mark.parametrize("scale", ["bytes", "numbers"])
@pytest.mark.usefixtures("as_shipped")
def test_arrays_are_taken_as_tensors_are(name: str, scale: str) -> None:
    take, x = TAKES_IMAGES[name], PIXELS if scale == "bytes" else PIXELS.float() / 255
    backwards = np.ascontiguousarray(x.numpy()[..., ::-1])[..., ::-1]
    for array in (x.numpy(), backwards, x.numpy().astype(x.numpy().dtype.newbyteorder(">"))):
        array.flags.writeable = False
        torch.testing.assert_close(torch.as_tensor(np.array(take(array))), torch.as_tensor(np.array(take(x))))


CHECKED = ("as_images", "as_bytes", "sharpness", "mean_sharpness", "Inception", "EfficientNetLite0", "FrechetDistance")


@pytest.mark.parametrize("name", [*CHECKED, "frechet.statistics", "frechet.growing", "frechet_reference"])
def test_images_on_another_scale_are_refused_with_their_range(name: str) -> None:
    unit = PIXELS.float() / 255
    for images, low, high in ((2 * unit - 1, "-1", "1"), (255 * unit, "0", "255")):
        with pytest.raises(InputError, match=rf"values from {low} to {high}; expected 0 to 1 \(or uint8, 0 to 255\)"):
            TAKES_IMAGES[name](images)
    spoiled = unit.clone()
    spoiled[7, 0, 3, 3] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        TAKES_IMAGES[name](spoiled)


def test_a_set_has_no_distance_from_itself_on_either_scale() -> None:
    distance = frechet.FrechetDistance(features(), PIXELS.split(5))
    assert distance([PIXELS]) < 1e-6
    assert distance([PIXELS.float() / 255]) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_byte_comes_back(dtype: torch.dtype) -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(as_bytes((every.double() / 255).to(dtype)), every)


def test_outputs_beyond_black_and_white_are_shown_as_these() -> None:
    assert cut_off(torch.tensor([-9.0, 0.0, 1.0, 9.0])).tolist() == [0, 0, 255, 255]
    with pytest.raises(InputError, match="not finite"):
        cut_off(torch.tensor([0.0, torch.nan]))
