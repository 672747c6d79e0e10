"""The page's sections about table 1 and figure 4."""

import base64
import copy
import json
import re
from pathlib import Path
from typing import Any

from curvae.report import write_report
from curvae.report.grids import number
from curvae.reproduce import fig4, sections, table1


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def test_both_have_their_pictures_numbers_and_conditions(made: Path, about: dict[str, Any]) -> None:
    write_report([made / "table1", made / "fig4"], made / "report.html", sections)
    source = (made / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="([^"]*)"', source) == ["table1-1", "fig4-2"]
    for file in ("table1/table1.png", "fig4/fig4.png", "fig4/fig4-ablation.png"):
        assert base64.b64encode((made / file).read_bytes()).decode() in source
    markup = re.sub(r"base64,[A-Za-z0-9+/=]+", "", source)
    assert not re.search(r"https?:|@import|url\(|<script|<link|href", markup)
    found = summary(made / "fig4")
    for value in (
        found["models"]["GRAE≈"]["frechet_prior"][1]["mean"],
        found["models"]["β-VAE"]["mse"][0]["sd"],
        found["differences"]["frechet_mixture"][0]["low"],
        found["ablation"]["models"]["GRAE≈, four columns"]["frechet_prior"]["mean"],
        found["frechet"]["of_training_images"],
    ):
        assert number(value).lstrip("−") in markup
    extractor = f"{about['extractor']}, {about['features']} features"
    for text in (extractor, "6 images in each set", about["rounding"], about["resize"], "the first 6"):
        assert text in markup
    assert "It is no FID" in markup
    assert "images.npy" in markup
    assert str(made) not in re.sub(r"<dt>folder</dt><dd>[^<]*", "", markup)


def test_without_an_ablation_there_is_no_picture_of_it(made: Path) -> None:
    found = summary(made / "fig4") | {"ablation": None}
    assert len(fig4.section.content(found).grids) == 3
    assert not fig4.section.content(found).words["ablation"]
    assert len(fig4.section.content(summary(made / "fig4")).grids) == 4


def test_findings_are_what_the_intervals_exclude(made: Path) -> None:
    found = copy.deepcopy(summary(made / "fig4"))
    found["differences"]["frechet_prior"] = [
        {"value": -3.0, "low": -4.0, "high": -2.0},
        {"value": 1.0, "low": 0.5, "high": 1.5},
    ]
    found["differences"]["frechet_mixture"] = [{"value": 1.0, "low": -1.0, "high": 3.0}] * 2
    found["within_spread"]["frechet_prior"][0] |= {"ratio": 7.0, "within": False}
    found["answer"]["frechet_prior"] = "within the spread of the seeds at 1 of 2 β: yes at 1; no at 0.1"
    content = fig4.section.content(found)
    assert content.findings[0].endswith("are within the spread of the seeds at 1 of 2 β: yes at 1; no at 0.1.")
    assert "is below 0 at β = 0.1 and above 0 at β = 1 with" in content.findings[2]
    assert "the largest difference is −3 [−4, −2], at β = 0.1" in content.findings[2]
    assert "nowhere apart from 0" in content.findings[3]
    first = content.grids[0].rows[0].cells
    assert first[2].strong
    assert first[4].strong
    assert first[4].text == "7"
    assert not content.grids[1].rows[0].cells[2].strong


def test_one_seed_gives_no_answer(made: Path) -> None:
    found = copy.deepcopy(summary(made / "fig4"))
    for key in ("frechet_prior", "frechet_mixture"):
        found["answer"][key] = "no answer: one seed has no spread"
        for one in found["differences"][key]:
            one |= {"low": None, "high": None}
    assert fig4.section.content(found).findings[0] == "z from the prior: no answer: one seed has no spread."


def test_the_fids_own_network_may_be_called_so(made: Path) -> None:
    found = summary(made / "fig4")
    assert not fig4.section.content(found).words["fid"]
    found["frechet"]["extractor"] = "Inception of the FID (2015-12-05)"
    assert fig4.section.content(found).words["fid"]


def test_table_1_says_how_the_errors_compare(made: Path) -> None:
    found = summary(made / "table1")
    for one, factor in zip(found["settings"], (2.0, 0.5), strict=True):
        one["models"]["β-VAE"]["mse"], one["models"]["GRAE≈"]["mse"] = 0.01, 0.01 * factor
    assert "0.5 to 2 times the squared error" in table1.section.content(found).findings[0]
