"""Names, colours and groups of runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvae.errors import InputError
from curvae.report.subjects import group_by_data, open_subjects, short_names
from curvae.runs import Run

MakeRun = Callable[..., Run]

PARTS = st.lists(st.sampled_from(["runs", "a", "b", "vae"]), min_size=1, max_size=4)


@given(st.lists(PARTS.map(lambda parts: Path("/", *parts)), min_size=1, max_size=6, unique=True))
def test_names_differ_and_are_ends_of_paths(paths: list[Path]) -> None:
    names = short_names(paths)
    assert len(set(names)) == len(paths)
    for path, name in zip(paths, names, strict=True):
        assert str(path).endswith(name.lstrip("/"))


@pytest.mark.parametrize("second", ["run", "./run", "other/../run"])
def test_the_same_run_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="is given twice; name each run once"):
        short_names([Path("run"), Path(second)])


def test_runs_are_grouped_by_what_their_data_are(
    tmp_path: Path, digits: Path, vectors: Path, make_run: MakeRun
) -> None:
    copy = tmp_path / "elsewhere.npy"
    copy.write_bytes(digits.read_bytes())
    for name, data, settings in [
        ("a", digits, {}),
        ("b", vectors, {}),
        ("c", copy, {}),
        ("d", digits, {"split_seed": 1}),
        ("e", digits, {"finished": False}),
    ]:
        make_run(tmp_path / name, data, evaluated=False, **settings)
    subjects = open_subjects([tmp_path / name for name in "abcde"])
    groups = group_by_data(subjects)
    assert [[subject.name for subject in group.subjects] for group in groups] == [["a", "c", "e"], ["b"], ["d"]]
    assert [subject.name for subject, _ in groups[0].trained] == ["a", "c"]
    assert groups[0].title == "digits.npy (1 × 8 × 8)"
    assert len({subject.colour for subject in subjects}) == 5
