"""Tables: pandas and anndata, where they are installed."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curvae.data import load
from curvae.data.columns import check_names
from curvae.errors import InputError, MissingExtraError

TABLE = "length,width,kind,batch\n" + "".join(f"{i}.5,{2 * i},{'ab'[i % 2]},{i % 3}\n" for i in range(20))


def _csv(folder: Path, text: str = TABLE) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def _check(path: Path) -> None:
    data = load(path, labels=["kind", "batch"], test_fraction=0.2)
    assert data.train.shape == (16, 2)
    assert data.train.dtype == torch.float32
    # the rows stay with their labels
    for half, kinds, batches in zip((data.train, data.test), data.labels["kind"], data.labels["batch"], strict=True):
        numbers = half[:, 1].long() // 2
        torch.testing.assert_close(half[:, 0], numbers + 0.5)
        assert list(kinds) == ["ab"[i % 2] for i in numbers]
        assert list(batches) == [int(i) % 3 for i in numbers]
    assert load(path, labels=["kind"], drop=["batch", "length"]).shape == (1,)


def test_csv(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    _check(_csv(tmp_path))


def test_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.read_csv(_csv(tmp_path)).to_parquet(tmp_path / "table.parquet")
    _check(tmp_path / "table.parquet")


def test_rows_that_count_themselves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}).to_csv(tmp_path / "x.csv")
    assert load(tmp_path / "x.csv").shape == (2,)
    assert "counts the rows; it is left out" in capsys.readouterr().err


def test_a_first_column_without_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It numbers the rows also where they were shuffled; what repeats may be a feature, and is told of."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(9.0), "b": np.arange(9.0) ** 2})
    path = tmp_path / "x.csv"
    frame.sample(frac=1, random_state=0)[2:].to_csv(path)
    assert load(path).columns == ("a", "b")
    assert "counts the rows; it is left out" in capsys.readouterr().err
    for named in ({"drop": ["Unnamed: 0"]}, {"labels": ["Unnamed: 0"]}):
        assert load(path, **named).columns == ("a", "b")
    assert capsys.readouterr().err == ""
    pandas.concat([frame, frame]).to_csv(path)
    assert load(path).columns == ("Unnamed: 0", "a", "b")
    assert "taken for a feature; to leave it out, train with --drop 'Unnamed: 0'" in capsys.readouterr().err


def test_another_encoding(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    for encoding in ("latin-1", "utf-16"):
        (tmp_path / "x.csv").write_bytes("größe,b\n1,2\n3,4\n".encode(encoding))
        with pytest.raises(InputError, match=r"x.csv' is not text in UTF-8 \(.*\); save it in that encoding"):
            load(tmp_path / "x.csv")


def test_spaces_around_names_and_values(tmp_path: Path) -> None:
    """Columns can be named although they are written with spaces after the commas, as people do."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = _csv(tmp_path, TABLE.replace(",", ", ").replace("batch\n", "batch \n"))
    _check(path)
    assert load(path, condition="kind", drop=["batch"]).coding.columns[0].classes == ("a", "b")
    frame = pandas.read_csv(path)
    assert list(frame)[1] == " width"
    frame.to_parquet(tmp_path / "table.parquet")
    assert load(tmp_path / "table.parquet", labels=["kind", "batch"]).columns == ("length", "width")
    check_names(["length", " width"], ["length", "width"], "x")  # a frame as pandas reads it, and a table


def test_h5ad(tmp_path: Path) -> None:
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    from scipy.sparse import csr_matrix

    counts = np.random.default_rng(0).poisson(1.0, size=(20, 5)).astype(np.float32)
    path = tmp_path / "cells.h5ad"
    with pandas.option_context("future.infer_string", False):  # strings that this anndata can write
        cells = pandas.DataFrame({"cluster": [str(i) for i in range(20)]}, index=[f"cell{i}" for i in range(20)])
        genes = pandas.DataFrame(index=[f"gene{i}" for i in range(5)])
        anndata.AnnData(csr_matrix(np.log1p(counts)), cells, genes, layers={"counts": counts}).write_h5ad(path)
    data = load(f"{path}:counts", labels=["cluster"], drop=["gene3"])
    order = [int(i) for half in data.labels["cluster"] for i in half]
    np.testing.assert_array_equal(torch.cat([data.train, data.test]), counts[order][:, [0, 1, 2, 4]])
    np.testing.assert_allclose(load(path).train[:, 0], np.log1p(counts[:, 0])[np.sort(order[:18])], rtol=1e-6)
    with pytest.raises(InputError, match="has no layer 'raw'; it has 'counts'"):
        load(f"{path}:raw")
    with pytest.raises(InputError, match="labels or condition names 'kind', but .* has 'cluster'"):
        load(path, labels=["kind"])


BAD: dict[str, tuple[str, dict[str, list[str]], str]] = {
    "twice": ("a,a\n1,2\n3,4\n", {}, "two columns called 'a'"),
    "text": (TABLE, {}, "column 'kind' holds no numbers .*--labels kind"),
    "text in a first column without a name": (
        ",c0\ng0,1\ng1,2\n",
        {},
        "the first column, which has no name \\('Unnamed: 0'\\), holds .*--drop 'Unnamed: 0', .*--labels 'Unnamed: 0'",
    ),
    "no such column": (TABLE, {"drop": ["depth"]}, "drop names 'depth', but .* has 'length', 'width'"),
    "labels of images": (
        TABLE,
        {"labels": ["kind"], "condition": ["labels"]},
        "names 'labels', .*; a table has columns, so name these: --condition kind$",
    ),
    "a name misspelt": (TABLE, {"labels": ["knid"]}, "labels or condition names 'knid', .*; did you mean kind\\?"),
    "nothing left": (TABLE, {"drop": ["length", "width", "kind", "batch"]}, "has no columns left"),
    "a gap": ("a,b\n1,2\n3,\n5,6\n", {}, r"row 1 \(counted from 0\) has no finite number in column 'b'"),
    "how to leave gaps out": (
        "a,b\n1,2\n3,\n5,6\n",
        {},
        "--drop, or train with masked: before the observation model, as in --likelihood masked:gaussian or masked:po",
    ),
    "too large": ("a,b\n1,2\n3,1e300\n", {}, r"row 1 \(counted from 0\) has no finite number in column 'b'"),
    "no header, twice the same": ("1,1\n3,4\n5,6\n", {}, "begins with a row of numbers"),
    "no header, with a gap": ("1,,2\n3,4,5\n5,6,7\n", {}, "begins with a row of numbers"),
    "no header": ("1,2\n3,4\n5,6\n", {}, "begins with a row of numbers"),
    "no rows": ("a,b\n", {}, "has no rows"),
    "one row": ("a,b\n1,2\n", {}, "holds 1 sample"),
    "empty": ("", {}, "is empty or begins with an empty line"),
    "semicolons": ("a;b\n1;2\n3;4\n", {}, r"separated by semicolons \('a;b'\)"),
    "semicolons and decimal commas": ("a;b\n1,5;2,5\n3,25;4,5\n5;6\n", {}, r"separated by semicolons \('a;b'\)"),
    "ragged decimal commas": ("a;b;c\n1;2,5;3\n1,5;2,5;3,5\n", {}, r"separated by semicolons .*points in numbers"),
    "a word among numbers": (
        "a,b\n1,2\nx?,3\n4,5\n",
        {},
        r"column 'a' holds 'x\?' in row 1 \(counted from 0\) and no number in 1 of 3 rows",
    ),
    "write.table of R": ('"a" "b"\n"1" 0.5 2\n"2" 3 4.5\n', {}, r"separated by spaces \('a \"b\"'\); separate them"),
    "spaces without quotes": ("a b\n1 2\n3 4\n", {}, r"separated by spaces \('a b'\)"),
    "a name and values with spaces": ("cell type\nT cell\nB cell\n", {}, "column 'cell type' holds no numbers"),
    "names of rows": ('"a","b"\n"r1",2,3\n"r2",5,6\n', {}, r"give each column a name, that of the rows' names too"),
    "no name for the first": ("a,b\n1,2,3\n4,5,6\n", {}, "more values in its first row than columns with names"),
    "names of the rows": ("a,b\n0,2,3\n1,5,6\n", {}, "give each column a name"),
    "commas at the ends": ("a,b\n1,2,\n4,5,\n", {"missing": True}, "or leave out the commas that end the rows"),
    "ragged": ("a,b\n1,2\n3,4,5,6\n", {}, "cannot be read as a table"),
}


@pytest.mark.parametrize(("text", "options", "message"), BAD.values(), ids=BAD.keys())
def test_bad_tables_are_one_line(text: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    with pytest.raises(InputError, match=message) as caught:
        load(_csv(tmp_path, text), **options)
    assert "\n" not in str(caught.value)


def _cells(path: Path, x: np.ndarray, genes: Sequence[str] = ("GFP", "CD4", "CD8")) -> Path:
    """Twenty cells of three genes, one of which is called as a column of obs."""
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    with pandas.option_context("future.infer_string", False):  # strings that this anndata can write
        cells = pandas.DataFrame({"GFP": np.arange(20) % 2}, index=[f"cell{i}" for i in range(20)])
        anndata.AnnData(x, cells, pandas.DataFrame(index=list(genes))).write_h5ad(path)
    return path


def test_a_gene_may_be_called_as_a_column_of_obs(tmp_path: Path) -> None:
    """Features are of X: labels and conditions, of obs, leave none of them out."""
    path = _cells(tmp_path / "cells.h5ad", np.arange(60.0).reshape(20, 3))
    for options in ({"labels": ["GFP"]}, {"condition": "GFP"}):
        assert load(path, **options).columns == ("GFP", "CD4", "CD8")
    assert load(path, drop=["GFP"]).columns == ("CD4", "CD8")


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_two_genes_of_one_name_are_refused_as_columns_are(tmp_path: Path) -> None:
    path = _cells(tmp_path / "cells.h5ad", np.arange(60.0).reshape(20, 3), ["GFP", "CD4", "CD4 "])
    with pytest.raises(InputError, match="cells.h5ad' has two columns called 'CD4'; give them different names"):
        load(path)
    path = _cells(path, np.arange(60.0).reshape(20, 3), ["CD4", "GFP", "CD4"])
    with warnings.catch_warnings(action="error"), pytest.raises(InputError, match="two columns called 'CD4'"):
        load(path)


@pytest.mark.parametrize("value", [1 + 1j, "a"])
def test_a_matrix_of_what_is_no_real_number_is_refused(value: Any, tmp_path: Path) -> None:
    path = _cells(tmp_path / "cells.h5ad", np.full((20, 3), value))
    with pytest.raises(InputError, match=r"cells.h5ad' holds (complex128|object|<U1) values; expected real numbers"):
        load(path)


@pytest.mark.parametrize("name", ["x.parquet", "x.h5ad"])
def test_files_of_another_kind(name: str, tmp_path: Path) -> None:
    pytest.importorskip("anndata" if name.endswith("h5ad") else "pyarrow")
    (tmp_path / name).write_bytes(b"no table at all")
    with pytest.raises(InputError, match="cannot be read as a table"):
        load(tmp_path / name)


def test_columns_of_what_is_no_table(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((9, 2)))
    with pytest.raises(InputError, match="labels and drop name columns of a table"):
        load(tmp_path / "x.npy", drop=["a"])


@pytest.mark.parametrize(
    ("name", "module", "command"),
    [("x.csv", "pandas", "pandas"), ("x.parquet", "pandas", "pandas"), ("x.h5ad", "anndata", "anndata")],
)
def test_a_package_that_is_missing(
    name: str, module: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("a\n1\n")
    monkeypatch.setattr("curvae._extras._is_there", _without(module))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'run: pip install "curvae\[{command}\]"'):
        load(tmp_path / name)


def _without(missing: str) -> Callable[[str], bool]:
    return lambda module: module != missing
