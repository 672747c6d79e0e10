from pathlib import Path

import numpy as np
import pytest

from curvae.data import is_name, load, sprites
from curvae.data.sprites import FACTORS, draw, factors
from curvae.errors import InputError

LEVELS = np.array([len(values) for values in FACTORS.values()])


def inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether a point of the sprite's own plane belongs to it, by the shape's definition."""
    if shape == "rectangle":
        return (abs(u) <= 0.5) & (abs(v) <= 1)
    if shape == "ellipse":
        return (u / 0.6) ** 2 + v**2 <= 1
    return (v <= 1) & (abs(u) <= 0.35 * (v + 1))


@pytest.mark.parametrize("shape", FACTORS["shape"])
def test_a_pixel_is_as_bright_as_its_covered_part(shape: str) -> None:
    rng = np.random.default_rng(len(shape))
    for row in rng.integers(0, LEVELS, (3, 5)):
        row[0] = FACTORS["shape"].index(shape)
        _, scale, degrees, x, y = (values[at] for values, at in zip(FACTORS.values(), row, strict=True))
        fine = (np.arange(64 * 16) + 0.5) / 16
        # a rotation of the plane as complex numbers, on sixteen points of each pixel's side
        place = ((fine[None, :] - x) + 1j * (fine[:, None] - y)) * np.exp(1j * np.deg2rad(degrees)) / scale
        covered = inside(shape, place.real, place.imag).reshape(64, 16, 64, 16).mean((1, 3))
        drawn = draw(row[None].astype(np.uint8))[0, 0] / 255
        # exact in the middle of an edge; at corners, and where an edge is oblique, a part of a pixel's grey
        assert abs(drawn - covered).max() < 0.4
        assert abs(drawn - covered)[(covered > 0) & (covered < 1)].mean() < 0.06
        assert abs(drawn.sum() / covered.sum() - 1) < 0.02


def test_no_two_sprites_are_alike_and_none_is_cut_off() -> None:
    rows = np.unique(factors(500, seed=4), axis=0)
    for tilted in (False, True):
        assert len({image.tobytes() for image in draw(rows, tilted)}) == len(rows)
    edge = draw(rows)[:, 0]
    assert not edge[:, [0, -1]].any()
    assert not edge[:, :, [0, -1]].any()


def test_every_value_changes_the_picture() -> None:
    for column, values in enumerate(FACTORS.values()):
        rows = np.repeat([[2, 3, 8, 8, 8]], len(values), 0).astype(np.uint8)
        rows[:, column] = np.arange(len(values))
        images = draw(rows).astype(float)
        difference = abs(images[1:] - images[:-1]).sum((1, 2, 3)) / 255
        assert (difference > 4).all()


def directions(tilted: bool) -> np.ndarray:
    """Mean JᵀJ of the picture with respect to x and y, in units of their standard deviations."""
    rows = factors(300, seed=2)
    rows[:, 3:] = rows[:, 3:].clip(1, 14)
    columns = []
    for column in (3, 4):
        up, down = rows.copy(), rows.copy()
        up[:, column] += 1
        down[:, column] -= 1
        columns.append((draw(up, tilted).astype(float) - draw(down, tilted)).reshape(300, -1) / 510)
    return np.einsum("ind,jnd->ij", columns, columns) / 300


def test_the_tilt_turns_the_principal_directions_to_the_diagonals() -> None:
    plain, tilted = directions(False), directions(True)
    cosine = [g[0, 1] / np.sqrt(g[0, 0] * g[1, 1]) for g in (plain, tilted)]
    assert abs(cosine[0]) < 0.05
    assert cosine[1] > 0.15
    strongest = np.linalg.eigh(tilted)[1][:, 1]
    assert abs(abs(strongest) - np.sqrt(0.5)).max() < 0.2


def test_factors_are_uniform_independent_and_of_the_seed() -> None:
    rows = factors(20_000, seed=5)
    for column, levels in enumerate(LEVELS):
        share = np.bincount(rows[:, column], minlength=levels) / len(rows)
        assert (abs(share - 1 / levels) < 5 * np.sqrt(1 / levels / len(rows))).all()
    assert abs(np.corrcoef(rows.T.astype(float)) - np.eye(5)).max() < 5 / np.sqrt(len(rows))
    np.testing.assert_array_equal(factors(50, seed=1), factors(300, seed=1)[:50])
    assert (factors(50, seed=1) != factors(50, seed=2)).any(axis=1).mean() > 0.9


def test_the_set_is_what_its_factors_draw_and_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: load(f"{name}:300:7", cache=tmp_path) for name in ("sprites", "tilted-sprites")}
    for name, dataset in found.items():
        assert (dataset.name, dataset.shape, dataset.split) == (name, (1, 64, 64), {"kind": "standard"})
        for half, rows in zip((dataset.train, dataset.test), sprites.load_factors(300, 7), strict=True):
            np.testing.assert_array_equal(half.numpy(), draw(rows, tilted=name == "tilted-sprites"))

    def refuse(*_: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(sprites, "draw", refuse)
    assert load("sprites:300:7", cache=tmp_path).digest == found["sprites"].digest
    with pytest.raises(AssertionError, match="drawn again"):
        load("sprites:300:8", cache=tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("sprites:many", "'sprites:many' is not recognised; expected sprites, sprites:COUNT or sprites:COUNT:SEED"),
        ("tilted-sprites:5:6:7", "expected tilted-sprites, tilted-sprites:COUNT or tilted-sprites:COUNT:SEED"),
        ("sprites:1", "the number of sprites is 1; expected 2 to 1000000"),
        ("sprites:10:9223372036854775808", "sprites' seed is 9223372036854775808; expected"),
    ],
)
def test_bad_names(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(source)


def test_only_drawn_sets_take_a_number() -> None:
    assert is_name("tilted-sprites:20:3")
    assert not is_name("mnist:20")
    with pytest.raises(InputError, match="'mnist:20' does not exist"):
        load("mnist:20")
