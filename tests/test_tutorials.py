"""How the documentation's build runs and shows a tutorial. That each of them runs, the build itself finds out."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import yaml
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def hook(tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("_tutorials", ROOT / "docs" / "_tutorials.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT, module.CACHE = tmp_path, tmp_path / "cache"  # a repository of its own, without sources
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n")
    return module


def picture(size: int, **metadata: str) -> nbformat.NotebookNode:
    """A notebook of a title and a cell that shows a picture of so many bytes."""
    data = {"image/png": base64.b64encode(bytes(size)).decode(), "text/plain": "<Figure>"}
    output = nbformat.v4.new_output("display_data", data=data)
    cell = nbformat.v4.new_code_cell("plt.show()", metadata=metadata, outputs=[output])
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title\n\nText."), cell])


def test_a_picture_becomes_a_file_with_its_text(hook: ModuleType) -> None:
    made = hook.rendered(picture(9, alt="A curve"), "page")
    assert set(made) == {"page.md", "page.ipynb", "page-1.png"}
    assert made["page-1.png"] == bytes(9)
    assert made["page.md"].startswith("# Title\n")
    assert made["page.md"].endswith("```python\nplt.show()\n```\n\n![A curve](page-1.png)")
    assert "](page.ipynb)" in made["page.md"]


def test_a_picture_without_text_or_too_large_is_refused(hook: ModuleType) -> None:
    with pytest.raises(PluginError, match=r"page-1\.png has no text; write"):
        hook.rendered(picture(9), "page")
    with pytest.raises(PluginError, match=r"page-1\.png has 100001 bytes; expected at most 100000"):
        hook.rendered(picture(100_001, alt="A curve"), "page")


def test_a_tutorial_runs_once_until_it_or_the_library_changes(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "page.py"
    source.write_text("# %% [markdown]\n# # Title\n# %%\nprint(6 * 7)\nprint('and')\n# !echo more\n")
    made = hook.rendered(hook.executed(source), "page")
    assert made["page.md"].endswith("```text\n42\nand\nmore\n```")

    source.write_text("# %% [markdown]\n# # Title\n# %%\nraise ValueError('a wrong turn')\n")
    with pytest.raises(PluginError, match=r"tutorial page\.py does not run(.|\n)*a wrong turn"):
        hook.executed(source)
    (kept,) = hook.CACHE.iterdir()  # a failure leaves nothing behind

    monkeypatch.setattr(hook, "NotebookClient", None)  # nothing runs from here on
    source.write_text("# %% [markdown]\n# # Title\n# %%\nprint(6 * 7)\nprint('and')\n# !echo more\n")
    assert hook.rendered(hook.executed(source), "page")["page.md"] == made["page.md"]
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "new.py").write_text("")
    assert hook._kept(source) != kept


def test_every_tutorial_is_in_the_navigation_and_in_the_overview() -> None:
    folder = ROOT / "docs" / "tutorials"
    configuration = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), yaml.BaseLoader)
    (entries,) = (entry["Tutorials"] for entry in configuration["nav"] if "Tutorials" in entry)
    shown = {path for entry in entries[1:] for path in entry.values()}
    assert shown == {f"tutorials/{source.stem}.md" for source in folder.glob("*.py")}
    overview = (folder / "index.md").read_text(encoding="utf-8")
    assert all(f"]({Path(path).name})" in overview for path in shown)
