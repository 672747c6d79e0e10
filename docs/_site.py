"""Pages that exist elsewhere already: the README as the front page, and one reference page for every room of curvae."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

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
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    pages = {"index.md": readme, "CHANGELOG.md": changelog, "reference/index.md": _reference("curvae")}
    pages |= {f"reference/{room}.md": _reference(f"curvae.{room}") for room in ROOMS}
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    for path in [ROOT / "LICENSE", *(ROOT / "results").rglob("*.png")]:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def _reference(module: str) -> str:
    return f"# `{module}`\n\n::: {module}\n"
