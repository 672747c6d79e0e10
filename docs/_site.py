"""What MkDocs does not do by itself.

The README becomes the front page and every room of curvae gets a reference page. Formulas become MathML while the site
is built, so that reading it takes no script and no network.
"""

from __future__ import annotations

import html
import re
import unicodedata
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
ROOMS = sorted(
    path.stem
    for path in (ROOT / "src" / "curvae").iterdir()
    if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference pages into the navigation."""
    pages: list[str | dict[str, str]] = [{f"curvae.{room}": f"reference/{room}.md"} for room in ROOMS]
    config.nav = [*config.nav, {"Reference": [{"curvae": "reference/index.md"}, *pages]}]
    config.watch += [str(ROOT / "README.md"), str(ROOT / "CHANGELOG.md"), str(ROOT / "src")]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the pictures and files that the README links to."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    readme = readme.replace("[results/](results)", "`results/`")  # a folder, which is no page
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    pages = {"index.md": readme, "CHANGELOG.md": changelog, "reference/index.md": _reference("curvae")}
    pages |= {f"reference/{room}.md": _reference(f"curvae.{room}") for room in ROOMS}
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    for path in [ROOT / "LICENSE", *(ROOT / "results").rglob("*.png")]:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


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
    return f"# `{module}`\n\n::: {module}\n"
