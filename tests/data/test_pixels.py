"""What means white is a property of a whole set: of masks in bytes, and of fewer bits than the file has."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curvae.data import as_float, load
from curvae.errors import InputError


def images(bits: int, shape: tuple[int, ...] = (12, 6, 5)) -> np.ndarray:
    """Darker and lighter ones; white is in one image alone."""
    found = np.random.default_rng().integers(0, 2**bits // 5, shape)
    found[-1, 0, 0] = 2**bits - 1
    return found


def save(folder: Path, pixels: np.ndarray, suffix: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number:03}.{suffix}")
    return folder


def in_order(folder: Path, **options: object) -> torch.Tensor:
    """All values that a model would see, in the order of the files."""
    data = load(folder, **options)  # type: ignore[arg-type]
    held_out = data.split["test_indices"]
    found = torch.empty(len(data.train) + len(data.test), *data.shape)
    found[held_out] = as_float(data.test)
    found[np.setdiff1d(np.arange(len(found)), held_out)] = as_float(data.train)
    return found


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_images_in_sixteen_bits_are_scaled_by_the_bits_that_the_set_has(
    tmp_path: Path, bits: int, suffix: str
) -> None:
    pixels = images(bits)
    found = in_order(save(tmp_path / "set", pixels.astype(np.uint16), suffix))
    # not one image's own maximum, which most are far below; half a byte is the rounding
    np.testing.assert_allclose(found[:, 0], pixels / (2**bits - 1), atol=0.51 / 255)
    assert load(tmp_path / "set").white == 2**bits - 1


def test_halves_and_damage_change_nothing_of_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = images(12)
    save(tmp_path / "train", pixels[:-1].astype(np.uint16))
    save(tmp_path / "test", pixels[-1:].astype(np.uint16))  # the only one that shows how many bits there are
    (tmp_path / "train" / "001.png").write_bytes(b"damaged")
    data = load(tmp_path, damaged="skip")
    assert data.white == 4095
    assert data.split["damaged"]["count"] == 1
    np.testing.assert_allclose(as_float(data.train)[1:, 0], pixels[2:-1] / 4095, atol=0.51 / 255)
    assert capsys.readouterr().err.count("left out") == 1


def test_images_of_eight_bits_beside_them_keep_their_own_white(tmp_path: Path) -> None:
    shallow, deep = images(8).astype(np.uint8), images(12).astype(np.uint16)
    save(tmp_path / "set" / "a", shallow)
    found = in_order(save(tmp_path / "set" / "b", deep).parent)
    np.testing.assert_allclose(found[:, 0], np.concatenate([shallow / 255, deep / 4095]), atol=0.51 / 255)


def test_other_data_are_read_by_the_white_of_the_first(tmp_path: Path) -> None:
    dark = (images(12) // 9).astype(np.uint16)
    save(tmp_path / "dark", dark)
    assert load(tmp_path / "dark").white == 1023
    np.testing.assert_allclose(in_order(tmp_path / "dark", white=4095)[:, 0], dark / 4095, atol=0.51 / 255)
    with pytest.raises(InputError, match="above 255, which means white in these data"):
        load(tmp_path / "dark", white=255)


def test_it_is_kept_with_the_pixels(tmp_path: Path) -> None:
    save(tmp_path / "set", images(12).astype(np.uint16))
    first, again = (load(tmp_path / "set", cache=tmp_path / "cache") for _ in range(2))
    assert first.white == again.white == 4095
    other = load(tmp_path / "set", cache=tmp_path / "cache", white=65_535)
    assert other.white == 65_535
    assert other.train.max() < first.train.max()


@pytest.mark.parametrize("kind", ["npy", "npz", "png"])
def test_bytes_of_0_and_1_are_masks(tmp_path: Path, kind: str) -> None:
    masks = np.random.default_rng(0).integers(0, 2, (12, 6, 5)).astype(np.uint8)
    masks[:2] = 0  # an empty one is no photograph of the night
    path = tmp_path / f"set.{kind}"
    if kind == "png":
        save(path, masks)
    else:
        np.savez(path, train=masks[:6], test=masks[6:]) if kind == "npz" else np.save(path, masks)
    data = load(path)
    assert data.white == 1
    assert set(as_float(data.train).unique().tolist()) == {0.0, 1.0}
    assert sum(float(as_float(half).sum()) for half in (data.train, data.test)) == masks.sum()


def test_masks_are_scaled_before_they_are_resized(tmp_path: Path) -> None:
    masks = np.kron(np.random.default_rng(0).integers(0, 2, (6, 5, 5)), np.ones((1, 2, 2))).astype(np.uint8)
    np.save(tmp_path / "bits.npy", masks)
    np.save(tmp_path / "bytes.npy", 255 * masks)
    bits, whole = (load(tmp_path / name, size=5) for name in ("bits.npy", "bytes.npy"))
    assert torch.equal(bits.train, whole.train)
    assert (bits.white, whole.white) == (1, 255)


def test_thin_masks_in_a_folder_are_scaled_before_they_are_resized(tmp_path: Path) -> None:
    masks = np.zeros((6, 20, 20), np.uint8)
    masks[:, ::10] = 1  # less than half of any pixel of the result
    bits = load(save(tmp_path / "bits", masks), size=4)
    whole = load(save(tmp_path / "bytes", 255 * masks), size=4)
    assert whole.train.max() > 0
    assert torch.equal(bits.train, whole.train)
    assert (bits.white, whole.white) == (1, 255)
    with pytest.raises(InputError, match="a pixel of 255, above 1, which means white in these data"):
        load(tmp_path / "bytes", white=1)


def test_dark_or_empty_bytes_are_no_masks(tmp_path: Path) -> None:
    for name, top in (("empty", 0), ("dark", 2)):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).integers(0, top + 1, (40, 6, 5)).astype(np.uint8))
        data = load(tmp_path / f"{name}.npy")
        assert data.white == 255
        assert data.train.max() == top


def test_masks_stay_masks_for_the_data_that_come_later(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.full((4, 6, 5), 3, np.uint8))
    with pytest.raises(InputError, match="holds bytes above 1; expected masks of 0 and 1"):
        load(tmp_path / "pixels.npy", white=1)
    np.save(tmp_path / "bits.npy", np.eye(4, dtype=np.uint8))
    assert load(tmp_path / "bits.npy", white=255).train.max() == 1  # black pixels of a set of photographs


def test_floats_have_no_white(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(4))
    assert load(tmp_path / "a.npy").white is None
