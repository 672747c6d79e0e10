"""Statistics that are kept: found again, apart for other keys, made anew when damaged."""

from pathlib import Path

import pytest
import torch

from curvae.errors import InputError
from curvae.metrics.frechet import Statistics
from curvae.metrics.reference import kept, place

KEY = {"data": "digest", "half": "test", "extractor": "some"}


def drawn(count: int) -> Statistics:
    features = torch.randn(count, 5, dtype=torch.float64)
    return Statistics(features.mean(0), features.T.cov(), count)


class Maker:
    """Makes statistics, and counts how often it was asked to."""

    def __init__(self, *counts: int) -> None:
        self.made, self.calls = [drawn(count) for count in counts], 0

    def __call__(self) -> list[Statistics]:
        self.calls += 1
        return self.made


def same(left: list[Statistics], right: list[Statistics]) -> bool:
    return all(
        torch.equal(a.mean, b.mean) and torch.equal(a.covariance, b.covariance) and a.count == b.count
        for a, b in zip(left, right, strict=True)
    )


def test_made_once_and_found_again(tmp_path: Path) -> None:
    make = Maker(10, 20)
    first = kept(tmp_path, KEY, [10, 20], make)
    again = kept(tmp_path, KEY, [10, 20], make)
    assert make.calls == 1
    assert same(first, again)
    assert same(kept(tmp_path, KEY, [20], make), make.made[1:])
    assert make.calls == 1


@pytest.mark.parametrize("change", [{"data": "other"}, {"half": "train"}, {"extractor": "another"}, {"resize": "32"}])
def test_whatever_decides_them_is_in_the_key(change: dict[str, str], tmp_path: Path) -> None:
    one, other = Maker(10), Maker(10)
    kept(tmp_path, KEY, [10], one)
    assert same(kept(tmp_path, KEY | change, [10], other), other.made)
    assert same(kept(tmp_path, KEY, [10], other), one.made)
    assert place(tmp_path, KEY, 10) != place(tmp_path, KEY, 11)


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    make = Maker(10)
    kept(tmp_path, KEY, [10], make)
    path = place(tmp_path, KEY, 10)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1  # a number, not the header
    for damaged in (whole[:40], whole[:-8], bytes(flipped), b""):
        path.write_bytes(damaged)
        before = make.calls
        assert same(kept(tmp_path, KEY, [10], make), make.made)
        assert make.calls == before + 1
        assert path.read_bytes() == whole
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    make = Maker(10)
    with pytest.raises(InputError, match="CURVAE_CACHE"):
        kept(tmp_path / "file", KEY, [10], make)
    assert make.calls == 0
