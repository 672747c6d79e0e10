"""encode, reconstruct, interpolate, traverse: files with what the run's own methods give, in the data's order."""

import os
import re
import shlex
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curvae.cli import written
from curvae.data import as_samples, in_order, load, load_whole
from curvae.runs import Run

Curvae = Callable[..., Any]
PAGE = Path(__file__).parents[2] / "docs" / "use.md"


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    """Bytes with a label each, that say where in the file they are."""
    rng = np.random.default_rng(1)
    path = tmp_path / "labelled.npz"
    np.savez(path, images=rng.integers(0, 256, (23, 8, 8), dtype=np.uint8), labels=np.arange(23))
    return f"{path}:images"


def images_of(labelled: str) -> np.ndarray:
    return np.asarray(np.load(labelled.removesuffix(":images"))["images"])


def test_codes_and_labels_are_in_the_order_of_the_data(
    curvae: Curvae, run: Path, labelled: str, tmp_path: Path
) -> None:
    out = tmp_path / "z.npz"
    answer = curvae("encode", run, "--data", labelled, "--out", out, "--covariance", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json == {
        "run": str(run), "out": str(out), "n": 23, "arrays": ["mean", "std", "covariance", "labels"],
    }  # fmt: skip
    with np.load(out) as found:
        expected = Run.open(run).encode(images_of(labelled), covariance=True)
        for name in ("mean", "std", "covariance"):
            np.testing.assert_allclose(found[name], getattr(expected, name), rtol=1e-5)
        assert found["labels"].tolist() == list(range(23))
        assert (found["mean"].dtype, found["mean"].shape, found["covariance"].shape) == ("f4", (23, 3), (23, 3, 3))


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_is_that_of_the_split(part: str, curvae: Curvae, run: Path, labelled: str, tmp_path: Path) -> None:
    out = tmp_path / "z.npz"
    assert curvae("encode", run, "--data", labelled, "--out", out, "--part", part).code == 0
    data = load(labelled)
    places = np.delete(np.arange(23), data.split["test_indices"]) if part == "train" else data.split["test_indices"]
    with np.load(out) as found:
        assert found["labels"].tolist() == list(places)
        expected = Run.open(run).encode(getattr(data, part)).mean
        np.testing.assert_allclose(found["mean"], expected, rtol=1e-5)


def test_the_runs_own_data_come_in_the_order_of_their_file(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    opened, out = Run.open(run), tmp_path / "z.npz"
    answer = curvae("encode", run, "--out", out, "--structure", "diagonal", "--limit", 9)
    assert answer.stderr == f"codes of 9 samples in {out}\n"
    mean = opened.encode(np.load(opened.config.data)[:9]).mean
    with np.load(out) as found:
        np.testing.assert_allclose(found["mean"], mean, rtol=1e-5)
        assert set(found) == {"mean", "std"}
        assert not np.allclose(found["std"], opened.encode(np.load(opened.config.data)[:9]).std)


def test_a_single_sample(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.full((1, 1, 8, 8), 0.5))
    for command in ("encode", "reconstruct"):
        answer = curvae(command, run, "--data", tmp_path / "one.npy", "--out", tmp_path / f"{command}.npz")
        assert answer.code == 0, answer.stderr
    assert np.load(tmp_path / "encode.npz")["mean"].shape == (1, 3)
    assert np.load(tmp_path / "reconstruct.npz")["reconstruction"].shape == (1, 1, 8, 8)


def test_an_older_file_is_replaced_and_that_is_said(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.npy"
    out.write_text("older")
    answer = curvae("reconstruct", run, "--out", out, "--part", "test")
    assert answer.stderr == f"6 reconstructions in {out}, in place of an older file\n"
    opened = Run.open(run)
    np.testing.assert_allclose(np.load(out), opened.reconstruct(opened.dataset().test), rtol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "r.npy"}


def test_a_picture_has_originals_above_outputs(curvae: Curvae, run: Path, labelled: str, tmp_path: Path) -> None:
    out = tmp_path / "r.png"
    assert curvae("reconstruct", run, "--data", labelled, "--out", out, "--limit", 7).code == 0
    picture = np.asarray(Image.open(out))
    assert picture.shape == (38, 38)  # four by four images of 8 pixels, 2 apart
    images = images_of(labelled)
    assert np.array_equal(picture[:8, 10:18], images[1])
    assert np.array_equal(picture[20:28, :8], images[4])
    below = Run.open(run).reconstruct(images[:7]).clip(0, 1) * 255
    np.testing.assert_allclose(picture[10:18, 10:18], below[1].round(), atol=1)
    assert (picture[20:, 30:] == 255).all()  # no eighth


@pytest.mark.parametrize("geodesic", [False, True])
def test_ways(geodesic: bool, curvae: Curvae, run: Path, labelled: str, tmp_path: Path) -> None:
    arguments = ("--data", labelled, "--pairs", "3:5,22:0", "--steps", 4, *["--geodesic"] * geodesic)
    for suffix in ("npz", "npy", "png"):
        answer = curvae("interpolate", run, *arguments, "--out", tmp_path / f"w.{suffix}")
        assert answer.code == 0, answer.stderr
    images, found = images_of(labelled), np.load(tmp_path / "w.npz")
    expected = Run.open(run).interpolate(images[[3, 22]], images[[5, 0]], 4, geodesic=geodesic)
    np.testing.assert_allclose(found["path"][:, :, 0], expected, rtol=1e-3, atol=1e-5)
    assert found["pairs"].tolist() == [[3, 5], [22, 0]]
    assert np.array_equal(np.load(tmp_path / "w.npy"), found["path"])
    picture = np.asarray(Image.open(tmp_path / "w.png"))
    assert picture.shape == (18, 38)
    assert np.array_equal(picture[10:, 10:18], (found["path"][1, 1, 0].clip(0, 1) * 255).round())


def test_traversals(curvae: Curvae, run: Path, labelled: str, tmp_path: Path) -> None:
    out, opened = tmp_path / "t.npz", Run.open(run)
    assert curvae("traverse", run, "--out", out).code == 0
    np.testing.assert_allclose(np.load(out)["traversal"], opened.traverse(), rtol=1e-5)
    arguments = ("--data", labelled, "--index", "2,0", "--latents", "1", "--values=-1,0.5")
    assert curvae("traverse", run, *arguments, "--out", out).code == 0
    found, images = np.load(out), images_of(labelled)[[2, 0]]
    expected = opened.traverse(images, latents=[1], values=[-1.0, 0.5])
    np.testing.assert_allclose(found["traversal"][:, :, :, 0], expected, rtol=1e-5)
    assert [found[name].tolist() for name in ("index", "latents", "values")] == [[2, 0], [1], [-1.0, 0.5]]
    assert curvae("traverse", run, "--out", tmp_path / "t.png").code == 0
    assert np.asarray(Image.open(tmp_path / "t.png")).shape == (28, 68)  # three latents, seven values


@pytest.mark.parametrize("count", [2, 3, 10, 40])
def test_whole_data_are_in_order_however_they_are_read(count: int, tmp_path: Path) -> None:
    given = np.random.default_rng().normal(size=(count, 3))
    np.save(tmp_path / "a.npy", given)
    for data in (load(tmp_path / "a.npy", split_seed=count), load_whole(tmp_path / "a.npy")):
        assert np.array_equal(in_order(data), as_samples(given))
    np.savez(tmp_path / "b.npz", x_train=given[1:], x_test=given[:1])
    assert np.array_equal(in_order(load_whole(tmp_path / "b.npz")), as_samples(np.roll(given, -1, 0)))


def test_labels_of_parts_and_labels_that_cannot_be_used(
    curvae: Curvae, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng().random((9, 1, 8, 8), dtype=np.float32)
    data, out = tmp_path / "parts.npz", tmp_path / "z.npz"
    words = np.array(list("abcdefghi"))
    np.savez(data, x_train=images[:6], x_test=images[6:], y_train=words[:6], y_test=words[6:])
    for part, expected in (("all", "abcdefghi"), ("train", "abcdef"), ("test", "ghi")):
        assert curvae("encode", run, "--data", data, "--out", out, "--part", part).code == 0
        assert "".join(np.load(out)["labels"]) == expected
    for labels in (np.arange(8), np.zeros((9, 2)), np.array([{}] * 9, object)):
        np.savez(data, images=images, labels=labels)
        answer = curvae("encode", run, "--data", f"{data}:images", "--out", out)
        assert answer.code == 0
        assert "labels" not in np.load(out)
        assert "left out" in answer.stderr + capsys.readouterr().err


def test_damage_in_the_runs_own_images_is_said_once(
    curvae: Curvae, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "images" / f"{i:02}.png")
    (tmp_path / "images" / "04.png").write_bytes(b"no image")
    words = ["--damaged", "skip", "--network", "linear", "--latents", 2, "--steps", 1, "--batch-size", 4]
    answers = [curvae("train", "--data", tmp_path / "images", *words, "--out", tmp_path / "run")]
    answers += [curvae("encode", tmp_path / "run", "--out", tmp_path / "z.npz")]
    assert (capfd.readouterr().err + "".join(answer.stderr for answer in answers)).count("left out:") == 2
    expected = Run.open(tmp_path / "run").encode(np.delete(pixels, 4, axis=0)[:, None]).mean
    np.testing.assert_allclose(np.load(tmp_path / "z.npz")["mean"], expected, atol=1e-5)


def test_a_table_that_cannot_be_used_is_told_of_without_options_of_train(curvae: Curvae, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(20, 3)), columns=list("abc"))
    frame.to_csv(tmp_path / "x.csv", index=False)
    words = ["--network", "linear", "--latents", 2, "--steps", 1, "--batch-size", 4, "--out", tmp_path / "run"]
    assert curvae("train", "--data", tmp_path / "x.csv", *words).code == 0
    text, gap, out = tmp_path / "text.csv", tmp_path / "gap.csv", tmp_path / "z.npz"
    frame.assign(d="?").to_csv(text, index=False)
    frame.where(frame != frame.iloc[2, 1]).to_csv(gap, index=False)
    for data, said in (
        (text, "column 'd' holds no numbers (str); leave it out\n"),
        (gap, "row 2 (counted from 0) has no finite number in column 'b'; fill it in, or train with masked: before"),
    ):
        answer = curvae("encode", tmp_path / "run", "--data", data, "--out", out)
        assert answer.code == 2
        assert said in answer.stderr.replace("(object)", "(str)")
        assert "--drop" not in answer.stderr


def class_folders(place: Path, kinds: str = "aabbbab", sides: tuple[int, ...] = (8,)) -> Path:
    """Images that say by their grey where they are in the order of their paths, a folder for each class."""
    for number, kind in enumerate(sorted(kinds)):
        (place / kind).mkdir(parents=True, exist_ok=True)
        side = sides[number % len(sides)]
        Image.fromarray(np.full((side, side), 10 * number, np.uint8)).save(place / kind / f"{number}.png")
    return place


LINEAR = ["--network", "linear", "--latents", 2, "--steps", 1, "--batch-size", 4, "--device", "cpu"]


def test_images_that_cannot_be_used_are_told_of_without_options_of_train(curvae: Curvae, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "z.npz"
    assert curvae("train", "--data", class_folders(tmp_path / "a"), *LINEAR, "--out", run).code == 0
    bad = class_folders(tmp_path / "bad")
    (bad / "a" / "0.png").write_bytes(b"no image")
    for data, said in (
        (bad, "replace or remove, or train without such images (--damaged skip, "),
        (
            class_folders(tmp_path / "sizes", sides=(8, 9)),
            "save all in one size, or give one to train or inspect with (",
        ),
    ):
        answer = curvae("encode", run, "--data", data, "--out", out)
        assert answer.code == 2
        assert said in answer.stderr


def test_folders_of_classes_are_labels(curvae: Curvae, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "z.npz"
    own = class_folders(tmp_path / "own")
    (own / "b" / "bad.png").write_bytes(b"no image")
    (own / "a" / "left-out.heic").touch()
    assert curvae("train", "--data", own, "--damaged", "skip", *LINEAR, "--out", run).code == 0
    capfd.readouterr()
    answer = curvae("encode", run, "--out", out)
    assert (answer.stderr + capfd.readouterr().err).count("formats that curvae does not read") == 1
    assert "".join(np.load(out)["labels"]) == "aaabbbb"
    for part in ("train", "test"):
        assert curvae("reconstruct", run, "--out", out, "--part", part).code == 0
        greys = getattr(Run.open(run).dataset(), part)[:].flatten(1)[:, 0]
        assert np.load(out)["labels"].tolist() == ["ab"[grey >= 30] for grey in greys.tolist()]
    for data, expected in (
        (class_folders(tmp_path / "one-each", "ab"), "ab"),
        (class_folders(tmp_path / "flat", "x"), None),
        (class_folders(tmp_path / "parts" / "train", "aab").parent, "aab"),
    ):
        assert curvae("encode", run, "--data", data, "--out", out).code == 0
        assert "".join(np.load(out).get("labels", ())) == (expected or "")
    class_folders(tmp_path / "parts" / "test", "ab")
    assert curvae("encode", run, "--data", tmp_path / "parts", "--out", out).code == 0
    assert "".join(np.load(out)["labels"]) == "aabab"


def test_a_picture_does_not_come_among_the_images_of_the_data(curvae: Curvae, tmp_path: Path) -> None:
    """It would take the place of one, or be one of them from then on."""
    faces, elsewhere, run = tmp_path / "faces", tmp_path / "elsewhere", tmp_path / "run"
    (faces / "a").mkdir(parents=True)
    elsewhere.mkdir()
    for place in [faces / "a" / f"{i}.png" for i in range(8)] + [elsewhere / "linked.png"]:
        Image.fromarray(np.full((8, 8), 30, np.uint8)).save(place)
    (faces / "linked.png").symlink_to(elsewhere / "linked.png")
    words = ["--network", "linear", "--latents", 2, "--steps", 1, "--batch-size", 4, "--out", run]
    assert curvae("train", "--data", faces, *words).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    for out in (faces / "a" / "3.png", faces / "new.png", faces / "b" / "new.png", elsewhere / "linked.png"):
        for answer in (curvae("sample", run, "--out", out), curvae("reconstruct", run, "--out", out)):
            assert answer.code == 2
            assert (
                answer.stderr
                == f"error: --out is {out}, among the images of the data, {faces}; choose another folder\n"
            )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before
    (elsewhere / "link.png").symlink_to(faces / "new.png")
    answer = curvae("sample", run, "--out", elsewhere / "link.png")
    assert (answer.code, "among the images of the data" in answer.stderr) == (2, True), answer.stderr
    assert curvae("sample", run, "--out", elsewhere / "new.png").code == 0
    assert curvae("encode", run, "--out", faces / "codes.npz").code == 0


def test_the_commands_of_the_page_run(
    curvae: Curvae, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    run.rename("runs/images")
    np.save("new.npy", np.random.default_rng(0).random((9, 1, 8, 8), dtype=np.float32))
    (shown,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for line in shown.splitlines():
        _, *words = shlex.split(line, comments=True)
        answer = curvae(*words)
        assert answer.code == 0, (line, answer.stderr)
        assert Path(words[words.index("--out") + 1]).exists()


def test_labels_of_a_table_follow_the_rows(curvae: Curvae, tmp_path: Path) -> None:
    """Kept in the order of the file, whatever the split: each label is its row's first value."""
    pytest.importorskip("pandas")
    rows = np.random.default_rng(0).normal(size=(30, 4)).round(4)
    lines = ["a,b,c,d,tag", *(",".join(map(str, [*row, f"t{row[0]}"])) for row in rows)]
    table, out = tmp_path / "t.csv", tmp_path / "run"
    table.write_text("\n".join(lines))
    train = ["train", "--data", str(table), "--labels", "tag", "--latents", "2", "--steps", "2", "--batch-size", "8"]
    assert curvae(*train, "--out", str(out), "--device", "cpu").code == 0
    one = tmp_path / "one.csv"
    one.write_text("\n".join(lines[:2]))
    for options, count in (([], 30), (["--data", str(table)], 30), (["--data", str(one)], 1)):
        answer = curvae("encode", str(out), "--out", str(tmp_path / "z.npz"), *options)
        assert answer.code == 0, answer.stderr
        found = np.load(tmp_path / "z.npz")
        assert found["labels"].tolist() == [f"t{row[0]}" for row in rows[:count]]
    # labels and columns that were dropped may be absent from other data
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    answer = curvae("encode", str(out), "--out", str(tmp_path / "bare.npz"), "--data", str(bare))
    assert answer.code == 0, answer.stderr
    bare_codes = np.load(tmp_path / "bare.npz")
    assert "labels" not in bare_codes
    assert bare_codes["mean"].shape == (30, 2)
    np.save(tmp_path / "bare.npy", rows)
    for data in (bare, tmp_path / "bare.npy"):
        answer = curvae("inspect", str(out), "--data", str(data), "--limit", "2", "--products", "2", "--json")
        assert answer.code == 0, answer.stderr


def test_several_columns_of_labels_keep_their_names(curvae: Curvae, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(20, 3)), columns=list("abc"))
    frame["kind"], frame["age"], frame["mean_0"] = list("xy") * 10, np.arange(20) + 2**60, np.arange(20) / 2
    frame.to_csv(tmp_path / "t.csv", index=False)
    words = ["--labels", "kind,age,mean_0", *LINEAR, "--out", tmp_path / "run"]
    assert curvae("train", "--data", tmp_path / "t.csv", *words).code == 0
    for command in ("encode", "reconstruct"):
        assert curvae(command, tmp_path / "run", "--out", tmp_path / "z.csv").code == 0
        table = pandas.read_csv(tmp_path / "z.csv")
        clear = "labels_mean_0" if command == "encode" else "mean_0"  # encode has a column of that name itself
        assert list(table)[-3:] == ["kind", "age", clear]
        for name, there in (("kind", "kind"), ("age", "age"), ("mean_0", clear)):
            assert table[there].tolist() == frame[name].tolist()
    answer = curvae("encode", tmp_path / "run", "--out", tmp_path / "z.npz", "--json")
    assert answer.json["arrays"] == ["mean", "std", "labels", "label_names"]
    found = np.load(tmp_path / "z.npz")
    assert found["label_names"].tolist() == ["kind", "age", "mean_0"]
    assert found["labels"][:, 1].astype(int).tolist() == frame["age"].tolist()


def test_a_condition_that_is_said_need_not_be_a_column(curvae: Curvae, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    rows = [f"{i % 5}.5,{i % 7}.5,{'xy'[i % 2]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,g", *rows]))
    (tmp_path / "all-x.csv").write_text("\n".join(["a,b,g", *(row[:-1] + "x" for row in rows)]))
    (tmp_path / "bare.csv").write_text("\n".join(["a,b", *(row[:-2] for row in rows)]))
    train = ["train", "--data", tmp_path / "t.csv", "--condition", "g", "--latents", 2, "--steps", 2, "--batch-size", 8]
    assert curvae(*train, "--out", tmp_path / "run", "--device", "cpu").code == 0
    said = ["--condition-value", "x"]
    found = []
    for name, more in (("all-x", []), ("t", said), ("bare", said)):
        encode = ["encode", tmp_path / "run", "--data", tmp_path / f"{name}.csv", "--out", tmp_path / f"{name}.npz"]
        answer = curvae(*encode, *more)
        assert answer.code == 0, answer.stderr
        found.append(np.load(tmp_path / f"{name}.npz")["mean"])
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    answer = curvae("encode", tmp_path / "run", "--data", tmp_path / "bare.csv", "--out", tmp_path / "none.npz")
    assert answer.code == 2
    assert "condition is 'g' but bare has no such labels" in answer.stderr
    assert "or say one for all samples with --condition-value" in answer.stderr


def test_a_condition_that_is_said_leaves_a_gene_of_its_name_in(curvae: Curvae, tmp_path: Path) -> None:
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    with pandas.option_context("future.infer_string", False):  # strings that this anndata can write
        cells = pandas.DataFrame({"g": list("ab") * 10}, index=[f"cell{i}" for i in range(20)])
        genes = pandas.DataFrame(index=["g", "h", "k"])
        anndata.AnnData(np.random.default_rng(0).normal(size=(20, 3)), cells, genes).write_h5ad(tmp_path / "x.h5ad")
    train = ["train", "--data", tmp_path / "x.h5ad", "--condition", "g", "--latents", 2, "--steps", 1]
    assert curvae(*train, "--batch-size", 4, "--device", "cpu", "--out", tmp_path / "run").code == 0
    said = ["--data", tmp_path / "x.h5ad", "--condition-value", "a", "--out", tmp_path / "z.npz"]
    answer = curvae("encode", tmp_path / "run", *said)
    assert answer.code == 0, answer.stderr


def test_a_first_column_without_a_name_is_what_it_was_in_training(curvae: Curvae, tmp_path: Path) -> None:
    """Whether it counts the rows is asked once: of a few rows any numbers do, and of some tables put together none."""
    pandas = pytest.importorskip("pandas")
    values = np.random.default_rng(0).normal(size=(40, 2))
    repeated, counted = (
        pandas.DataFrame(values, index, ["a", "b"]) for index in (np.arange(40) // 2, np.arange(40)[::-1])
    )
    for name, frame, other in (
        ("repeated", repeated, repeated[:1]),
        ("counted", counted, pandas.concat([counted] * 2)),
    ):
        for place, table in (("train", frame), ("other", other)):
            table.to_csv(tmp_path / f"{name}-{place}.csv")
        small = ["--latents", 2, "--steps", 2, "--batch-size", 8, "--device", "cpu"]
        run = tmp_path / name
        assert curvae("train", "--data", tmp_path / f"{name}-train.csv", *small, "--out", run).code == 0
        found = [
            curvae("encode", run, *more, "--out", tmp_path / "z.npz")
            for more in ([], ["--data", tmp_path / f"{name}-other.csv"])
        ]
        assert [answer.code for answer in found] == [0, 0], found[1].stderr
        assert "--drop" not in found[1].stderr
        assert len(np.load(tmp_path / "z.npz")["mean"]) == len(other)


def test_tables(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    """What pandas reads again is what the arrays hold, to the last bit of their precision."""
    pandas = pytest.importorskip("pandas")
    rows = np.random.default_rng(0).normal(size=(30, 3))
    frame = pandas.DataFrame(rows, columns=["a", 'say "b", or c', "d"])
    frame["tag"] = [f"t, {i}" for i in range(30)]
    frame.to_csv(tmp_path / "t.csv", index=False)
    train = ["train", "--data", tmp_path / "t.csv", "--labels", "tag", "--latents", 2, "--steps", 2, "--batch-size", 8]
    assert curvae(*train, "--out", tmp_path / "of-table", "--device", "cpu").code == 0
    for command in ("encode", "reconstruct"):
        for ending in ("csv", "npz"):
            answer = curvae(command, tmp_path / "of-table", "--out", tmp_path / f"{command}.{ending}")
            assert answer.code == 0, answer.stderr
    codes, held = pandas.read_csv(tmp_path / "encode.csv", dtype={"mean_0": "f4"}), np.load(tmp_path / "encode.npz")
    assert list(codes) == ["mean_0", "mean_1", "std_0", "std_1", "labels"]
    np.testing.assert_array_equal(codes["mean_0"], held["mean"][:, 0])
    np.testing.assert_array_equal(codes["std_1"].astype("f4"), held["std"][:, 1])
    assert codes["labels"].tolist() == frame["tag"].tolist()
    rebuilt = pandas.read_csv(tmp_path / "reconstruct.csv")
    assert list(rebuilt) == ["a", 'say "b", or c', "d", "labels"]
    np.testing.assert_array_equal(
        rebuilt.iloc[:, :3].astype("f4"), np.load(tmp_path / "reconstruct.npz")["reconstruction"]
    )
    answer = curvae("sample", tmp_path / "of-table", "-n", 4, "--out", tmp_path / "s.csv")
    assert answer.code == 0, answer.stderr
    assert pandas.read_csv(tmp_path / "s.csv").shape == (4, 3)
    refused = [
        (["encode", run, "--covariance"], "a matrix for each sample"),
        (["reconstruct", run], "are no rows of a table"),
        (["traverse", run, "--latents", 0], "expected a name that ends in .png, .npy, .npz"),
        (["encode", tmp_path / "of-table", "--data", tmp_path / "no.csv"], "holds the data"),
        (["sample", tmp_path / "of-table"], "holds the data"),
        (["encode", tmp_path / "of-table", "--data", tmp_path / "other.csv"], "holds the data"),
    ]
    frame.to_csv(tmp_path / "other.csv", index=False)
    (tmp_path / "t.csv").rename(tmp_path / "no.csv")
    (tmp_path / "t.csv").symlink_to(tmp_path / "no.csv")
    for arguments, message in refused:
        answer = curvae(*arguments, "--out", tmp_path / "no.csv")
        assert (answer.code, message in answer.stderr) == (2, True), answer.stderr


def test_a_long_table_is_text_in_pieces(tmp_path: Path) -> None:
    """All of it as text would be dozens of times the array, and the amount that is refused counts on twice."""
    rows = np.random.default_rng(0).normal(size=(30_000, 4)).astype("float32")
    tracemalloc.start()
    try:
        written.write(tmp_path / "long.csv", {"mean": rows})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * rows.nbytes
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "long.csv", np.float32, delimiter=",", skiprows=1), rows)


@pytest.mark.parametrize("name", ["z.NPY", "z.NPZ", "z.Csv", "z.PNG"])
def test_endings_in_capitals_are_kept(name: str, tmp_path: Path) -> None:
    assert not written.write(tmp_path / name, {"mean": np.ones((2, 3))}, np.ones((2, 1, 4, 4)))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert written.write(tmp_path / name, {"mean": np.ones((2, 3))}, np.ones((2, 1, 4, 4)))


def test_a_pipe_is_refused_before_the_work(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "z.npz")
    answer = curvae("encode", run, "--out", tmp_path / "z.npz")
    assert (answer.code, "z.npz, a pipe; expected a file" in answer.stderr) == (2, True), answer.stderr
    assert (tmp_path / "z.npz").is_fifo()
