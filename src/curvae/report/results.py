"""The results folders that a page is about, as ``curvae reproduce`` wrote them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curvae.data.raster import open_image
from curvae.errors import InputError
from curvae.files import open_regular
from curvae.report.pictures import Picture
from curvae.report.subjects import short_names
from curvae.runs.documents import read_json
from curvae.terminal import quoted

_SUMMARY = "summary.json"


@dataclass(frozen=True)
class Result:
    """One figure as it was made."""

    path: Path
    name: str  # the shortest end of its path that no other result on the page has
    figure: str  # such as "fig2"
    summary: Mapping[str, Any]

    def picture(self, file: str, alt: str) -> Picture:
        """One of its pictures, as it is.

        Raises:
            InputError: it is missing or damaged.
        """
        path = self.path / file
        try:
            with open_regular(path) as stream:
                data = stream.read()
            width, height = open_image(data, ("PNG",)).size
        except Exception as error:  # on damaged files Pillow's readers raise almost anything
            raise InputError(f"{path} is missing or damaged; {self.again}") from error
        uri = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
        return Picture(uri, alt, width, height)

    @property
    def again(self) -> str:
        """What to do if it cannot be used."""
        return f"run curvae reproduce {quoted(self.figure)} --out {quoted(self.path)} again, with the same options"


def is_result(path: Path) -> bool:
    """Whether ``path`` is a results folder, and no run."""
    return (path / _SUMMARY).is_file() and not (path / "config.json").exists()


def open_results(paths: Sequence[Path]) -> list[Result]:
    """Read the summaries.

    Raises:
        InputError: the same folder twice, or a damaged summary.
    """
    return [_open(path, name) for path, name in zip(paths, short_names(paths), strict=True)]


def _open(path: Path, name: str) -> Result:
    file = path / _SUMMARY
    try:
        summary = read_json(file)
        figure = summary["figure"]
    except (InputError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is damaged; expected what curvae reproduce wrote: move it away and run that again"
        ) from error
    return Result(path, name, str(figure), summary)
