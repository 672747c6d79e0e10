"""Where a run came from."""

import subprocess
from pathlib import Path

import pytest

import curvae
from curvae.runs.provenance import commit

FOLDER = Path(curvae.__file__).parent


def test_commit_is_that_of_the_checkout() -> None:
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=FOLDER, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not in a git checkout")
    found = commit()
    assert found is not None
    assert found.removesuffix("-dirty") == head.stdout.strip()


def test_an_installed_package_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it lies inside a repository of somebody else."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(curvae, "__file__", str(tmp_path / "__init__.py"))
    assert commit() is None


def test_without_git_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit() is None
