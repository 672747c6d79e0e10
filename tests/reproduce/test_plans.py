"""What each figure would train over night, planned and not run, and that the registry holds all figures alike."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curvae.cli import app
from curvae.errors import InputError
from curvae.reproduce import (
    FIGURES,
    SCALES,
    SWEEPS,
    approximation,
    comparison,
    fig2,
    fig3,
    fig4,
    sections,
    table1,
    uniqueness,
)
from curvae.reproduce.approximation.config import cases
from curvae.reproduce.sweep.faces import sweep_runs
from curvae.reproduce.uniqueness import beyond
from curvae.runs import RunConfig, build_objective


def planned(configs: Iterable[RunConfig]) -> Counter[str]:
    """How many runs of each objective, once they are seen to be at an eighth of the paper's width."""
    found = set(configs)
    for config in found:
        build_objective(config)
        assert (config.network, config.width, config.batch_size, config.lr, config.schedule) == (
            "paper", 0.125, 64, 1e-3, "constant",
        )  # fmt: skip
        assert config.precision == "32"
    return Counter(config.objective for config in found)


def test_heat_maps_over_night() -> None:
    two, seven = ([run for *_, run in fig2.numbers.runs(fig2.CONFIGS[f, "overnight"])] for f in ("fig2", "fig7"))
    # two seeds; diagonal Σ once for each β and d, autoencoders once for each d
    assert planned(two) == {"beta-vae": 2 * (4 + 4), "grae": 2 * 2}
    assert planned(seven) == {"beta-vae": 2 * (7 + 7), "grae": 2 * 3}
    assert set(two) < set(seven)
    assert {run.steps for run in seven} == {20_000}


def test_curves_over_night() -> None:
    config = fig3.CONFIGS["fig3", "overnight"]
    runs = fig3.numbers.runs(config).values()
    assert planned(runs) == {"beta-vae": 5 * 3 * 2}
    assert {run.structure for run in runs} == {"diagonal", "block:2", "block:3"}
    assert ({run.steps for run in runs}, config.points) == ({20_000}, 5000)


def test_the_comparison_over_night() -> None:
    config = comparison.CONFIGS["comparison", "overnight"]
    runs = comparison.numbers.runs(config)
    assert planned(runs.values()) == {"beta-vae": 3 * 3, "grae": 5 * 3}
    assert {seed for _, seed in runs} == {0, 1, 2}
    estimators = {"exact", "columns:1", "columns:2", "fraction:1/16:exact", "secants:1"}
    assert {run.estimator for run in runs.values()} == estimators
    assert {(run.steps, run.latents, run.beta) for run in runs.values()} == {(20_000, 12, 0.2)}


def test_faces_over_night_share_their_runs() -> None:
    table, figure = table1.CONFIGS["table1", "overnight"], fig4.CONFIGS["fig4", "overnight"]
    runs = sweep_runs(figure.training, figure.betas, figure.latents, figure.training.seeds)
    assert planned(runs.values()) == {"beta-vae": 5 * 3, "grae": 5 * 3}
    assert {run.steps for run in runs.values()} == {figure.training.steps}
    assert not fig4.config.ablation_runs(figure)
    assert set(sweep_runs(table.training, table.betas, table.latents, (0,)).values()) < set(runs.values())


def test_what_is_no_sweep_over_night() -> None:
    for figure in ("fig1", "fig5", "fig6"):
        night, paper = (uniqueness.CONFIGS[figure, scale] for scale in ("overnight", "paper"))
        assert (night.panels, night.schedule, night.scale) == (paper.panels, paper.schedule, "overnight")
    assert beyond.EXTENSIONS["overnight"] == beyond.EXTENSIONS["paper"] == beyond.Extension()
    config = approximation.CONFIGS["approximation", "overnight"]
    assert (config.scale, config.steps, config.paper_width, len(list(cases(config)))) == (
        "overnight",
        20_000,
        1 / 8,
        13,
    )


@pytest.mark.parametrize("figure", FIGURES)
def test_the_command_takes_the_night(figure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(import_module(FIGURES[figure]), "reproduce", lambda *arguments: calls.append(arguments))
    found = CliRunner().invoke(app, ["reproduce", figure, "--scale", "overnight", "--out", str(tmp_path / "out")])
    assert found.exit_code == 0, found.output
    assert calls == [(figure, "overnight", tmp_path / "out")]


def test_every_figure_has_its_section_and_those_of_runs_their_scales() -> None:
    shown = sections()
    assert list(shown) == list(FIGURES)
    for figure in FIGURES:
        assert shown[figure].template.is_file()
        assert all(name.startswith(figure) for name in shown[figure].pictures)
    for figure, package in SWEEPS.items():
        configs = import_module(package).CONFIGS
        assert [scale for scale in SCALES if (figure, scale) in configs] == list(SCALES)


def test_models_that_the_comparison_does_not_know_are_refused() -> None:

    config = comparison.CONFIGS["comparison", "smoke"]
    for models in (("column",), ("vae", "nothing")):
        with pytest.raises(InputError, match="--set models is .*; expected vae and any others of vae, vae-full, vae-"):
            replace(config, models=models)
