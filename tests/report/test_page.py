"""The whole page: complete, alone, safe, and right to the last pixel of its matrices."""

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch.func import jacrev, vmap

from curvae.errors import InputError
from curvae.report import write_report
from curvae.runs import Run

MakeRun = Callable[..., Run]

SECTIONS = ["runs", "losses", "objectives", "reconstructions", "samples", "traversals", "precision", "measures"]
OF_IMAGES = [*SECTIONS[:6], "interpolations", *SECTIONS[6:]]
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A page taken apart; an element that is not closed in order is an error."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data

    @property
    def sections(self) -> list[str | None]:
        return [attributes["id"] for tag, attributes in self.tags if tag == "section"]

    def pixels(self, alt: str) -> np.ndarray[Any, Any]:
        (source,) = [a["src"] for tag, a in self.tags if tag == "img" and a["alt"] == alt]
        assert source is not None
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def written(tmp_path: Path, *names: str) -> Page:
    out = tmp_path / "page" / "report.html"
    write_report([tmp_path / name for name in names], out)
    assert out.stat().st_size < 3_000_000
    assert list(out.parent.iterdir()) == [out]
    return Page(out)


def assert_alone(page: Page) -> None:
    """Nothing on the page asks for anything outside it."""
    markup = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page.source)
    assert not re.search(r"https?:|@import|url\(", markup)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base", "form")
        assert "src" not in attributes or str(attributes["src"]).startswith("data:image/png;base64,")
        assert "href" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images
    assert all(image["alt"] for image in images)


@pytest.mark.cases(1)
@pytest.mark.parametrize("names", [["beta-vae"], ["beta-vae", "grae"], ["grae", "taylor", "beta-vae"]])
def test_every_section_is_there(tmp_path: Path, digits: Path, make_run: MakeRun, names: list[str]) -> None:
    for name in names:
        make_run(tmp_path / name, digits, objective=name)
    page = written(tmp_path, *names)
    assert page.sections == OF_IMAGES
    assert_alone(page)
    for name in names:
        assert page.pixels(f"reconstructions by {name}").shape == (8, 12 * 9 - 1, 2)
        assert page.pixels(f"samples from {name}").shape == (8 * 9 - 1, 8 * 9 - 1, 2)
        alts = [attributes["alt"] or "" for tag, attributes in page.tags if tag == "img"]
        assert sum(bool(re.fullmatch(rf"latent \d of {name}", alt)) for alt in alts) == 3
        assert sum(alt.startswith("posterior precision") and alt.endswith(name) for alt in alts) == 4
    assert "has not been evaluated" not in page.text
    assert "StrictUndefined" not in page.source


def test_originals_are_the_held_out_images(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "a", digits)
    row = written(tmp_path, "a").pixels("original held-out images")
    test = run.dataset().test
    chosen = [i * len(test) // 12 for i in range(12)]
    for place, i in enumerate(chosen):
        np.testing.assert_array_equal(row[:, 9 * place : 9 * place + 8, 0], test[i, 0].numpy())


@pytest.mark.cases(1)
@pytest.mark.parametrize(("objective", "structure"), [("beta-vae", "block:2"), ("grae", "diagonal")])
def test_matrices_shown_are_those_of_the_model(
    tmp_path: Path, digits: Path, make_run: MakeRun, objective: str, structure: str
) -> None:
    run = make_run(tmp_path / "a", digits, objective=objective, structure=structure, precision="64", beta=0.7)
    page = written(tmp_path, "a")
    model, test = run.model(), run.dataset().test
    x = torch.stack([test[i * len(test) // 12] for i in range(4)]).double() / 255
    jacobian = vmap(jacrev(lambda z: model.decode(z[None])[0].flatten()))(model.encode(x))
    implied = torch.eye(3, dtype=torch.float64) + jacobian.mT @ jacobian / 0.7
    if objective == "grae":
        posterior = torch.diag_embed(implied.diagonal(dim1=1, dim2=2))
    else:
        posterior = torch.linalg.inv(model.posterior(x).covariance())
    for i in range(4):
        limit = max(posterior[i].abs().max(), implied[i].abs().max())
        for matrix, alt in ((posterior, "posterior precision of"), (implied, "precision implied by the decoder at")):
            shown = page.pixels(f"{alt} held-out sample {i + 1} in a").astype(int)
            position = (0.5 + 0.5 * matrix[i] / limit).detach().numpy()
            expected = matplotlib.colormaps["RdBu_r"](position, bytes=True)[..., :3].astype(int)
            assert np.abs(shown - expected).max() <= 8  # a neighbouring colour, where rounding decides
    assert implied[:, 0, 1].abs().min() > 1e-3


@pytest.mark.slow
def test_runs_share_the_random_codes(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    """Two runs with the same weights but other names draw the same samples; another number of latents does not."""
    for name, latents in (("a", 3), ("b", 3), ("c", 2)):
        make_run(tmp_path / name, digits, latents=latents, evaluated=False)
    page = written(tmp_path, "a", "b", "c")
    np.testing.assert_array_equal(page.pixels("samples from a"), page.pixels("samples from b"))
    assert not np.array_equal(page.pixels("samples from a"), page.pixels("samples from c"))


def test_names_are_escaped(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    name = """<img src=x onerror=alert(1)> $\\alpha_{$ " ' & {{ 7 * 7 }}"""
    make_run(tmp_path / name, digits, evaluated=False)
    page = written(tmp_path, name)
    assert_alone(page)
    assert name in page.text
    assert [a for tag, a in page.tags if tag == "img" and a["alt"] == f"samples from {name}"]


def test_without_an_evaluation_it_says_how_to_make_one(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "a run", digits, evaluated=False)
    make_run(tmp_path / "b", digits)
    page = written(tmp_path, "a run", "b")
    assert page.sections == OF_IMAGES
    assert f"curvae evaluate '{tmp_path / 'a run'}'" in page.text
    assert f"curvae evaluate {tmp_path / 'b'}" not in page.text


def test_an_unfinished_run_has_curves_only(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "a", digits, finished=False)
    alone = written(tmp_path, "a")
    assert alone.sections == SECTIONS
    assert alone.pixels("loss curves of a by term: total, nll, prior, penalty").size
    assert f"curvae train --resume --out {tmp_path / 'a'}" in alone.text
    make_run(tmp_path / "b", digits)
    both = written(tmp_path, "a", "b")
    alts = [attributes["alt"] for tag, attributes in both.tags if tag == "img"]
    assert "samples from b" in alts
    assert "samples from a" not in alts


@pytest.mark.cases(1)
def test_latents_without_a_scale_are_not_said_to_be_in_use(tmp_path: Path, vectors: Path, make_run: MakeRun) -> None:
    for name, options in {"a": {"objective": "rae"}, "b": {"objective": "grae", "encoder_weight": 0.0}}.items():
        make_run(tmp_path / name, vectors, evaluated=False, **options)
        page = written(tmp_path, name)
        assert page.pixels(f"codes of held-out data in {name}").size
        assert "latents in use" not in page.text


@pytest.mark.cases(1)
@pytest.mark.parametrize("objective", ["beta-vae", "grae"])
def test_vectors_are_drawn_as_lines(tmp_path: Path, vectors: Path, make_run: MakeRun, objective: str) -> None:
    make_run(tmp_path / "a", vectors, objective=objective)
    page = written(tmp_path, "a")
    assert page.sections == SECTIONS
    assert_alone(page)
    assert "The data are vectors" in page.text
    assert page.pixels("posterior precision of held-out sample 1 in a").shape == (3, 3, 3)
    assert page.pixels("codes of held-out data in a").size
    assert "of 3 latents in use" in page.text
    assert page.pixels("held-out sample 6 and its reconstructions").size


@pytest.mark.cases(1)
@pytest.mark.parametrize("outputs", [1, 2])
def test_tiny_vectors_and_one_latent(tmp_path: Path, make_run: MakeRun, outputs: int) -> None:
    np.save(tmp_path / "tiny.npy", np.random.default_rng(0).normal(size=(20, outputs)))
    make_run(tmp_path / "a", tmp_path / "tiny.npy", latents=1, network="linear")
    page = written(tmp_path, "a")
    assert page.sections == SECTIONS
    assert page.pixels("posterior precision of held-out sample 1 in a").shape == (1, 1, 3)


def test_other_data_are_shown_separately(tmp_path: Path, digits: Path, vectors: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "a", digits)
    make_run(tmp_path / "b", vectors)
    page = written(tmp_path, "a", "b")
    assert "digits.npy (1 × 8 × 8)" in page.text
    assert "vectors.npy (5)" in page.text
    assert page.pixels("samples from a").shape == (8 * 9 - 1, 8 * 9 - 1, 2)
    assert page.pixels("samples from b over held-out data").size


@pytest.mark.slow
def test_noise_in_colour_stays_below_the_limit(tmp_path: Path, make_run: MakeRun) -> None:
    """Random pixels are what a PNG can compress least."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    np.save(tmp_path / "noise.npy", pixels)
    for name in "abc":
        make_run(tmp_path / name, tmp_path / "noise.npy", width=0.02, evaluated=False)
    page = written(tmp_path, *"abc")  # asserts its size
    assert page.pixels("samples from c").shape[2] == 4


def test_the_same_runs_give_the_same_page(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "a", digits, objective="beta-vae")
    assert written(tmp_path, "a").source == written(tmp_path, "a").source


def test_bad_runs_are_input_errors_and_leave_the_page(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    out = tmp_path / "report.html"
    out.write_text("before")
    good = make_run(tmp_path / "good", digits).path
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text("{}")
    broken = make_run(tmp_path / "broken", digits).path
    (broken / "model.safetensors").write_bytes(b"x")
    unread = make_run(tmp_path / "unread", digits).path
    (unread / "evaluation.json").write_text('{"format": "curvae-evaluation", "version": 1, "evaluation": {}}')
    cases: list[tuple[list[Path], str]] = [
        ([], "no runs given"),
        ([tmp_path / "none"], "none is not a folder"),
        ([good, tmp_path / "empty"], "empty holds no run"),
        ([tmp_path / "file"], "file is not a folder"),
        ([foreign], "config.json"),
        ([good, broken], "model.safetensors is damaged"),
        ([unread], "evaluation"),
        ([good, tmp_path / "empty" / ".." / "good"], "is given twice"),
    ]
    for runs, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            write_report(runs, out)
        assert "\n" not in str(caught.value)
        assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["file", "report.html"]


def test_data_that_changed_or_went_is_an_input_error(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    data = tmp_path / "data.npy"
    data.write_bytes(digits.read_bytes())
    make_run(tmp_path / "a", data)
    np.save(data, np.zeros((50, 8, 8), np.uint8))
    with pytest.raises(InputError, match="has changed"):
        write_report([tmp_path / "a"], tmp_path / "report.html")
    data.unlink()
    with pytest.raises(InputError, match="does not exist"):
        write_report([tmp_path / "a"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    run: Run = make_run(tmp_path / "a", digits, evaluated=False)
    with pytest.raises(InputError, match=r"is a folder; expected the name of a file"):
        write_report([run.path], tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"cannot be written: .*; choose another place"):
        write_report([run.path], tmp_path / "file" / "report.html")
