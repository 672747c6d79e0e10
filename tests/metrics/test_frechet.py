"""The Fréchet distance against SciPy, and the statistics of its reference."""

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from torch import nn

from curvae.data import avatars
from curvae.errors import InputError
from curvae.metrics.efficientnet import EfficientNetLite0
from curvae.metrics.frechet import FrechetDistance, Statistics, between, growing, statistics


class Flat(nn.Flatten):
    num_features = 6


def drawn(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng().random((count, 1, 2, 3)))


def by_scipy(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.flatten(1).numpy(), b.flatten(1).numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root))


def test_distance_is_the_formula_for_one_set_after_another() -> None:
    real, first, second = drawn(300), 0.5 * drawn(200) ** 2, drawn(150).sqrt()
    distance = FrechetDistance(Flat(), real.split(70))
    for other in (first, second, first):
        assert distance(other.split(64)) == pytest.approx(by_scipy(real, other), rel=1e-6)


def test_order_and_batches_do_not_matter() -> None:
    real, other = drawn(100), drawn(90) ** 2
    expected = FrechetDistance(Flat(), [real])([other])
    shuffled = FrechetDistance(Flat(), real[torch.randperm(100)].split(7))
    assert shuffled(other[torch.randperm(90)].split(13)) == pytest.approx(expected, rel=1e-9)


def test_a_set_has_no_distance_from_itself() -> None:
    real = drawn(100)
    assert 0 <= FrechetDistance(Flat(), [real])([real]) < 1e-9


def test_too_few_images_are_refused() -> None:
    one, many = drawn(1), drawn(5)
    with pytest.raises(InputError, match="there are 1 images"):
        FrechetDistance(Flat(), [one])
    with pytest.raises(InputError, match="there are 1 images"):
        FrechetDistance(Flat(), [many])([one])
    with pytest.raises(InputError, match="there are 0 images"):
        FrechetDistance(Flat(), [many])([])


def test_what_is_not_finite_has_no_distance() -> None:
    real = drawn(30)
    distance = FrechetDistance(Flat(), [real])
    for value in (np.nan, np.inf):
        images = drawn(30)
        images[7, 0, 1, 1] = value
        with pytest.raises(InputError, match="images are not finite; a model may have diverged"):
            distance(images.split(10))

    class Roots(Flat):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (super().forward(x) - 0.5).sqrt()

    with pytest.raises(InputError, match="features of the images are not finite"):
        FrechetDistance(Roots(), [real])


def test_growing_sets_are_the_first_images_whatever_the_batches() -> None:
    images, counts = drawn(50), (2, 7, 30, 50)
    for size in (1, 8, 50):
        found = growing(Flat(), images.split(size), counts)
        for count, one in zip(counts, found, strict=True):
            whole = statistics(Flat(), [images[:count]])
            assert one.count == count
            torch.testing.assert_close(one.mean, whole.mean)
            torch.testing.assert_close(one.covariance, whole.covariance)


def test_statistics_are_numpys() -> None:
    images = drawn(40)
    found = statistics(Flat(), images.split(9))
    flat = images.flatten(1).numpy()
    np.testing.assert_allclose(found.mean, flat.mean(0))
    np.testing.assert_allclose(found.covariance, np.cov(flat.T), atol=1e-12)
    torch.testing.assert_close(FrechetDistance(Flat(), found).reference.mean, found.mean)


@pytest.mark.parametrize("counts", [(), (1, 5), (5, 5), (6, 5)])
def test_counts_that_do_not_ascend_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="ascending whole numbers >= 2"):
        growing(Flat(), [drawn(9)], counts)


@pytest.mark.parametrize("own", [torch.float32, torch.float64])
def test_images_are_given_in_the_extractors_own_type(own: torch.dtype) -> None:
    extractor = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).to(own)
    extractor.num_features = 3
    images = np.random.default_rng(0).random((40, 1, 2, 2))
    found = statistics(extractor, [images])
    features = extractor(torch.from_numpy(images).to(own)).detach().double().numpy()
    np.testing.assert_allclose(found.covariance, np.cov(features.T), rtol=1e-9)
    assert {parameter.dtype for parameter in extractor.parameters()} == {own}


def test_an_extractor_of_buffers_alone_has_a_type_too() -> None:
    """Fixed filters are no parameters; what counts steps is not what images are given in."""
    extractor = Flat().double()
    extractor.register_buffer("steps", torch.tensor(0))
    extractor.register_buffer("filters", torch.eye(4).double())
    seen: list[torch.dtype] = []
    extractor.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    statistics(extractor, [drawn(5).float()])
    assert seen == [torch.float64]


def test_more_images_than_there_are_are_refused() -> None:
    with pytest.raises(InputError, match="there are 9 images in a set; expected at least 10"):
        growing(Flat(), drawn(9).split(4), (5, 10))


def test_statistics_of_other_features_are_refused() -> None:
    few = Statistics(torch.zeros(2).double(), torch.eye(2).double(), 5)
    with pytest.raises(InputError, match="6 and 2 features"):
        between(statistics(Flat(), [drawn(9)]), few)


class Answering(nn.Module):
    """Answers anything, and says that it gives so many features."""

    def __init__(self, answer: object, num_features: object) -> None:
        super().__init__()
        self.answer, self.num_features = answer, num_features

    def forward(self, images: torch.Tensor) -> object:
        return self.answer


@pytest.mark.parametrize(
    ("extractor", "message"),
    [
        (nn.Flatten(), "the extractor, a Flatten, has no num_features"),
        *((Answering(torch.zeros(9, 6), number), "has no num_features >= 1") for number in ("6", -1)),
        (Answering(torch.zeros(9, 6), 5), r"shape \(9, 6\); expected \(9, 5\), its num_features"),
        (Answering(torch.zeros(9, 1, 2, 3), 6), r"shape \(9, 1, 2, 3\); expected \(9, 6\)"),
        (Answering((torch.zeros(9, 6),), 6), "returned a tuple of 1; expected one tensor"),
    ],
)
@pytest.mark.usefixtures("as_shipped")
def test_extractors_of_another_kind_are_refused_in_one_line(extractor: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        statistics(extractor, [torch.rand(9, 1, 2, 3)])


class Some(nn.Module):
    """Every tenth feature: the roots of large matrices take most of the time."""

    num_features = 128

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.extractor(x)[:, ::10]


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    pytest.importorskip("python_avatars")
    return torch.from_numpy(np.stack([avatars.render(row) for row in avatars.factors(80, seed=5)])) / 255


@pytest.mark.slow
def test_on_images_it_grows_with_blur_and_noise_and_shrinks_with_their_number(faces: torch.Tensor) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    extractor = Some(EfficientNetLite0(side=32))
    distance = FrechetDistance(extractor, [faces])
    assert distance([faces[torch.randperm(80)]]) < 1e-3
    blurred = [distance([gaussian(faces, sigma)]) for sigma in (0.5, 1.0, 2.0, 4.0)]
    assert blurred == sorted(blurred)
    noise = torch.randn(faces.shape, generator=torch.Generator().manual_seed(0))
    noisy = [distance([(faces + sigma * noise).clamp(0, 1)]) for sigma in (0.02, 0.05, 0.1, 0.3)]
    assert noisy == sorted(noisy)
    assert min(blurred[0], noisy[0]) > 1e-3
    first, second = (growing(extractor, [half], (5, 10, 20, 40)) for half in (faces[:40], faces[40:]))
    bias = [between(a, b) for a, b in zip(first, second, strict=True)]
    assert bias == sorted(bias, reverse=True)


def gaussian(images: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(scipy.ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def test_one_array_is_no_batches() -> None:
    images = drawn(8)
    for call in (lambda: statistics(Flat(), images), lambda: growing(Flat(), images.numpy(), (4,))):
        with pytest.raises(InputError, match=r"images are one array of shape \(8, .*; expected batches"):
            call()
    assert statistics(Flat(), images[None]).count == 8
