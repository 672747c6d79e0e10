"""Sections about reproduced figures: complete, true to the summary, and clear about what cannot be shown."""

import base64
import copy
import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from curvae.cli import app
from curvae.errors import InputError
from curvae.report import write_report
from curvae.report.figures import caution
from curvae.report.grids import number
from curvae.reproduce import SWEEPS, comparison, fig2, fig3, sections, uniqueness
from curvae.reproduce.approximation import CONFIGS
from curvae.runs import Run

FIGURES = ("fig2", "fig3", "comparison")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All figures of toy data, as the command makes them."""
    folder = tmp_path_factory.mktemp("results")
    np.save(folder / "toy.npy", np.random.default_rng(0).random((60, 12), dtype=np.float32))
    changes = {"network": "mlp", "batch_size": "8", "device": "cpu", "steps": "8", "width": "0.05", "seeds": "0,1"}
    for figure in FIGURES:
        few = {"models": "vae,full,block,column"} if figure == "comparison" else {}
        options = {"data": str(folder / "toy.npy"), "runs": folder / "runs", "changes": {**changes, **few}}
        import_module(SWEEPS[figure]).reproduce(figure, "smoke", folder / figure, **options)
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    for figure in FIGURES:
        shutil.copytree(made / figure, tmp_path / figure)
    return tmp_path


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def page(folder: Path, *names: str) -> str:
    write_report([folder / name for name in names], folder / "report.html", sections)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_every_figure_has_its_pictures_numbers_and_conditions(results: Path) -> None:
    source = page(results, *FIGURES)
    assert re.findall(r'<section id="([^"]*)"', source) == ["fig2-1", "fig3-2", "comparison-3"]
    for file in ("fig2/fig2.png", "fig2/fig2-shares.png", "fig3/fig3.png", "comparison/comparison.png"):
        assert base64.b64encode((results / file).read_bytes()).decode() in source
    markup = re.sub(r"base64,[A-Za-z0-9+/=]+", "", source)
    assert not re.search(r"https?:|@import|url\(|<script|<link|href", markup)
    assert markup.count("How it was made") == 3
    two, three = summary(results / "fig2"), summary(results / "fig3")
    for found in (
        two["settings"][0]["alignment"]["distance"],
        two["settings"][0]["share_above"]["autoencoder"],
        three["blocks"]["2"]["gaps"][-1]["(7) − (13)"][1],
        three["blocks"]["1"]["slopes"]["(2) − (7)"],
    ):
        for key in ("value", "low", "high"):
            assert number(found[key]).lstrip("−") in markup
    for text in ("0, 1", "mlp, width × 0.05", "8 steps of 8", two["measured_under"]["device"], two["date"]):
        assert text in markup
    assert two["measured_under"]["commit"] is None or two["measured_under"]["commit"][:10] in markup


def test_runs_and_results_share_a_page(results: Path, digits: Path, make_run: Callable[..., Run]) -> None:
    make_run(results / "a", digits)
    source = page(results, "a", "fig2")
    assert re.findall(r'<section id="([^"]*)"', source)[:2] == ["fig2-1", "runs"]
    assert "Figure 2, and one autoencoder: a" in source


def test_the_command_takes_results(results: Path) -> None:
    out = results / "page.html"
    called = CliRunner().invoke(app, ["report", str(results / "fig2"), str(results / "fig3"), "--out", str(out)])
    assert called.exit_code == 0
    assert "Figure 3: are the three objectives one?" in out.read_text(encoding="utf-8")


def test_what_cannot_be_shown_is_one_line(results: Path) -> None:
    def spoiled(name: str, change: Callable[[dict[str, Any]], object]) -> Path:
        shutil.copytree(results / "fig2", results / name)
        found = summary(results / name)
        change(found)
        (results / name / "summary.json").write_text(json.dumps(found))
        return results / name

    shutil.copytree(results / "fig3", results / "unseen")
    (results / "unseen" / "fig3.png").write_bytes(b"x")
    (results / "torn").mkdir()
    (results / "torn" / "summary.json").write_text("{")
    cases = [
        (
            [spoiled("other", lambda s: s.update(figure="fig9"))],
            "holds fig9, which has no page; expected results of fig1",
        ),
        (
            [spoiled("old", lambda s: s.pop("settings"))],
            "is damaged or was written by another version .*settings.*again",
        ),
        ([spoiled("list", lambda s: s.update(config=[]))], "is damaged or was written by another version"),
        ([results / "unseen"], "fig3.png is missing or damaged; run curvae reproduce fig3"),
        ([results / "torn"], "summary.json is damaged; .* move it away and run that again"),
        ([results / "fig2", results / "old" / ".." / "fig2"], "is given twice"),
    ]
    for paths, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            write_report(paths, results / "report.html", sections)
        assert "\n" not in str(caught.value)
        assert not (results / "report.html").exists()
    with pytest.raises(InputError, match="holds fig2, which has no page; expected runs alone"):
        write_report([results / "fig2"], results / "report.html")


def test_findings_of_heat_maps_count_what_the_intervals_exclude(made: Path) -> None:
    one = summary(made / "fig2")["settings"][0]
    clear, unclear = copy.deepcopy(one), copy.deepcopy(one)
    for setting, low, p_value in ((clear, 0.01, 0.01), (unclear, -0.01, 0.2)):
        setting["share_by_chance"] = 0.14
        setting["share"]["blocks"] = {"value": 0.3, "low": 0.14 + low, "high": 0.5}
        setting["share_above"] = {kind: {"value": 0.1, "low": low, "high": 0.4} for kind in ("diagonal", "autoencoder")}
        setting["permuted"]["blocks"] = [{"low": 0.0, "high": 0.2, "p_value": p} for p in (0.001, p_value)]
    shares, orders, _ = fig2.section.content({"settings": [clear, unclear, clear]}).findings
    assert shares.startswith("Of 3 settings, the share inside the blocks lies above chance in 2, in 2 above")
    assert orders.startswith("In 2 of 3 ")


def test_findings_of_the_comparison_are_those_beyond_the_spread_of_seeds(made: Path) -> None:
    found = summary(made / "comparison")
    for model in found["models"].values():
        model["mse"]["difference"] = {"value": 0.1, "low": -0.1, "high": 0.3}
        model["nll"]["difference"] = {"value": 0.0, "low": None, "high": None}
    found["models"]["GRAE, full"]["nll"]["difference"] = {"value": -2.0, "low": -3.0, "high": -1.0}
    found["models"]["GRAE, block:2"]["nll"]["difference"] = {"value": 2.0, "low": 1.0, "high": 3.0}
    content = comparison.section.content(found)
    assert "IW-NLL, nats: lower with GRAE, full – higher with GRAE, block:2." in content.findings
    assert any(text.startswith("squared error per pixel: no difference") for text in content.findings)
    (grid,) = content.grids
    column = list(found["measures"]).index("nll")
    strong = {row.label for row in grid.rows if row.cells[column].strong}
    assert strong == {"GRAE, full", "GRAE, block:2"}
    assert all("is left out" in text for text in content.words["distances"])


def test_one_seed_concludes_nothing(made: Path) -> None:
    found = summary(made / "comparison")
    for model in found["models"].values():
        for measured in model.values():
            measured["values"] = measured["values"][:1]
    assert len(comparison.section.content(found).findings) == 1


def test_distances_name_all_that_they_depend_on(made: Path) -> None:
    found = summary(made / "comparison")
    found["frechet_distances"]["frechet_lite0"] = {
        "extractor": "EfficientNet-Lite0", "features": 1280, "rounding": "to uint8", "resize": "bicubic", "images": 400,
        "reference": "the first 400", "of_training_images": 12.3,
    }  # fmt: skip
    text = comparison.section.content(found).words["distances"][1]
    for part in ("(EfficientNet-Lite0 features)", "1280", "400 images", "to uint8", "bicubic", "the first 400", "12.3"):
        assert part in text


def test_a_scale_below_the_papers_is_a_caution() -> None:
    assert caution({"scale": "paper", "changes": {}}) == ""
    changed = caution({"scale": "paper", "changes": {"width": "0.25", "steps": "100"}})
    assert changed == "Scale paper; changed from it: width = 0.25, steps = 100."
    assert "trend" in caution({"scale": "quick", "changes": {}})
    assert caution({"scale": "overnight"}, {"quick": "shows a trend"}) == ""


def markup(folder: Path, name: str) -> str:
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", page(folder, name))


def test_uniqueness_says_in_how_many_panels_the_funnel_closes(tmp_path: Path) -> None:
    """A made-up figure 1: both funnels close with diagonal Σ, none does with full Σ."""
    shutil.copytree(Path(__file__).parents[2] / "results" / "fig1", tmp_path / "fig1")
    found = summary(tmp_path / "fig1")
    old = next(panel for panel in found["panels"].values() if "to_elbo_optimum" in panel)
    found["panels"] = {}
    for draw, angle in ((0, -31.5), (1, 0.5)):
        for family, best in (("diagonal", 0.25), ("full", 22.0)):
            panel = copy.deepcopy(old)
            quarters = panel["to_elbo_optimum"]
            quarters["best_quarter"] = {"value": best, "low": 0.5 * best, "high": 1.5 * best}
            quarters["worst_minus_best"] = {"value": 5.0, "low": 20 - best, "high": 30.0}
            panel["one_w"] = {
                "w_to_output_axes": 12.5, "optimum_to_true_latents": angle, "optimum_elbo": -4.0,
                "optimum_ratio_of_variances": 1.75,
            }  # fmt: skip
            found["panels"][f"tanh-{family}-orthogonal-w{draw}-amortised"] = panel
    found |= {"scale": "quick", "figures": ["fig1.png"]}
    (tmp_path / "fig1" / "summary.json").write_text(json.dumps(found))
    source = markup(tmp_path, "fig1")
    assert "diagonal Σ: the funnel closes in 2 of 2 panels" in source
    assert "With full Σ it closes in 0 of 2: the highest quarter lies 22° to 22° [11, 33] away" in source
    assert "−31.5° to 0.5° from the true latents, within 2° of them in 1 of 2 panels" in source
    for text in (
        "W 1, full Σ",
        "1.75",
        "0.25°",
        "[0.125, 0.375]",
        "Scale quick: 100 runs a panel",
        "4,000 points",
        "numba",
    ):
        assert text in source
    quarters["worst_minus_best"]["low"] = -1.0
    assert not uniqueness.section.closes(panel, 2.0)
    found["panels"]["tanh-diagonal-orthogonal-w9"] = old
    (tmp_path / "fig1" / "summary.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match="another version .*tanh-diagonal-orthogonal-w9"):
        page(tmp_path, "fig1")


def test_uniqueness_shows_the_variants_that_were_run(tmp_path: Path) -> None:
    results = Path(__file__).parents[2] / "results"
    shutil.copytree(results / "fig6", tmp_path / "fig6", ignore=shutil.ignore_patterns("tables", "quick"))
    source, found = page(tmp_path, "fig6"), summary(tmp_path / "fig6")
    assert source.count("data:image/png") == len(found["figures"]) == 3
    assert "W with orthogonal columns, without the guard" in source
    assert "Scale paper" not in source
    share = found["panels"]["identity-diagonal-gaussian-unamortised"]["to_principal_axes"]["converged"]["within"]
    assert f"{number(100 * share['value'])} % [{number(100 * share['low'])}," in source
    assert "with diagonal (significantly more), 6 % [3.14, 10.2] with full Σ" in source
    assert "with a free mean and covariance for each sample" in source


def test_approximation_names_what_is_dropped_and_what_it_does(tmp_path: Path) -> None:
    def row(network: str, seed: int, trained: bool, error: float) -> dict[str, Any]:
        estimate = {"mean": error, "se": 0.01}
        return {
            "network": network, "observation": "Gaussian", "trained": trained, "seed": seed, "error": estimate,
            "taylor_exact": {"mean": 8.0, "se": 0.1}, "taylor_difference": {"mean": error * (1 + seed), "se": 0.1},
            "missing": 0.25 if network == "elu" else 0.0, "closed_exact": None, "closed_difference": None,
        }  # fmt: skip

    rows = [row(n, s, t, 0.16 * (n == "elu")) for n in ("elu", "relu") for s in (0, 1) for t in (False, True)]
    config = {**dataclasses.asdict(CONFIGS["approximation", "quick"]), "seeds": [0, 1]}
    made = {"device": "cpu", "commit": None, "curvae": "1", "torch": "2", "python": "3"}
    content = {"figure": "approximation", "scale": "quick", "date": "today", "config": config, "environment": made}
    folder = tmp_path / "approximation"
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({**content, "rows": rows}))
    shutil.copy(Path(__file__).parents[2] / "results" / "approximation" / "approximation.png", folder)
    source = markup(tmp_path, "approximation")
    assert "Nothing is dropped, up to rounding, in 1 of 2 decoders: Gaussian · relu." in source
    assert "dropped part is 16 [16, 16] % (Gaussian · elu)" in source
    # shares of 2 % and 4 %: mean 3, Student's interval with one degree of freedom 3 ± 12.7
    assert "differs from (4) by at most 3 [−9.71, 15.7] %" in source
    assert "does not exist for 25 % of the images with Gaussian · elu" in source
    assert "Scale quick" in source
    assert "paper&#39;s networks × 0.125" in source


def test_a_power_of_what_may_be_0_and_the_part_of_the_exact_derivative_are_said(results: Path) -> None:
    three = summary(results / "fig3")
    for one in three["blocks"].values():
        one["gaps"][-1]["(2) − (7)"] = [
            {"value": 0.1, "low": -0.1, "high": 0.3},
            {"value": 0.4, "low": 0.2, "high": 0.6},
        ]
        one["exact_hessian"]["(2) − (4)"][1] = {"value": -0.25, "low": -0.5, "high": -0.125}
        one["exact_hessian"]["(2) − (7)"][1] = {"value": 0.75, "low": 0.5, "high": 1.0}
    found = fig3.section.content(three).findings
    for text in found[:-1]:
        assert "of which little can be said: at β = 0.2 it is 0 within its interval." in text
        assert "at β = 0.8, −0.25 [−0.5, −0.125] is left of (2) minus the expansion, and with JᵀJ 0.75 [0.5, 1]" in text
    for one in three["blocks"].values():
        one["gaps"][-1]["(2) − (7)"][0] = {"value": 0.1, "low": 0.05, "high": 0.3}
    assert not any("little can be said" in text for text in fig3.section.content(three).findings)
