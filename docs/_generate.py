"""``python docs/_generate.py`` writes the pages, and parts of pages, that repeat what stands in files or in code.

``docs/results.md``, ``objectives.md``, ``uniqueness.md`` and ``first-stage.md`` from ``results/`` and ``docs/cli.md``
from the command line, each by a template of the same name with an underscore; in the README, what stands between
``<!-- generated -->`` and ``<!-- end -->``. ``--check`` writes nothing and fails when a page is not what would be
written; the tests and the documentation build ask the same.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jinja2

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import _bench  # noqa: E402
import _blocks  # noqa: E402
import _claims  # noqa: E402
import _cli  # noqa: E402
import _comparison  # noqa: E402
import _faces  # noqa: E402
import _factors  # noqa: E402
import _figures  # noqa: E402
import _first_stage  # noqa: E402
import _frontier  # noqa: E402
import _long  # noqa: E402
import _numbers  # noqa: E402
import _readme  # noqa: E402
import _uniqueness  # noqa: E402
import _uniqueness_beyond  # noqa: E402
import _verdicts  # noqa: E402

_MODULES = {
    "bench": _bench,
    "blocks": _blocks,
    "compared": _comparison,
    "faces": _faces,
    "factors": _factors,
    "figures": _figures,
    "frontier": _frontier,
    "long": _long,
    "n": _numbers,
    "u": _uniqueness,
    "beyond": _uniqueness_beyond,
    "claims": _claims,
    "verdicts": _verdicts,
}


def pages() -> dict[Path, str]:
    """What each generated page should hold."""
    readme = ROOT / "README.md"
    return {
        HERE / "cli.md": _render("cli.md", commands=_cli.commands()),
        HERE / "first-stage.md": _render("first-stage.md", first=_first_stage, bench=_bench, n=_numbers),
        HERE / "results.md": _render("results.md", **_MODULES),
        HERE / "objectives.md": _render("objectives.md", **_MODULES),
        HERE / "uniqueness.md": _render("uniqueness.md", **_MODULES),
        readme: _fill(readme.read_text(encoding="utf-8"), _readme.parts()),
    }


def outdated() -> list[Path]:
    """The pages that are not what they should be."""
    return [page for page, text in pages().items() if not page.is_file() or page.read_text(encoding="utf-8") != text]


def _render(name: str, **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    note = f"<!-- Written by docs/_generate.py from docs/_{name}. Edit that. -->\n\n"
    return note + environment.get_template(f"_{name}").render(**values)


def _fill(text: str, parts: list[str]) -> str:
    """Put the parts into the marked places, in order."""
    replacements = iter(parts)
    marked = r"(<!-- generated -->\n).*?(<!-- end -->)"
    filled, found = re.subn(marked, lambda m: f"{m[1]}\n{next(replacements)}\n\n{m[2]}", text, flags=re.DOTALL)
    assert found == len(parts), f"{found} marked places for {len(parts)} parts"
    return filled


if __name__ == "__main__":
    old = outdated()
    if "--check" in sys.argv and old:
        sys.exit(f"{', '.join(page.name for page in old)}: not up to date; run python docs/_generate.py")
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
