"""docs/own-model.md: three strangers' models, each from its own file to a report, by the commands of the page."""

import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvae.runs import Run

Curvae = Callable[..., Any]
PAGE = (Path(__file__).parents[2] / "docs" / "own-model.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```py title="(\S+)"\n(.*?)^```$', PAGE, flags=re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
SHORT = ["--steps", "3", "--batch-size", "16", "--checkpoint-every", "2", "--log-every", "1"]
FEW = ["--limit", "10"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def commands(block: str) -> list[list[str]]:
    return [shlex.split(line) for line in block.strip().splitlines()]


def short(words: list[str]) -> list[str]:
    """The command at the size of a test."""
    if "--steps" in words:
        at = words.index("--steps")
        words = [*words[:at], *words[at + 2 :]]
    return [*words, *(SHORT if words[0] == "train" else FEW if words[0] == "evaluate" else [])]


def run(blocks: list[str], curvae: Curvae) -> None:
    """The commands of some blocks, in the working directory."""
    for words in (words for block in blocks for words in commands(block)):
        if words == ["python", "data.py"]:
            runpy.run_path("data.py")
            np.save("digits.npy", np.load("digits.npy")[:150])
            continue
        name, *rest = words
        assert name == "curvae"
        target = None
        if ">" in rest:
            rest, target = rest[: rest.index(">")], rest[-1]
        answer = curvae(*short(rest))
        assert answer.code == 0, (words, answer.stderr)
        if target is not None:
            Path(target).write_text(answer.stdout, encoding="utf-8")


@pytest.mark.slow
def test_the_first_model_of_the_page(place: Path, curvae: Curvae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    run(BLOCKS[:1], curvae)
    assert Run.open("runs/residual").config.model_set == {"blocks": "3"}
    assert Path("residual.html").read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")


@pytest.mark.slow
def test_every_further_command_of_the_page(place: Path, curvae: Curvae, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first model, which is there already."""
    monkeypatch.chdir(place)
    assert {"residual.py", "rows.py", "table.py", "data.py"} == set(FILES)
    if not Path("runs").exists():
        run(BLOCKS[:1], curvae)
    run(BLOCKS[1:], curvae)
    for page in ("residual", "rows", "table", "all"):
        assert Path(f"{page}.html").read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")
    assert Run.open("runs/residual").config.model_set == {"blocks": "3"}
    assert Run.open("runs/rows").config.latents == 6
    table = Run.open("runs/table").config
    assert (table.latents, table.structure) == (3, "full")
    again = Run.open("runs/again").config
    assert (again.lr, again.latents, again.steps) == (3e-4, 6, 3)
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    Path("short.yaml").write_text(example, encoding="utf-8")
    assert curvae(*short(["train", "--config", "short.yaml", "--trust"])).code == 0
    assert Run.open("runs/short").config.model_set == {"width": "32", "layers": "1"}
