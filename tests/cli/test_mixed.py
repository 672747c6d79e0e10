"""Tables of mixed columns and missing values, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from curvae.likelihoods import Masked, Mixed
from curvae.runs import Run, RunConfig
from curvae.runs.mixed import inferred

Curvae = Callable[..., Any]

pytest.importorskip("pandas")
pytestmark = pytest.mark.filterwarnings("ignore:note. :RuntimeWarning")
RNG = np.random.default_rng(5)
NAMES = ["größe", "sex", "visits", "falls", "weight"]
KINDS = ["continuous", "binary", "counts", "counts", "continuous"]
SMALL = ("--width", 0.02, "--latents", 2, "--steps", 4, "--batch-size", 16, "--device", "cpu", "--log-every", 2)


def _values(count: int = 80, gaps: bool = True) -> np.ndarray:
    columns = [
        170 + 9 * RNG.normal(size=count),
        RNG.integers(0, 2, count),
        RNG.poisson(2.0, count),
        RNG.poisson(0.5, count),
        1000 * RNG.lognormal(size=count),
    ]
    columns[2][0], columns[3][:2] = 0, (0, 3)
    found = np.stack(columns, 1).astype(np.float32).astype(float)
    if gaps:
        found[RNG.random(found.shape) < 0.1] = np.nan
        found[0, 2], found[:2, 3], found[5] = 0, (0, 3), np.nan  # and a sample of which nothing is known
    return found


def _csv(path: Path, values: np.ndarray, names: list[str] = NAMES) -> Path:
    rows = [",".join("" if np.isnan(value) else repr(float(value)) for value in row) for row in values]
    path.write_text("\n".join([",".join(names), *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _csv(tmp_path_factory.mktemp("mixed") / "table.csv", _values())


@pytest.fixture(scope="module")
def trained(table: Path) -> Path:
    from curvae.training import train

    config = RunConfig(
        str(table), likelihood="mixed", width=0.02, latents=2, steps=4, batch_size=16, device="cpu", precision="64"
    )
    return train(config, table.parent / "run").run.path


def test_the_kinds_are_those_of_a_naive_look() -> None:
    values = _values(300)
    values[:, 1] = RNG.choice([0.0, 1.0, np.nan], 300)
    values[:, 4] = RNG.integers(1, 9, 300)  # whole, but not from 0 on
    expected = []
    for column in values.T:
        seen = {float(value) for value in column if not np.isnan(value)}
        if seen <= {0.0, 1.0}:
            expected.append("binary")
        elif all(value >= 0 and value == int(value) for value in seen) and 0.0 in seen:
            expected.append("counts")
        else:
            expected.append("continuous")
    assert inferred(torch.from_numpy(values)) == expected == KINDS


def test_a_run_says_and_keeps_what_it_took(curvae: Curvae, table: Path, tmp_path: Path) -> None:
    answer = curvae(
        "train", "--data", table, "--likelihood", "mixed:visits=continuous", "--out", tmp_path / "a", *SMALL
    )
    assert answer.code == 0, answer.stderr
    said = " ".join(answer.stderr.split())
    assert "columns: 3 continuous (größe, visits, weight), 1 binary (sex), 1 counts (falls); 0 and 1 alone are" in said
    assert "whole numbers from 0 on with a 0 among them are counts" in said
    gaps = int(np.isnan(np.genfromtxt(table, delimiter=",", skip_header=1)).sum())
    assert f"{gaps} of 400 values" in said
    run = Run.open(tmp_path / "a")
    assert run.config.likelihood == "masked:mixed:continuous:1,binary:1,continuous:1,counts:1,continuous:1"
    assert run.data["columns"] == NAMES
    # the same words do not change a run, others would
    for words, code, message in (
        ("mixed", 0, "was finished already"),
        ("mixed:visits=continuous", 0, "was finished already"),
        ("mixed:visits=counts", 2, "likelihood"),
    ):
        again = curvae("train", "--data", table, "--likelihood", words, "--out", tmp_path / "a", "--resume", *SMALL)
        assert again.code == code
        assert message in again.stderr


def test_the_nll_is_that_of_scipy(trained: Path) -> None:
    run = Run.open(trained)
    model = run.model()
    likelihood, _ = run.noise(model)
    x = run.dataset().test[:].double()
    assert bool(x.isnan().any())
    with torch.no_grad():
        eta = model.decode(model.encode(x))
        got = -likelihood.log_prob(eta, x)
    inner: Any = likelihood.likelihood  # type: ignore[attr-defined]
    sigmas = [float(inner.parts[n].likelihood.sigma.detach()) for n in (0, 3)]
    ratios = inner.parts[2].likelihood.dispersion.detach().numpy()
    want = np.zeros(len(x))
    for row, (values, at) in enumerate(zip(x.numpy(), eta.numpy(), strict=True)):
        laws = [
            scipy.stats.norm(at[0], sigmas[0]).logpdf,
            scipy.stats.bernoulli(1 / (1 + np.exp(-at[1]))).logpmf,
            *(scipy.stats.nbinom(r, r / (r + np.exp(at[n]))).logpmf for n, r in zip((2, 3), ratios, strict=True)),
            scipy.stats.norm(at[4], sigmas[1]).logpdf,
        ]
        want[row] = -sum(law(value) for law, value in zip(laws, values, strict=True) if not np.isnan(value))
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-9)


def test_a_run_begins_where_the_training_half_is(table: Path, tmp_path: Path) -> None:
    from curvae.training import train

    config = RunConfig(str(table), likelihood="mixed", width=0.02, latents=2, steps=1, lr=1e-30, batch_size=16)
    run = train(config, tmp_path / "run").run
    x = run.dataset().train[:].double().numpy()
    model: Any = run.model()
    raw = x.copy()
    raw[:, 2:4] = np.log1p(raw[:, 2:4])
    np.testing.assert_allclose(model.encoder.centre, np.nanmean(raw, 0), rtol=1e-5)
    np.testing.assert_allclose(model.encoder.scale, np.nanstd(raw, 0), rtol=1e-4)
    mean = np.nanmean(x, 0)
    where = [mean[0], np.log(p := 0.98 * mean[1] + 0.01) - np.log(1 - p), *np.log(mean[2:4] + 0.01), mean[4]]
    np.testing.assert_allclose(model.decoder.centre, where, rtol=1e-4)
    likelihood: Any = run.noise(model)[0]
    scale = np.nanstd(x, 0)
    for n, column in ((0, 0), (3, 4)):
        one: Any = likelihood.likelihood.parts[n].likelihood
        assert one.floor == 0.01
        # with its floor, 1 % of where it starts, which came back with the weights
        np.testing.assert_allclose(one.sigma.detach(), scale[column] * np.sqrt(1 + 1e-4), rtol=1e-5)
        np.testing.assert_allclose(one._smallest, np.log(0.01 * scale[column]), rtol=1e-5)


@pytest.mark.slow
def test_every_command_takes_the_run(curvae: Curvae, trained: Path, table: Path, tmp_path: Path) -> None:
    assert curvae("evaluate", trained, "--nll", 4).code == 0
    coded = curvae("encode", trained, "--data", table, "--out", tmp_path / "z.npz")
    assert coded.code == 0, coded.stderr
    assert np.load(tmp_path / "z.npz")["mean"].shape == (80, 2)
    assert curvae("reconstruct", trained, "--data", table, "--out", tmp_path / "r.npy").code == 0
    rebuilt = np.load(tmp_path / "r.npy")
    assert rebuilt.shape == (80, 5)
    assert np.isfinite(rebuilt).all()
    assert ((rebuilt[:, 1] > 0) & (rebuilt[:, 1] < 1)).all()
    for command in (["sample", "-n", 3], ["traverse"], ["interpolate", "--geodesic", "--steps", 3]):
        answer = curvae(command[0], trained, *command[1:], "--out", tmp_path / f"{command[0]}.npy")
        assert answer.code == 0, answer.stderr
    found = curvae("inspect", trained, "--limit", 4, "--json")
    assert found.code == 0, found.stderr
    assert found.json["latents"] == [2]
    assert curvae("report", trained, "--out", tmp_path / "r.html").code == 0
    assert "masked:mixed" in (tmp_path / "r.html").read_text()


def test_the_columns_of_later_tables(curvae: Curvae, trained: Path, tmp_path: Path) -> None:
    values = _values(10)
    expected = {
        "has the column 'sex' where the model was trained on 'größe'; put the columns in that order": (
            [1, 0, 2, 3, 4], NAMES),
        "has no column 'weight'": ([0, 1, 2, 3, 4], [*NAMES[:4], "mass"]),
        "has a column 'mass', which the model was not trained on": ([0, 1, 2, 3, 4, 0], [*NAMES, "mass"]),
    }  # fmt: skip
    other = values.copy()
    other[3, 1] = 7
    path = _csv(tmp_path / "later.csv", other)
    answer = curvae("encode", trained, "--out", tmp_path / "z.npz", "--data", path)
    assert answer.code == 2
    assert "has 7 in column 'sex', which is binary: 0 and 1 alone" in answer.stderr
    for message, (order, names) in expected.items():
        path = _csv(tmp_path / "later.csv", values[:, order], [names[n] for n in order] if len(order) == 5 else names)
        for command in (["encode", trained, "--out", tmp_path / "z.npz"], ["inspect", trained]):
            answer = curvae(*command, "--data", path)
            assert answer.code == 2
            assert message in answer.stderr


@pytest.mark.slow
def test_a_run_without_gaps_refuses_them_later(curvae: Curvae, table: Path, tmp_path: Path) -> None:
    whole = _csv(tmp_path / "whole.csv", _values(gaps=False))
    assert curvae("train", "--data", whole, "--likelihood", "mixed", "--out", tmp_path / "a", *SMALL).code == 0
    assert Run.open(tmp_path / "a").config.likelihood == "mixed:continuous:1,binary:1,counts:2,continuous:1"
    answer = curvae("encode", tmp_path / "a", "--data", table, "--out", tmp_path / "z.npz")
    assert answer.code == 2
    assert "has no finite number in column" in answer.stderr
    masked = ["--likelihood", "masked:mixed", "--network", "linear", "--objective", "beta-vae", "--no-compile"]
    assert curvae("train", "--data", whole, "--out", tmp_path / "b", *SMALL, *masked).code == 0
    assert curvae("encode", tmp_path / "b", "--data", table, "--out", tmp_path / "z.npz").code == 0


COMBINATIONS = [
    ["--objective", "beta-vae", "--structure", "full"],
    ["--objective", "taylor", "--structure", "full"],
    ["--objective", "rae"],
    ["--estimator", "columns:1", "--batch-fraction", "1/2"],
    ["--estimator", "secants:1"],
    ["--curvature", "hessian", "--condition", "group:classes", "--precision", "64"],
    ["--condition", "group:classes", "--network", "linear"],
]


@pytest.mark.parametrize("options", COMBINATIONS)
@pytest.mark.cases(1)
def test_objectives_and_conditions(curvae: Curvae, options: list[str], tmp_path: Path) -> None:
    values = np.concatenate([_values(), RNG.integers(0, 3, (80, 1))], 1)
    path = _csv(tmp_path / "t.csv", values, [*NAMES, "group"])
    beside = [] if "--condition" in options else ["--labels", "group"]
    answer = curvae(
        "train", "--data", path, "--likelihood", "mixed", "--out", tmp_path / "a", *SMALL, *options, *beside
    )
    assert answer.code == 0, answer.stderr
    # encode reads conditions and gaps of other data, too
    assert curvae("encode", tmp_path / "a", "--data", path, "--out", tmp_path / "z.npz").code == 0


@pytest.mark.slow
def test_arrays_with_gaps_and_other_likelihoods(curvae: Curvae, tmp_path: Path) -> None:
    x = RNG.random((60, 4)).astype(np.float32)
    x[::7, 1] = np.nan
    x[:5] = np.nan  # of which the first ones are tried before training
    counts = np.where(np.isnan(x), np.nan, RNG.poisson(2.0, x.shape)).astype(np.float32)
    for likelihood in ("masked:gaussian:learned", "masked:bernoulli", "masked:poisson"):
        np.save(tmp_path / "x.npy", counts if likelihood == "masked:poisson" else x)
        out = tmp_path / likelihood.replace(":", "-")
        assert curvae("train", "--data", tmp_path / "x.npy", "--likelihood", likelihood, "--out", out, *SMALL).code == 0
        assert curvae("reconstruct", out, "--out", tmp_path / "r.npy").code == 0
        assert np.isfinite(np.load(tmp_path / "r.npy")).all()


OWN = """
from torch import nn
from curvae import Autoencoder
from curvae.nn import Observed

def build(shape, latents=2, likelihood=None):
    encoder = Observed(nn.Linear(2 * shape[0], 8))
    model = Autoencoder(encoder, nn.Linear(latents, likelihood.likelihood.outputs), latents, features=8)
    model.likelihood = likelihood
    return model
"""


@pytest.mark.slow
def test_an_own_model_gets_the_likelihood(curvae: Curvae, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    own = ["--model", f"{tmp_path}/own.py:build"]
    small = [value for value in SMALL if value not in ("--width", 0.02)]
    table = _csv(tmp_path / "small.csv", _values() / [100, 1, 1, 1, 1000])  # its networks see the numbers as they are
    trained = curvae("train", "--data", table, "--likelihood", "mixed", "--out", tmp_path / "a", *own, *small)
    assert trained.code == 0, trained.stderr
    assert curvae("evaluate", tmp_path / "a", *own).code == 0
    model = Run.open(tmp_path / "a").model(trust=True)
    assert isinstance(model.likelihood, Masked)
    assert isinstance(model.likelihood.likelihood, Mixed)


NUMBERS = "a,b\n" + "".join(f"{i}.5,{i % 3}\n" for i in range(40))
BAD: list[tuple[str, list[object], str]] = [
    (NUMBERS, ["--likelihood", "mixed:c=counts"], "likelihood names the column 'c', but t has 'a', 'b'"),
    (NUMBERS, ["--likelihood", "mixed:a=counts"], "t has 0.5 in column 'a', which is counts: whole numbers >= 0"),
    (NUMBERS, ["--likelihood", "mixed:b=binary"], "t has 2 in column 'b', which is binary: 0 and 1 alone"),
    (NUMBERS, ["--likelihood", "mixed:a=normal"], "expected mixed, mixed:COLUMN=KIND,… or mixed:KIND:COUNT,…"),
    (NUMBERS, ["--likelihood", "mixed:counts"], "expected mixed, mixed:COLUMN=KIND,…"),
    (NUMBERS, ["--likelihood", "mixed:continuous:3"], "of 3 columns, but t has 2"),
    (NUMBERS, ["--likelihood", "masked:masked:gaussian"], "expected masked: once"),
    (NUMBERS, ["--likelihood", "masked:"], "likelihood is ''; expected gaussian"),
    (NUMBERS, ["--likelihood", "negative-binomial"], "for example negative-binomial:2, or mixed, which learns one"),
    (NUMBERS + ",1\n", [], "or train with masked: before the observation model"),
    (NUMBERS + "inf,1\n", ["--likelihood", "mixed"], "row 40 (counted from 0) has no finite number in column 'a'"),
    ("a,b\n" + "1.5,\n" * 40, ["--likelihood", "mixed"], "t has no value at all in column 'b'; leave it out"),
    ("a,b\n", ["--likelihood", "mixed"], "has no rows"),
    ("a;b\n" + "1;2\n" * 40, ["--likelihood", "mixed"], "separated by semicolons ('a;b'); separate them with commas"),
]


@pytest.mark.parametrize(("text", "options", "message"), BAD)
def test_bad_input(curvae: Curvae, text: str, options: list[object], message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    answer = curvae("train", "--data", tmp_path / "t.csv", "--out", tmp_path / "a", *SMALL, *options)
    assert answer.code == 2
    assert message in answer.stderr
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert not (tmp_path / "a").exists()


def test_what_is_no_table(curvae: Curvae, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", RNG.random((40, 28, 28)).astype(np.float32))
    np.save(tmp_path / "bytes.npy", RNG.integers(0, 9, (40, 3)).astype(np.uint8))
    for name, likelihood, message in (
        ("images", "mixed", "samples of shape (1, 28, 28), no columns"),
        ("bytes", "mixed", "holds bytes, which are pixels; save it as float32"),
        ("images", "masked:gaussian", "network is paper, which cannot be told what is missing; use --network mlp"),
    ):
        options = ["--likelihood", likelihood, "--latents", 2, "--batch-size", 8]
        answer = curvae("train", "--data", tmp_path / f"{name}.npy", "--out", tmp_path / "a", *options)
        assert answer.code == 2
        assert message in answer.stderr


def test_an_altered_configuration_is_noticed(curvae: Curvae, trained: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained, tmp_path / "a")
    document = json.loads((tmp_path / "a/model.json").read_text())
    document["config"]["likelihood"] = "mixed"
    (tmp_path / "a/model.json").write_text(json.dumps(document))
    answer = curvae("sample", tmp_path / "a", "--out", tmp_path / "s.npy")
    assert answer.code == 2
    assert answer.stderr.count("\n") == 1
