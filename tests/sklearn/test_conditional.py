"""Estimators that are told columns of their table."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from curvae.errors import InputError
from curvae.sklearn import GRAE, BetaVAE

SMALL: dict[str, Any] = {"steps": 3, "hidden_layer_sizes": (8,), "importance_samples": 8, "random_state": 0}


def _data(count: int = 60, seed: int = 0) -> np.ndarray:
    """Four features, and in the third place a class of three."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, count)
    group[:3] = 0, 1, 2
    features = rng.normal(size=(count, 4)) + np.outer(group, [4.0, -3.0, 2.0, 5.0])
    return np.insert(features, 2, group, axis=1)


def _parted(x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.delete(x, 2, 1)), torch.from_numpy(np.eye(3)[x[:, 2].astype(int)])


@pytest.fixture(scope="module")
def fitted() -> GRAE:
    return GRAE(2, condition=2, **SMALL).fit(_data())


def test_codes_covariances_and_means_are_those_at_each_samples_condition(fitted: GRAE) -> None:
    table = _data(7, seed=1)
    x, c = _parted(table)
    likelihood: Any = fitted.likelihood_
    model, sigma = fitted.model_, likelihood.sigma.detach()
    found = fitted.posterior(table)
    codes, outputs = [], []
    for one, known, covariance in zip(x, c, found.covariance, strict=True):
        z = model.encode(one[None], known[None])[0]
        jacobian = torch.func.jacrev(lambda z, known=known: model.decoder(z[None], known[None])[0])(z.detach())
        scaled = (jacobian / sigma[:, None]).detach()
        np.testing.assert_allclose(covariance, torch.linalg.inv(torch.eye(2) + scaled.T @ scaled), rtol=1e-6)
        codes.append(z.detach().numpy())
        outputs.append(model.decoder(z[None], known[None])[0].detach().numpy())
    np.testing.assert_allclose(fitted.transform(table), codes, rtol=1e-10)
    np.testing.assert_allclose(found.mean, codes, rtol=1e-10)
    np.testing.assert_allclose(fitted.inverse_transform(np.array(codes), table[:, 2]), outputs, rtol=1e-10)
    # another class is another code
    other = table.copy()
    other[:, 2] = (other[:, 2] + 1) % 3
    assert not np.allclose(fitted.transform(other), codes)


def test_scores_do_not_depend_on_their_neighbours(fitted: GRAE) -> None:
    table = _data(150, seed=2)
    together = fitted.score_samples(table)
    np.testing.assert_allclose(together[[3, 120]], [fitted.score_samples(table[[n]])[0] for n in (3, 120)], rtol=1e-6)


def test_a_frame_may_name_a_column_of_text(fitted: GRAE) -> None:
    pandas = pytest.importorskip("pandas")
    table = _data()
    frame = pandas.DataFrame(table, columns=["a", "b", "group", "d", "é"])
    frame["group"] = frame["group"].map({0.0: "x", 1.0: "y", 2.0: "z"})
    before = frame.copy()
    named = GRAE(2, condition=["group"], **SMALL).fit(frame)
    pandas.testing.assert_frame_equal(frame, before)
    np.testing.assert_allclose(named.transform(frame), fitted.transform(table), rtol=1e-6)
    assert named.n_features_in_ == 5
    assert list(named.feature_names_in_) == list(frame.columns)
    codes = named.set_output(transform="pandas").transform(frame)
    assert list(codes.columns) == ["grae0", "grae1"]
    rebuilt = named.inverse_transform(codes.to_numpy()[:2], condition=["z", "x"])
    np.testing.assert_allclose(
        rebuilt, fitted.inverse_transform(fitted.transform(table)[:2], condition=[2, 0]), rtol=1e-6
    )
    expected = r"^X has text or dates in group, day; drop what is no feature, or name it with condition=…"
    with pytest.raises(InputError, match=expected):
        GRAE(2, steps=5).fit(frame.assign(day=np.datetime64("2020-01-01", "ns")))
    with pytest.raises(InputError, match="has text or dates in day;"):  # where scikit-learn has a TypeError
        GRAE(2, steps=5).fit(frame.drop(columns="group").assign(day=np.datetime64("2020-01-01", "ns")))
    with pytest.raises(InputError, match=r"group is 'w'; expected one of x, y, z"):
        named.transform(frame.assign(group="w"))
    number = GRAE(2, condition="d:number", **SMALL).fit(frame.drop(columns="group"))
    assert number.transform(frame.drop(columns="group")).shape == (60, 2)


@pytest.mark.parametrize("names", [("01", "2", "x"), ("01", "1", "1.0"), (1.0, 2, "x")], ids=str)
def test_texts_of_digits_are_the_classes_that_they_are_called(names: tuple[object, ...], fitted: GRAE) -> None:
    table = _data()
    told = np.insert(table.astype(object), 2, np.array(names, object)[table[:, 2].astype(int)], axis=1)
    named = GRAE(2, condition=2, **SMALL).fit(np.delete(told, 3, 1))
    codes = fitted.transform(table)
    assert len(named.inverse_transform(codes[:1], condition=names[0]))
    # as well where a table has one of them alone
    for row in range(3):
        np.testing.assert_allclose(named.transform(np.delete(told[row : row + 1], 3, 1)), codes[row : row + 1], 1e-6)


def test_samples_are_of_the_classes_in_turn_or_of_one(fitted: GRAE) -> None:
    in_turn = fitted.sample(6, random_state=0)
    assert in_turn.shape == (6, 4)
    np.testing.assert_array_equal(fitted.sample(6, random_state=0, condition=[0, 1, 2] * 2), in_turn)
    assert not np.allclose(fitted.sample(6, random_state=0, condition=1), in_turn)


@pytest.mark.slow
@pytest.mark.usefixtures("as_shipped")
def test_scikit_learns_tools() -> None:
    table = _data()
    model = BetaVAE(2, condition=[2], **SMALL)
    assert clone(model).condition == [2]
    pipeline = make_pipeline(FunctionTransformer(), model).fit(table)
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.transform(table), pipeline.transform(table))
    search = GridSearchCV(GRAE(2, **SMALL), {"condition": [None, 2]}, cv=2).fit(table)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    model.partial_fit(table).partial_fit(table[:20])
    assert model.posterior(table, calibrated=False).covariance.shape == (60, 2, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("as_shipped")
def test_what_is_told_need_not_be_coded() -> None:
    rng = np.random.default_rng(0)
    z, group = rng.normal(size=(600, 1)), rng.integers(0, 2, 600)
    x = z @ [[1.0, 2.0, -1.0]] + np.outer(group, [6.0, -6.0, 6.0]) + 0.3 * rng.normal(size=(600, 3))
    table = np.column_stack([x, group])
    options: dict[str, Any] = {
        "hidden_layer_sizes": (16,),
        "steps": 150,
        "lr": 0.02,
        "random_state": 0,
        "importance_samples": 64,
    }
    told = GRAE(1, condition=3, **options).fit(table[:400])
    plain = GRAE(1, **options).fit(x[:400])
    assert told.score(table[400:]) > plain.score(x[400:]) + 0.5
    assert abs(np.corrcoef(told.transform(table)[:, 0], group)[0, 1]) < 0.2
    assert abs(np.corrcoef(told.transform(table)[:, 0], z[:, 0])[0, 1]) > 0.95
    assert abs(np.corrcoef(plain.transform(x)[:, 0], group)[0, 1]) > 0.8


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("group", "names 'group', but X has no names; give positions"),
        (7, "condition has 7; expected names or positions of the 5 columns"),
        ([2, 2], "names a column twice"),
        ([2, -3], "names a column twice"),
        ([0, 1, 2, 3, 4], "names every column of X"),
        ([True], "condition has True; expected names or positions"),
    ],
)
def test_columns_that_cannot_be_conditions(condition: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GRAE(2, condition=condition, **SMALL).fit(_data())


def test_what_else_is_refused(fitted: GRAE) -> None:
    table = _data()
    codes = fitted.transform(table)
    with pytest.raises(InputError, match=r"the model is conditional; give condition=…"):
        fitted.inverse_transform(codes)
    with pytest.raises(InputError, match="there are 2 conditions for 60 codes"):
        fitted.inverse_transform(codes, condition=[0, 1])
    with pytest.raises(InputError, match="2 is '5'; expected one of 0, 1, 2"):
        fitted.inverse_transform(codes, condition=5)
    with pytest.raises(InputError, match="condition 2 of sample 4 is nan|2 is 'nan'"):
        fitted.transform(np.where(np.arange(5) == 2, np.nan, table))
    with pytest.raises(InputError, match="fitted without any; leave it out"):
        GRAE(2, **SMALL).fit(table).inverse_transform(codes, condition=1)
    with pytest.raises(InputError, match="says nothing; leave it out"):
        GRAE(2, condition=2, **SMALL).fit(table[table[:, 2] == 1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("value", [1e39, -1e300])
def test_conditions_beyond_single_precision_are_refused(named: bool, value: float, fitted: GRAE) -> None:
    table: Any = _data()
    table[4, 2] = value
    if named:
        table = pytest.importorskip("pandas").DataFrame(table, columns=list("abcde"))
    with pytest.raises(InputError, match=r"^condition (2|c) of sample 4 is -?1e\+3.*; expected finite numbers"):
        GRAE(2, condition="c" if named else 2, **SMALL).fit(table)
    if not named:
        with pytest.raises(InputError, match="^2 is .-?[0-9]{39}"):
            fitted.transform(table)


@pytest.mark.filterwarnings("error")
def test_whole_conditions_keep_all_their_digits() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(_data(20), columns=list("abcde"))
    for values in (np.array([2**63, 2**63 + 1], np.uint64), np.array([2**60, 2**60 + 1], object)):
        table["c"] = np.tile(values, 10)
        model = GRAE(2, condition="c:classes", **SMALL).fit(table)
        assert model.inverse_transform(model.transform(table), {"c": table["c"]}).shape == (20, 4)
        with pytest.raises(InputError, match=f"expected one of {values[0]}, {values[1]}"):
            model.transform(table.assign(c=5))


@pytest.mark.slow
@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize("kind", [GRAE, BetaVAE])
@pytest.mark.parametrize("condition", [None, 2])
def test_a_page_is_of_the_samples_that_are_given(kind: type, condition: int | None, tmp_path: Path) -> None:
    table = _data(40)
    model = kind(2, condition=condition, **SMALL).fit(table).partial_fit(table[:25])
    page = model.report(_data(9, seed=3), tmp_path / "page.html").read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "25 to train, 9 held out" in text
    assert "steps 4 " in text  # 3 of fit and the one pass over 25 samples
    assert "held-out samples 9" in text
    assert pickle.loads(pickle.dumps(model)).report(table, tmp_path / "again.html").exists()


@pytest.mark.parametrize("later", [{"condition": None}, {"condition": 0}, {"size_factors": "column"}])
def test_a_fitted_model_reads_tables_as_it_was_fitted_until_it_is_fitted_again(later: dict[str, Any]) -> None:
    table = _data(20)
    model = GRAE(2, condition=2, **SMALL).fit(table)
    codes = model.transform(table)
    rows = model.inverse_transform(codes, table[:, 2])
    model.set_params(**later)
    np.testing.assert_array_equal(model.transform(table), codes)
    np.testing.assert_array_equal(model.inverse_transform(codes, table[:, 2]), rows)
    if later == {"condition": None}:
        assert model.fit(table).inverse_transform(codes).shape == (20, 5)


def test_a_list_of_columns_that_is_changed_after_fit_counts_from_the_next_fit_on() -> None:
    columns, table = [2], _data(20)
    model = GRAE(2, condition=columns, **SMALL).fit(table)
    codes = model.transform(table)
    columns.append(1)
    np.testing.assert_array_equal(model.transform(table), codes)
