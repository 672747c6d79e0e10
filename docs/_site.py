"""What MkDocs does not do by itself.

The README becomes the front page and every room of curvae gets a reference page. Addresses of the published project
become relative, and formulas MathML, so that reading the site takes no script and no network.
"""

from __future__ import annotations

import html
import re
import sys
import unicodedata
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import _generate  # noqa: E402
import _links  # noqa: E402

ROOMS = sorted(
    path.stem
    for path in (ROOT / "src" / "curvae").iterdir()
    if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
)


# shown beside docs/, where they are
BESIDE = [path for path in (ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md") if path.exists()]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put reference and contributing into the navigation; fail when a generated page is not up to date."""
    if old := _generate.outdated():
        raise PluginError(f"{', '.join(p.name for p in old)}: not up to date; run python docs/_generate.py")
    pages: list[str | dict[str, str]] = [{f"curvae.{room}": f"reference/{room}.md"} for room in ROOMS]
    reference = {"Reference": [{"curvae": "reference/index.md"}, *pages]}
    start, tutorials, how_to, *others = config.nav
    config.nav = [start, tutorials, how_to, reference, *others]
    if ROOT / "CONTRIBUTING.md" in BESIDE:
        config.nav[-1]["Development"].insert(0, {"Contributing": "CONTRIBUTING.md"})
    config.watch += [str(ROOT / "README.md"), str(ROOT / "src"), *map(str, BESIDE)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the pictures and files that pages lead to."""
    pages = {"index.md": (ROOT / "README.md").read_text(encoding="utf-8"), "reference/index.md": _reference("curvae")}
    pages |= {path.name: path.read_text(encoding="utf-8") for path in BESIDE}
    pages |= {f"reference/{room}.md": _reference(f"curvae.{room}") for room in ROOMS}
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    for path in (ROOT / "results").rglob("*.png"):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead to this site's pages and pictures, not to the published ones."""
    return _links.to_site(markdown, page.file.src_uri.count("/"))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Typeset what arithmatex marked as a formula."""
    marked = r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>'
    return re.sub(marked, lambda match: _mathml(match[2], block=match[1] == "div"), html, flags=re.DOTALL)


def _mathml(formula: str, *, block: bool) -> str:
    mathml = convert(html.unescape(formula), display="block" if block else "inline")
    # browsers know these alphabets as letters of their own, no longer as a variant
    return re.sub(
        r'<mi mathvariant="(double-struck|script)">([A-Z])</mi>', lambda m: f"<mi>{_letter(*m.groups())}</mi>", mathml
    )


def _letter(style: str, capital: str) -> str:
    try:
        return unicodedata.lookup(f"mathematical {style} capital {capital}")
    except KeyError:  # a few, ℝ among them, are older than the rest of their alphabet
        return unicodedata.lookup(f"{style} capital {capital}")


def _reference(module: str) -> str:
    # a Run has what its Folder has; elsewhere what is inherited says nothing new
    inherited = "    options:\n      inherited_members: true\n" if module == "curvae.runs" else ""
    return f"# `{module}`\n\n::: {module}\n{inherited}"
