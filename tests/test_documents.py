"""What the documents say is true: their code runs, and the symbols, tests and options they name exist."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from functools import reduce
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from curvae.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("[!_]*.md"))]
sys.path.insert(0, str(ROOT / "docs"))

import _generate  # noqa: E402
import _links  # noqa: E402


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def code_spans(page: Path, pattern: str) -> list[str]:
    return re.findall(rf"`({pattern})`", page.read_text(encoding="utf-8"))


def resolve(name: str) -> object:
    """The object of a dotted name whose first parts are modules."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[cut:], module)
    raise ModuleNotFoundError(name)


RUN = [page for page in PAGES if blocks(page, "python")]
LONG = {"fit.md", "sklearn.md"}


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if page.name in LONG else []) for page in RUN],
    ids=lambda page: page.name,
)
def test_python_blocks_run_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a page's code may write
    namespace: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), namespace)


def test_the_readme_shows_python_and_is_a_page() -> None:
    assert blocks(ROOT / "README.md", "python")
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("dropped", ["+", "-"], ids=["before", "after"])
def test_both_sides_of_the_readmes_difference_run(dropped: str) -> None:
    (difference,) = blocks(ROOT / "README.md", "diff")
    lines = [line[1:] for line in difference.splitlines() if not line.startswith(dropped)]
    namespace: dict[str, object] = {}
    (example,) = blocks(ROOT / "README.md", "python")
    exec(compile(f"{example}\nhead = nn.Linear(64, 16)\n" + "\n".join(lines), "README.md", "exec"), namespace)
    loss = namespace["loss"]
    assert isinstance(loss, torch.Tensor)
    assert loss.isfinite()
    assert loss.requires_grad


def test_generated_pages_are_what_results_and_commands_say() -> None:
    assert [page.name for page in _generate.outdated()] == [], "run python docs/_generate.py"


def test_the_page_of_commands_has_the_default_0() -> None:
    seeds = re.findall(
        r"^\| `--seed` \|.*$", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert len(seeds) >= 4
    assert all(row.endswith("| `0` |") for row in seeds)


def test_a_changed_number_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    part = _generate._figures.demo("grae")["grae_full"]
    monkeypatch.setitem(part, "mean", part["mean"] + 1)
    assert [page.name for page in _generate.outdated()] == ["results.md"]


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (-0.0104, -0.0205, -0.00028, "−0.01 (−0.02 to −0.0003)"),
        (0.003, 0.001, 0.02, "0.003 (0.001 to 0.02)"),
        (0.003, -0.001, 0.02, "0.00 (0.00 to 0.02)"),
    ],
)
def test_an_interval_that_excludes_0_does_not_show_it(value: float, low: float, high: float, text: str) -> None:
    assert _generate._numbers.interval({"value": value, "low": low, "high": high}) == text


def test_uniqueness_has_no_number_and_no_conclusion_that_the_results_deny(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = _generate._uniqueness.panel("fig6", "tanh", "full")["decoder_to_output_axes"]["converged"]["median_abs"]
    monkeypatch.setitem(columns, "value", columns["value"] + 1)
    assert [page.name for page in _generate.outdated()] == ["uniqueness.md"]
    optimum = _generate._uniqueness.panel("fig5", "tanh", "diagonal")["optimum_to_true_latents"]
    monkeypatch.setitem(optimum, "low", 1.0)
    with pytest.raises(AssertionError, match="write another"):
        _generate._uniqueness.ends_table()


@pytest.mark.parametrize(
    ("low", "high", "compared", "gain"),
    [
        (-2, -1, "better", "small"),
        (-2, 1, "no significant difference", "small and not significant"),
        (-1, 2, "no significant difference", "none"),
        (1, 2, "worse", "none"),
    ],
)
def test_the_readme_says_no_more_than_an_interval(low: float, high: float, compared: str, gain: str) -> None:
    part = {"value": (low + high) / 2, "low": low, "high": high}
    assert (_generate._readme._compared(part), _generate._readme._gain(part)) == (compared, gain)


def test_the_readme_has_no_conclusion_that_the_numbers_deny(monkeypatch: pytest.MonkeyPatch) -> None:
    part = _generate._long.lead("GRAE≈, one column")["grae_full"]
    monkeypatch.setitem(part, "high", 0.1)
    with pytest.raises(AssertionError, match="write another"):
        _generate._readme.parts()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_published_addresses_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in _links.named_files(text):
        assert (ROOT / name).exists(), name
    for name in re.findall(rf"{_links.SITE}([\w/-]+)\.html", text):
        assert name.startswith("reference/") or any((at / f"{name}.md").exists() for at in (ROOT, ROOT / "docs")), name


def test_the_readme_has_no_relative_links() -> None:
    assert not re.findall(r"\]\((?!https://)[^)]*\)", (ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_readmes_commands_and_options_exist() -> None:
    commands = get_command(app).commands
    lines = [line for block in blocks(ROOT / "README.md", "bash") for line in block.splitlines()]
    shown = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("curvae ")]
    assert {"train", "evaluate", "sample", "report"} <= {name for name, *_ in shown}
    for name, *words in shown:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_symbols_exist(page: Path) -> None:
    for name in code_spans(page, r"curvae(?:\.\w+)+"):
        assert resolve(name) is not None, f"{page.name} names {name}"


def test_every_equation_names_its_code_and_its_proof() -> None:
    page = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:after )?\(\d+\).*$", page, flags=re.MULTILINE)
    assert len(rows) >= 12
    for row in rows:
        assert "`curvae." in row, f"no code in: {row}"
        assert "`tests/" in row, f"no proof in: {row}"


def test_named_tests_exist() -> None:
    for name in code_spans(ROOT / "docs" / "equations.md", r"tests/[\w/]+\.py(?:::\w+)*"):
        path, *parts = name.split("::")
        assert (ROOT / path).is_file(), name
        source = (ROOT / path).read_text(encoding="utf-8")
        for part in parts:
            assert re.search(rf"^\s*(?:def|class) {part}\b", source, flags=re.MULTILINE), name
