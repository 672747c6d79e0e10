from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

from curvae.data import avatars, load
from curvae.data.avatars import FACTORS
from curvae.errors import InputError, MissingExtraError

COLUMNS = {name: column for column, name in enumerate(FACTORS)}
installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("python_avatars", "resvg_py")),
    reason="the extra faces is not installed",
)


def face(**values: str) -> np.ndarray:
    """The face with these factors, the rest being the first of their values."""
    row = np.zeros(len(FACTORS), np.uint8)
    for name, value in values.items():
        row[COLUMNS[name.replace("_", " ")]] = FACTORS[name.replace("_", " ")].index(value)
    return row


def pixels_of(image: np.ndarray, colour: str) -> int:
    """How many pixels have exactly this colour."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
    return int((image == rgb[:, None, None]).all(axis=0).sum())


def test_factors_are_uniform_and_independent() -> None:
    rows = avatars.factors(20_000, seed=5)
    for column, (name, values) in enumerate(FACTORS.items()):
        share = np.bincount(rows[:, column], minlength=len(values)) / len(rows)
        expected = np.full(len(values), 1 / len(values))
        if name in ("facial hair", "glasses"):
            expected = np.r_[0.5, np.full(len(values) - 1, 0.5 / (len(values) - 1))]
        # within 5 standard deviations of a count
        assert (abs(share - expected) < 5 * np.sqrt(expected / len(rows))).all(), name
    correlation = np.corrcoef(rows.T.astype(float))
    assert abs(correlation - np.eye(len(FACTORS))).max() < 5 / np.sqrt(len(rows))


def test_factors_come_from_the_seed_and_the_number_of_the_face() -> None:
    np.testing.assert_array_equal(avatars.factors(50, seed=1), avatars.factors(300, seed=1)[:50])
    assert (avatars.factors(50, seed=1) != avatars.factors(50, seed=2)).any(axis=1).all()
    train, test = avatars.load_factors(count=50, seed=1)
    np.testing.assert_array_equal(np.concatenate([train, test]), avatars.factors(50, seed=1))


@installed
def test_the_set_is_what_its_factors_render_and_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load("avatars:20:7", cache=tmp_path)
    assert (first.name, first.shape, first.split) == ("avatars", (3, 64, 64), {"kind": "standard"})
    for half, rows in zip((first.train, first.test), avatars.load_factors(20, 7), strict=True):
        assert len(half) == len(rows)
        np.testing.assert_array_equal(half.numpy(), np.stack([avatars.render(row) for row in rows]))

    def refuse(row: object) -> None:
        raise AssertionError("rendered again")

    other = load("avatars:20:8", cache=tmp_path)
    monkeypatch.setattr(avatars, "render", refuse)
    assert load("avatars:20:7", cache=tmp_path).digest == first.digest != other.digest
    with pytest.raises(AssertionError, match="rendered again"):
        load("avatars:21:7", cache=tmp_path)
    monkeypatch.setenv("CURVAE_CACHE", str(tmp_path))
    assert load("avatars:20:7").digest == first.digest


@installed
def test_every_value_of_every_factor_shows() -> None:
    for name, values in FACTORS.items():
        faces = [avatars.render(face(**{"hair": "CAESAR", "facial_hair": "NONE", name: value})) for value in values]
        for a, b in itertools.combinations(range(len(values)), 2):
            changed = (faces[a] != faces[b]).any(axis=0).sum()
            assert changed > 5, (name, values[a], values[b])


@installed
@pytest.mark.parametrize("background", FACTORS["background"][:3])
def test_colours_are_those_of_the_factors(background: str) -> None:
    image = avatars.render(face(background=background, skin="BROWN"))
    assert pixels_of(image, background) > 800
    assert pixels_of(image, "#D08B5B") > 400  # what the drawing calls brown skin
    assert not any(pixels_of(image, other) for other in FACTORS["background"] if other != background)


@installed
def test_a_face_fills_the_square() -> None:
    bald = avatars.render(face(background="#A7FFC4"))
    painted = np.argwhere((bald != bald[:, :1, :1]).any(axis=0))
    (top, left), (bottom, right) = painted.min(axis=0), painted.max(axis=0)
    assert 2 <= top <= 8
    assert (bottom, left, right) == (63, pytest.approx(8, abs=6), pytest.approx(55, abs=6))


@pytest.mark.parametrize("module", ["python_avatars", "resvg_py"])
def test_a_package_is_missing(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curvae._extras._is_there", lambda name: name != module)
    package = module.replace("_", "-")
    with pytest.raises(MissingExtraError, match=rf'^avatars need {package}, .*; run: pip install "curvae\[faces'):
        load("avatars")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("avatars:many", "'avatars:many' is not recognised; expected avatars, avatars:COUNT or avatars:COUNT:SEED"),
        ("avatars:10:1:2", "is not recognised"),
        ("avatars:-5", "is not recognised"),
        ("avatars:²", "is not recognised"),
        ("avatars:1", "the number of avatars is 1; expected 2 to 1000000"),
        ("avatars:9000000", "the number of avatars is 9000000; expected"),
        ("avatars:10:9223372036854775808", "avatars' seed is 9223372036854775808; expected"),
    ],
)
def test_bad_names(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(source)
