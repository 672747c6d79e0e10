"""Where the project is published: the README and the pages use these addresses, the site has relative ones instead."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
_SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def _setting(name: str) -> str:
    found = re.search(rf"^\s*{name}: (\S+)$", _SETTINGS, flags=re.MULTILINE)
    assert found, f"mkdocs.yml has no {name}"
    return found[1].rstrip("/") + "/"


SITE = _setting("site_url")
REPOSITORY = _setting("repository")
FILES = f"{REPOSITORY}blob/main/"
FOLDERS = f"{REPOSITORY}tree/main/"
PICTURES = REPOSITORY.replace("https://github.com/", "https://raw.githubusercontent.com/") + "main/"


def to_site(markdown: str, depth: int) -> str:
    """Lead to the site's own pages and pictures from a page that is ``depth`` folders down."""
    up = "../" * depth
    text = markdown.replace(f"{PICTURES}docs/", up).replace(PICTURES, up)
    text = text.replace(f"({SITE})", f"({up}index.md)")
    return re.sub(rf"{re.escape(SITE)}([\w/-]+)\.html", rf"{up}\1.md", text)


def named_files(markdown: str) -> list[str]:
    """The files and folders of the repository that a text leads to."""
    return re.findall(rf"(?:{FILES}|{FOLDERS}|{PICTURES})([^)#\s]*)", markdown)
