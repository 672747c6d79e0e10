"""The tutorials: scripts in cells (jupytext's percent format) that the build runs, shows and offers as notebooks.

A tutorial that raises, or a picture without a text for those who do not see it, stops the build. What ran is kept
under the hash of what it came from, so that the next build of the same sources takes it from there.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from jupyter_client.manager import AsyncKernelManager
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
CACHE = ROOT / ".tutorials_cache"
LARGEST = 100_000
"""Bytes of a picture."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each tutorial's page, its pictures and its notebook."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # one process each, with one thread
        notebooks = list(pool.map(executed, SOURCES))
    for source, notebook in zip(SOURCES, notebooks, strict=True):
        for name, content in rendered(notebook, source.stem).items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    kept = {_kept(source) for source in SOURCES}
    for old in set(CACHE.glob("*.ipynb")) - kept:
        old.unlink()
    return files


def executed(source: Path) -> NotebookNode:
    """The notebook with its outputs: run now, or as it ran when nothing that it depends on was different."""
    kept = _kept(source)
    if kept.is_file():
        return nbformat.read(kept, as_version=4)
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    # `curvae …` is the command of this environment; one thread, so that numbers do not depend on the number of cores
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{folder}/kernel")  # no ports
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, km=manager, timeout=600, resources=resources, coalesce_streams=True)
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            raise PluginError(f"the tutorial {source.name} does not run:\n{error}") from error
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]  # progress
    CACHE.mkdir(exist_ok=True)
    nbformat.write(notebook, kept)
    return notebook


def rendered(notebook: NotebookNode, stem: str) -> dict[str, str | bytes]:
    """The page in Markdown, the pictures and the notebook, by file name.

    Raises:
        PluginError: for a picture that is too large, or whose cell has no ``alt`` text.
    """
    made: dict[str, str | bytes] = {f"{stem}.ipynb": nbformat.writes(notebook)}
    page: list[str] = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            page.append(cell.source)
            continue
        command = cell.source.removeprefix("%%bash\n")
        page.append(f"```{'python' if command == cell.source else 'bash'}\n{command}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{stem}-{number}.png"
                made[name] = _picture(base64.b64decode(data["image/png"]), name, cell)
                page.append(f"![{cell.metadata['alt']}]({name})")
            elif "text/markdown" in data:
                page.append(data["text/markdown"])
            elif output.get("name") == "stdout" or "text/plain" in data:
                page.append(f"```text\n{(output.get('text') or data.get('text/plain')).rstrip()}\n```")
    title, *rest = page[0].split("\n", 1)
    note = f"*The build of these pages ran this one. [Download it as a notebook]({stem}.ipynb) to run it yourself.*"
    made[f"{stem}.md"] = "\n\n".join([title, note, *rest, *page[1:]])
    return made


def _picture(content: bytes, name: str, cell: NotebookNode) -> bytes:
    if "alt" not in cell.metadata:
        raise PluginError(f'the picture {name} has no text; write what it shows after the cell\'s mark: # %% alt="…"')
    if len(content) > LARGEST:
        raise PluginError(f"the picture {name} has {len(content)} bytes; expected at most {LARGEST}: draw it smaller")
    return content


def _kept(source: Path) -> Path:
    """Where the outcome of a tutorial is kept: named by its text, the library's and the versions of the rest."""
    digest = hashlib.sha256()
    for path in [source, Path(__file__), ROOT / "constraints.txt", *sorted((ROOT / "src").rglob("*.py"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return CACHE / f"{source.stem}-{digest.hexdigest()[:16]}.ipynb"
