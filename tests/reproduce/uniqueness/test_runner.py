"""Running, storing, interrupting and resuming; the whole way from the command line's call to the files."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from curvae.errors import InputError
from curvae.files import alone
from curvae.reproduce import uniqueness
from curvae.reproduce.uniqueness import Config, reproduce, run, runner
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.config import CONFIGS, Panel, grid
from curvae.reproduce.uniqueness.engine import TrialRow, run_trial
from curvae.reproduce.uniqueness.runner import PanelStore, Table, to_rows, to_table
from curvae.reproduce.uniqueness.trial import GenerativeModel, Guard

PANEL = Panel(GenerativeModel(Nonlinearity.TANH, points=64), mean_field=True)
CONFIG = Config("fig1", "test", (PANEL,), ((3, 4), (11, 3)), seed=5, threads=2, optima=False)


def _equal(one: Table, two: Table) -> None:
    assert one.keys() == two.keys()
    for name, column in one.items():
        np.testing.assert_array_equal(column, two[name], err_msg=name)


@pytest.mark.slow
def test_a_trial_is_the_same_alone_and_in_a_batch() -> None:
    together = to_rows(run(CONFIG, quiet=True).of(PANEL))
    assert [row.index for row in together] == list(range(7))
    for index in (6, 0, 3):
        assert run_trial(PANEL, 5, index, CONFIG.periods[index]) == together[index]
    one_by_one = run(dataclasses.replace(CONFIG, threads=1), quiet=True)
    _equal(to_table(together), one_by_one.of(PANEL))


def test_interrupted_and_resumed_is_the_same_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(CONFIG, quiet=True)
    calls: list[int] = []

    def interrupted(panel: Panel, seed: int, index: int, period: int) -> TrialRow:
        calls.append(index)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run_trial(panel, seed, index, period)

    monkeypatch.setattr(runner, "run_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, tmp_path, quiet=True)
    stored = PanelStore(tmp_path, CONFIG, PANEL, PANEL.name).load()
    assert 1 <= len(stored) < 7
    calls.clear()
    calls.extend([-1] * 10)
    resumed = run(CONFIG, tmp_path, quiet=True)
    assert len(calls) - 10 == 7 - len(stored)
    _equal(resumed.of(PANEL), whole.of(PANEL))
    _equal(run(CONFIG, tmp_path, quiet=True).of(PANEL), whole.of(PANEL))
    assert len(calls) - 10 == 7 - len(stored)


def test_a_foreign_or_damaged_table_is_refused_before_anything_runs(tmp_path: Path) -> None:
    run(CONFIG, tmp_path, quiet=True)
    path = tmp_path / f"{PANEL.name}.npz"
    before = path.read_bytes()
    with pytest.raises(InputError, match="use another folder"):
        run(dataclasses.replace(CONFIG, seed=6), tmp_path, quiet=True)
    assert path.read_bytes() == before
    path.write_bytes(before[: len(before) // 2])
    with pytest.raises(InputError, match="not a table of trials"):
        run(CONFIG, tmp_path, quiet=True)
    assert path.read_bytes() == before[: len(before) // 2]


def test_a_table_with_a_short_or_garbled_column_is_refused(tmp_path: Path) -> None:
    run(CONFIG, tmp_path, quiet=True)
    path = tmp_path / f"{PANEL.name}.npz"
    whole = path.read_bytes()
    with np.load(path) as stored:
        table = dict(stored)
    np.savez_compressed(path, **{**table, "elbo": table["elbo"][:2]})
    with pytest.raises(InputError, match="not a table of trials"):
        run(CONFIG, tmp_path, quiet=True)
    start = whole.index(b"index.npy") + 40  # inside the first column's compressed bytes
    for at in range(start, start + 60, 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        with pytest.raises(InputError, match="not a table of trials"):
            run(CONFIG, tmp_path, quiet=True)


@pytest.mark.parametrize("there", [{"figure": "fig5", "scale": "smoke"}, {"figure": "fig1", "scale": "paper"}])
def test_another_summary_is_not_overwritten(there: dict[str, str], tmp_path: Path) -> None:
    """Figures 1 and 5 share tables, and tables may lie elsewhere: only the summary tells the folders apart."""
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(there))
    with pytest.raises(InputError, match="use another folder"):
        reproduce("fig1", "smoke", tmp_path)
    assert json.loads(path.read_text()) == there
    assert not (tmp_path / "tables").exists()


def test_two_do_not_fill_the_same_tables(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(InputError, match=r"^another process works in [^\n]*; wait for it or stop it$"):
        reproduce("fig1", "smoke", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_persons_own_picture_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "fig1.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="no summary.json says that it is one"):
        reproduce("fig1", "smoke", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fig1.png"]


@pytest.mark.parametrize("name", ["summary.json", "beyond.json"])
@pytest.mark.parametrize("content", [b'{"a":', b"[]", b"\xff\xfe"])
def test_a_damaged_result_is_refused_before_anything_runs(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="move it away"):
        reproduce("fig5", "smoke", tmp_path)
    assert (tmp_path / name).read_bytes() == content
    assert not (tmp_path / "tables").exists()


@pytest.mark.cases(1)
@pytest.mark.parametrize("amortised", [True, False])
def test_training_raises_the_elbo_to_its_optimum(amortised: bool) -> None:
    panel = dataclasses.replace(PANEL, amortised=amortised, model=GenerativeModel(Nonlinearity.TANH, points=256))
    config = dataclasses.replace(CONFIG, panels=(panel,), schedule=((300, 2),), optima=True)
    result = run(config, quiet=True)
    table = result.of(panel)
    assert (table["elbo"] > table["elbo_start"] + 1).all()
    assert (table["elbo_error"] < 1e-6).all()
    if amortised:
        gap = result.optima[panel.model]["elbo"] - table["elbo"]
        assert (gap > -1e-9).all()
        assert (gap < 0.2).all()


def test_reproduce_writes_figures_summary_and_tables(tmp_path: Path) -> None:
    reproduce("fig1", "smoke", tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["scale"] == "smoke"
    assert {"commit", "device", "numba", "torch"} <= summary["environment"].keys()
    for name, panel in summary["panels"].items():
        assert panel["trials"] == 4
        low, high = panel["to_true_latents"]["spread"]["low"], panel["to_true_latents"]["spread"]["high"]
        assert 0 <= low <= panel["to_true_latents"]["spread"]["value"] <= high <= 45
        assert (tmp_path / "tables" / f"{name}.npz").exists()
        optimum = abs(panel["one_w"]["optimum_to_true_latents"])
        assert 0 < optimum <= 45
        assert panel["to_elbo_optimum"]["converged"]["trials"] == 2
    for figure in summary["figures"]:
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("figure", "scale"), [("fig2", "quick"), ("fig5", "huge")])
def test_unknown_names(figure: str, scale: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected fig1, fig5, fig6 at smoke, quick, overnight, paper"):
        reproduce(figure, scale, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_papers_scale_is_the_papers() -> None:
    for figure in ("fig5", "fig6"):
        config = CONFIGS[figure, "paper"]
        assert config.trials == 420
        assert sorted(set(config.periods)) == [100, 500, *range(1000, 10_001, 1000), 20_000]
        assert [config.periods.count(n) for n in (100, 9000, 10_000, 20_000)] == [20, 20, 100, 100]
        assert {p.model.points for p in config.panels} == {4000}
        own = [p for p in config.panels if p.guard is Guard.PAPER and p.model.columns.value == "orthogonal"]
        assert len(own) == 8
        assert all(p.amortised == (figure == "fig5") for p in config.panels)


def test_bad_configurations() -> None:
    with pytest.raises(InputError, match="no panels"):
        Config("fig1", "x", (), ((1, 1),))
    with pytest.raises(InputError, match=">= 1"):
        Config("fig1", "x", grid((Nonlinearity.TANH,), True), ((0, 1),))


@pytest.mark.slow
def test_tanh_separates_at_the_quick_scale() -> None:
    """The issue's claim for ``--scale quick``, of the two panels that make it."""
    own = tuple(panel for panel in CONFIGS["fig1", "quick"].panels if panel.model.draw is None)
    result = run(dataclasses.replace(CONFIGS["fig1", "quick"], panels=own), quiet=True)
    from curvae.reproduce.uniqueness.numbers import summarise

    panels = summarise(result, np.random.default_rng(0))["panels"]
    diagonal = panels["tanh-diagonal-orthogonal-amortised"]["to_elbo_optimum"]
    full = panels["tanh-full-orthogonal-amortised"]["to_elbo_optimum"]
    assert diagonal["converged"]["within"]["low"] > 0.5 > full["converged"]["within"]["high"]
    assert diagonal["worst_minus_best"]["low"] > 0
    assert full["uniform"]["p_value"] > 1e-3 > diagonal["uniform"]["p_value"]


def test_the_summary_of_another_figure_that_came_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = '{"figure": "fig6", "scale": "smoke"}'
    monkeypatch.setattr(uniqueness, "run", lambda *_: (tmp_path / "summary.json").write_text(other))
    with pytest.raises(InputError, match=f"use another folder, and copy {tmp_path}/tables, which has the trials"):
        reproduce("fig5", "smoke", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    assert (tmp_path / "summary.json").read_text() == other
