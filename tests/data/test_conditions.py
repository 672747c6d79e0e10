"""What is known of each sample: read beside the data, coded by one rule, and in their order."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from curvae.data import Batch, Batches, Coding, as_dataset, in_order, load, load_whole
from curvae.data.coding import Column
from curvae.data.dataset import Dataset as DataSet
from curvae.data.labels import beside, labels_of
from curvae.data.order import conditions_in_order
from curvae.errors import InputError


def one_hot(values: np.ndarray, classes: list[object]) -> torch.Tensor:
    return torch.tensor([[float(value == one) for one in classes] for value in values])


def test_classes_are_one_hot_and_numbers_standardised_by_the_training_half() -> None:
    rng = np.random.default_rng(0)
    train = {
        "sex": np.array(["m", "f", "m"]), "batch": np.array([10, 2, 10]), "dose": rng.random(3), "id": np.arange(3),
    }  # fmt: skip
    test = {"sex": np.array(["x"]), "batch": np.array([7]), "dose": rng.random(1), "id": np.arange(1)}
    coding = Coding.of(("sex", "batch", "dose", "id:number"), train, test)
    expected = torch.cat(
        [
            one_hot(train["sex"], ["f", "m", "x"]),
            one_hot(train["batch"], [2, 7, 10]),  # by size, not by letters
            torch.tensor((train["dose"] - train["dose"].mean()) / train["dose"].std()).float()[:, None],
            torch.tensor((train["id"] - 1) / train["id"].std()).float()[:, None],
        ],
        1,
    )
    torch.testing.assert_close(coding.code(train), expected)
    assert Coding.from_json(coding.to_json()) == coding
    torch.testing.assert_close(coding.parse("dose=0.5,id=1,batch=7,sex=x")[0, :6], torch.tensor([0, 0, 1.0, 0, 1, 0]))
    assert coding.cycle(3) is None
    assert torch.equal(coding.parse("id=1, dose=0.5, batch=7, sex=x"), coding.parse("dose=0.5,id=1,batch=7,sex=x"))
    for of in (np.uint8, np.int64, np.float64, object):  # of whatever type labels come later
        assert coding.columns[1].code(np.array([7, 2], of)).argmax(1).tolist() == [1, 0]


def test_classes_with_commas_can_be_said() -> None:
    known = {"city": np.array(["Paris, TX", "Rome", "Paris"]), "age": np.array([0.5, 1.5, 2.5])}
    one, two = (Coding.of(names, known, known) for names in (("city",), ("city", "age")))
    for text in ("Paris, TX,Rome,Paris", "city=Paris, TX, city=Rome, city=Paris"):
        assert one.parse(text).argmax(1).tolist() == [1, 2, 0]
    assert torch.equal(two.parse("city=Paris, TX,age=1.5"), two.code({"city": ["Paris, TX"], "age": [1.5]}))
    with pytest.raises(InputError, match="city is 'TX'; expected one of Paris, Paris, TX, Rome"):
        one.parse("Rome,TX")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("a", np.array(["x", ""], object), r"condition a is missing for some samples \(''\); fill it in"),
        ("a", np.array([1.0, np.nan]), "condition a of sample 1 is nan; expected finite numbers"),
        ("a", np.array([2.0, 2.0]), "condition a is 2 for every training sample and says nothing; leave it out"),
        ("a", np.array(["x", "x"]), "condition a is 'x' for every sample and says nothing; leave it out"),
        ("a:number", np.array(["x", "y"]), r"condition a is no number \(\['x'\]\); expected numbers"),
        ("a", np.array([f"name {i}" for i in range(1001)]), "condition a has 1001 different values; expected at most"),
        ("a", np.zeros((2, 2)), r"condition a has shape \[2, 2\]; expected one value for each sample"),
    ],
)
def test_what_cannot_be_a_condition(name: str, values: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Coding.of((name,), {"a": values}, {"a": values})


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda c: c.parse("cat"), "labels is 'cat'; expected one of 0, 1, 2"),
        (lambda c: c.of_values([0, 7]), "labels is '7'; expected one of 0, 1, 2"),
        (lambda c: c.of_values({"other": [0]}), "the condition has no labels; expected labels"),
        (lambda c: c.of_values(np.zeros((2, 2))), r"the condition has labels \[2, 2\]; expected one value for each"),
    ],
)
def test_what_a_coding_does_not_know(give: object, message: str) -> None:
    labels = {"labels": np.array([0, 1, 2])}
    with pytest.raises(InputError, match=message):
        give(Coding.of(("labels",), labels, labels))  # type: ignore[operator]
    two = Coding.of(("labels", "age"), labels | {"age": np.array([0.5, 1.5, 2.0])}, labels | {"age": np.array([1.0])})
    for text in ("3", "labels=1", "labels=1,age=2,labels=0"):
        with pytest.raises(InputError, match=r"expected labels=…,age=…"):
            two.parse(text)
    with pytest.raises(InputError, match="expected values by name: labels, age"):
        two.of_values([1, 2])


def _numbered(path: Path, count: int = 23) -> Path:
    """Samples that say their number, with labels that are it modulo 5."""
    x = np.arange(count, dtype=np.float32)[:, None].repeat(2, 1)
    np.savez(path, x=x, labels=np.arange(count) % 5, dose=np.arange(count) / 2)
    return path


def _is_in_order(dataset: object, modulus: int = 5) -> bool:
    halves = zip((dataset.train, dataset.test), dataset.conditions, strict=True)  # type: ignore[attr-defined]
    return all(torch.equal(x[:, 0].long() % modulus, c[:, :modulus].argmax(1)) for x, c in halves)


def test_arrays_beside_the_data_of_an_npz(tmp_path: Path) -> None:
    source = f"{_numbered(tmp_path / 'toy.npz')}:x"
    data = load(source, condition="labels, dose", split_seed=3)
    assert _is_in_order(data)
    dose = torch.cat([half[:, 5] for half in data.conditions])
    assert torch.cat([data.train, data.test])[:, 0].argsort().equal(dose.argsort())
    assert data.digest != load(source, split_seed=3).digest
    assert data.digest != load(source, condition="labels", split_seed=3).digest
    again = load_whole(source, condition=data.coding)
    assert again.coding == data.coding
    torch.testing.assert_close(conditions_in_order(again), conditions_in_order(data))
    assert torch.equal(in_order(data)[:, 0] % 5, conditions_in_order(data)[:, :5].argmax(1))
    with pytest.raises(InputError, match="condition is 'nothing' but toy has no such labels; an .npz file has arrays"):
        load(source, condition="nothing")
    with pytest.raises(InputError, match="condition names 'labels' twice"):
        load(source, condition="labels,labels:classes")


def test_parts_of_an_npz_and_a_single_sample(tmp_path: Path) -> None:
    x, y = np.arange(8, dtype=np.float32)[:, None], np.arange(8) % 3
    np.savez(
        tmp_path / "parts.npz",
        x_train=x[:6],
        x_test=x[6:],
        age_train=y[:6],
        age_test=y[6:],
        y_train=y[:6],
        y_test=y[6:],
    )
    for name in ("labels", "age"):
        assert _is_in_order(load(tmp_path / "parts.npz", condition=name), 3)
    coding = load(tmp_path / "parts.npz", condition="labels").coding
    np.savez(tmp_path / "one.npz", x=x[7:], labels=y[7:])
    one = load_whole(f"{tmp_path / 'one.npz'}:x", condition=coding)
    assert conditions_in_order(one).tolist() == [[0, 1, 0]]


def test_columns_of_a_table_are_no_features(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    path = tmp_path / "people.csv"
    rows = [f"{i},{i},{'abcde'[i % 5]},{i / 2},{i % 2}" for i in range(23)]
    path.write_text("\n".join(["one,two,kind,dose,keep", *rows]))
    data = load(path, condition=["kind", "dose:number"], labels=["keep"])
    assert (data.shape, data.coding.size) == ((2,), 6)
    assert _is_in_order(data)
    assert list(data.labels) == ["keep"]
    assert load(path, condition="kind,dose,keep").labels is None
    assert load(path, condition="keep:number,kind", drop=["dose"]).shape == (2,)
    with pytest.raises(InputError, match="labels or condition names 'kidn', but"):
        load(path, condition="kidn")


def test_image_folders_and_idx_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pets"
    for number, kind in enumerate(["cat", "dog", "cat", "eel", "dog", "cat"]):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 20 * number).save(folder / kind / f"{number}.png")
    data = load(folder, condition="labels", test_fraction=0.4)
    known = {0: "cat", 1: "dog", 2: "cat", 3: "eel", 4: "dog", 5: "cat"}
    for x, c in zip((data.train, data.test), data.conditions, strict=True):
        expected = [["cat", "dog", "eel"].index(known[int(one) // 20]) for one in x[:, 0, 0, 0]]
        assert c.argmax(1).tolist() == expected
    for number in range(3):
        Image.new("L", (4, 4), number).save(folder / f"{number}.png")
    with pytest.raises(InputError, match="do not lie in a folder for each class; expected FOLDER/CLASS/…"):
        load(folder, condition="labels")

    idx = tmp_path / "idx"
    idx.mkdir()
    for stem, count in (("train", 5), ("t10k", 3)):
        pixels = np.arange(count, dtype=np.uint8).repeat(4).tobytes()
        (idx / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, 2, 2) + pixels)
        labels = struct.pack(">2I", 0x801, count) + bytes(i % 3 for i in range(count))
        (idx / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    data = load(idx, condition="labels")  # packed, as the images are not
    assert [c.argmax(1).tolist() for c in data.conditions] == [[0, 1, 2, 0, 1], [0, 1, 2]]
    (idx / "t10k-labels-idx1-ubyte").write_bytes(b"\0" * 9)
    with pytest.raises(InputError, match="has no such labels"):
        load(idx, condition="labels")
    assert "t10k-labels-idx1-ubyte' is no whole IDX file of labels" in capsys.readouterr().err


def test_labels_of_parts_go_with_those_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The labels of the two halves exchanged are as many in all."""
    for stem, count in (("train", 5), ("t10k", 3)):
        pixels = np.arange(count, dtype=np.uint8).repeat(4).tobytes()
        (tmp_path / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, 2, 2) + pixels)
        labels = struct.pack(">2I", 0x801, 8 - count) + bytes(i % 3 for i in range(8 - count))
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(labels)
    x = np.arange(16.0).reshape(8, 2)
    path = tmp_path / "parts.npz"
    np.savez(path, x_train=x[:5], x_test=x[5:], y_train=np.arange(3), y_test=np.arange(5))
    for source in (tmp_path, path):
        with pytest.raises(InputError, match="has no such labels"):
            load(source, condition="labels")
        assert "are left out: their shapes are not one label for each of 5 and 3 samples" in capsys.readouterr().err
    np.savez(path, x_train=x[:5], x_test=x[5:], y=np.arange(8) % 2)
    assert [c.argmax(1).tolist() for c in load(path, condition="labels").conditions] == [[0, 1, 0, 1, 0], [1, 0, 1]]


def test_labels_of_one_part_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "parts.npz"
    x, known = np.arange(32.0).reshape(16, 2), {"y_train": np.arange(11) % 3, "y_test": np.arange(5) % 2}
    np.savez(path, x_train=x[:11], x_test=x[11:], age_train=np.arange(11), age_test=np.arange(5) % 4, **known)
    for part, count in (("train", 11), ("test", 5)):
        data = load(f"{path}:x_{part}", condition="labels", test_fraction=0.2)
        for half, c in zip((data.train, data.test), data.conditions, strict=True):
            rows = (half[:, 0] / 2).long() - (0 if part == "train" else 11)
            assert c.argmax(1).tolist() == known[f"y_{part}"][rows.numpy()].tolist()
        assert load(f"{path}:x_{part}", condition="age").coding.size == (count if part == "train" else 4)
    np.savez(path, x_train=x[:11], y_train=known["y_train"])
    assert labels_of(f"{path}:x_train", load(f"{path}:x_train")).tolist() == known["y_train"].tolist()


def test_a_set_of_a_name_has_no_labels_of_a_folder_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in "ab":
        (tmp_path / "sprites" / kind).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "sprites" / kind / "0.png")
    zeros = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert beside(DataSet("sprites", zeros, zeros, {"kind": "standard"}), "sprites") == {}


def test_a_class_of_one_image_at_the_end_is_a_condition(tmp_path: Path) -> None:
    for number, kind in enumerate("aab"):
        (tmp_path / kind).mkdir(exist_ok=True)
        Image.new("L", (4, 4), number).save(tmp_path / kind / f"{number}.png")
    assert load_whole(tmp_path, condition="labels").coding.columns[0].classes == ("a", "b")


class Rows(Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 23

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return {"image": torch.full((2,), float(number)), "label": torch.tensor(number % 5)}


X, Y = torch.arange(23.0)[:, None].repeat(1, 2), torch.arange(23) % 5


class Collated:
    """A batch with parts that is no mapping."""

    def __init__(self, entries: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.entries = entries

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.stack([entry[name == "label"] for entry in self.entries])


GIVEN = {
    "array": lambda: as_dataset(X, condition=Y),
    "numpy": lambda: as_dataset(X.numpy(), 0.3, condition=Y.numpy()),
    "tuple": lambda: as_dataset((X, Y), condition=1),
    "mapping": lambda: as_dataset({"x": X, "y": Y}, take=lambda batch: batch["x"], condition="y"),
    "tensors": lambda: as_dataset(TensorDataset(X, Y), condition=1),
    "loader": lambda: as_dataset(DataLoader(TensorDataset(X, Y)), condition=lambda batch: batch[1]),
    "rows": lambda: as_dataset(Rows(), take=lambda batch: batch["image"], condition="label"),
    "parts by name": lambda: as_dataset(Rows(), take="image", condition="label"),
    "parts by number": lambda: as_dataset((Y, X), take=1, condition=0),
    "tensors by number": lambda: as_dataset(DataLoader(TensorDataset(Y, X)), take=1, condition=0),
    "parts of a class": lambda: as_dataset(
        DataLoader(TensorDataset(X, Y), collate_fn=Collated), take="image", condition="label"
    ),
    "validation": lambda: as_dataset(TensorDataset(X, Y), TensorDataset(X[:4], Y[:4]), condition=1),
}


@pytest.mark.parametrize("make", GIVEN.values(), ids=GIVEN.keys())
def test_what_a_program_hands_over_stays_in_order(make: object) -> None:
    data = make()  # type: ignore[operator]
    assert data.conditional
    for half in (data.half(), data.half(test=True)):
        batch = half[torch.tensor([2, 0, 3] if len(half) > 3 else [1, 0])]
        assert batch.c.dtype == torch.int64
        assert torch.equal(batch.x[:, 0].long() % 5, batch.c)
    for batch in Batches(data.half(), 4, seed=1, steps=12):
        assert isinstance(batch, Batch)
        assert torch.equal(batch.x[:, 0].long() % 5, batch.c)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: as_dataset(X, condition=Y[:5]), r"the condition has shape \(5,\) for 23 samples; expected a row for"),
        (lambda: as_dataset(X, condition=["a"] * 23), "the condition holds <U1 values; expected numbers: code classes"),
        (lambda: as_dataset(X, condition=torch.full((23,), torch.nan)), "holds NaN or infinity; expected finite"),
        (lambda: as_dataset((X, Y), condition=2), "condition failed on a batch, a tuple of 2: IndexError"),
        (lambda: as_dataset(X, X[:3], condition=Y), "condition is an array and validation has samples of its own"),
        (lambda: as_dataset(X, condition=1), "data is one array, which has no part for the condition"),
        (lambda: as_dataset(as_dataset(X, condition=Y), X[:3]), "validation has samples of its own, whose conditions"),
        (lambda: as_dataset(as_dataset(X), condition=1), r"condition is given for a curvae.data.Dataset; make it with"),
        (
            lambda: as_dataset(Rows(), take=lambda b: b["image"], condition="y"),
            "condition failed on a batch, a dict with 'image', 'label'",
        ),
    ],
)
def test_conditions_that_cannot_be_used(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_a_data_frame_is_values_by_name() -> None:
    pandas = pytest.importorskip("pandas")
    coding = Coding((Column("sex", ("f", "m")), Column("batch", ("0", "1"))))
    frame = pandas.DataFrame({"batch": [0, 1], "sex": ["m", "f"]})
    expected = coding.of_values({"sex": ["m", "f"], "batch": [0, 1]})
    assert torch.equal(coding.of_values(frame), expected)
    assert torch.equal(expected, torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, 1]]))


def test_a_column_of_text_stays_text_where_a_file_has_digits_alone(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    rows = [f"{number},{name},{number % 2}\n" for number, name in enumerate(["01", "1", "x"] * 4)]
    whole.write_text("a,plate,batch\n" + "".join(rows))
    part.write_text("a,plate,batch\n" + "".join(row for row in rows if "x" not in row))
    coding = load(whole, condition=("plate", "batch")).coding
    assert coding is not None
    assert coding.texts == ("plate",)
    found = load_whole(part, condition=coding)
    expected = {"plate": ["01", "1"] * 4, "batch": [int(number) % 2 for number in in_order(found)[:, 0]]}
    assert torch.equal(conditions_in_order(found), coding.code(expected))


def test_a_long_column_has_one_type(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    row = "0," * 127  # pandas looks at 2^20 cells at a time
    (tmp_path / "x.csv").write_text(",".join(f"c{i}" for i in range(127)) + ",g\n" + f"{row}01\n" * 9000 + f"{row}x\n")
    assert set(load_whole(tmp_path / "x.csv", labels=["g"]).labels["g"][0]) == {"01"}


def test_classes_that_were_read_with_spaces_are_found_without() -> None:
    """As a run has them that was trained before these were taken off tables."""
    coding = Coding((Column("sex", (" f", " m")),))
    assert coding.parse("m, f").argmax(1).tolist() == [1, 0]
    assert coding.code({"sex": [" m", "f"]}).argmax(1).tolist() == [1, 0]
