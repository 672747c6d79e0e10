"""The core needs five packages; what needs more says in one line which command installs it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from curvae._extras import require
from curvae.errors import InputError, MissingExtraError

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower()


def run(before: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, after some Python."""
    code = f"import runpy, sys; {before}; sys.argv[1:] = {words!r}; runpy.run_module('curvae', run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_core_works_where_nothing_else_is_installed() -> None:
    found = subprocess.run([sys.executable, HERE / "core.py", "--wall"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "the core computes; what needs an extra says so\n"


def test_without_the_extra_the_script_says_one_line_and_leaves_with_2() -> None:
    found = run(f"sys.path.insert(0, {str(HERE)!r}); from core import raise_wall; raise_wall()", ["--help"])
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("error: the command line needs typer, rich and pillow, which are not installed")
    assert found.stderr.endswith('; run: pip install "curvae[cli]"\n')
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["typer", "torch"])
def test_ctrl_c_while_packages_are_imported_is_one_line(package: str, tmp_path: Path) -> None:
    """As at any later time, also before there is a command that could take it."""
    at = f"lambda name, *_: os.kill(os.getpid(), signal.SIGINT) if name == {package!r} else None"
    # a process that was started in the background ignores the signal
    taken = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    before = f"import os, signal, types; {taken}; sys.meta_path.insert(0, types.SimpleNamespace(find_spec={at}))"
    found = run(before, ["train", "--data", "mnist", "--out", str(tmp_path / "out")])
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "error: interrupted\n")


def test_the_lines_name_extras_that_exist() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    named = {
        name
        for text in sources
        for name in re.findall(r'curvae\[(\w+)\]"|extra="(\w+)"', text)
        for name in name
        if name
    }
    assert {"mnist", "uniqueness", "features", "faces", "fid", "cluster"} <= named
    assert named <= set(PROJECT["optional-dependencies"])


def test_the_core_is_five_packages() -> None:
    assert {name_of(each) for each in PROJECT["dependencies"]} == {
        "torch",
        "numpy",
        "scipy",
        "jaxtyping",
        "safetensors",
    }


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("module", "extra", "words"),
    [
        ("lightning", "cli", ["train", "--data", "mnist", "--out", "OUT"]),
        ("numba", "uniqueness", ["reproduce", "fig1", "--scale", "smoke", "--out", "OUT"]),
    ],
)
def test_a_command_whose_package_is_missing_says_one_line(
    module: str, extra: str, words: list[str], tmp_path: Path
) -> None:
    words = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    found = run(f"sys.modules[{module!r}] = None", words)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.endswith(f' needs {module}, which is not installed; run: pip install "curvae[{extra}]"\n')
    assert found.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_message_names_packages_as_pip_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"^x needs no-such and pillow, which are not installed; run: pip "):
        require("x needs", "no_such", "torch", "PIL")
    assert issubclass(MissingExtraError, InputError)
