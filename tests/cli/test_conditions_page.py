"""docs/conditions.md, by the commands and lines of the page; and what the commands refuse."""

import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvae.runs import Run

Curvae = Callable[..., Any]
PAGE = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```py title="(\S+)"\n(.*?)^```$', PAGE, flags=re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
CODE = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
SHORT = {
    "train": ["--steps", "3", "--batch-size", "16", "--checkpoint-every", "2", "--log-every", "1", "--device", "cpu"],
    "evaluate": ["--limit", "10"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def _commands(block: str, curvae: Curvae) -> None:
    for words in map(shlex.split, block.strip().splitlines()):
        if words[0] == "python":
            runpy.run_path(words[1])
            with np.load("digits.npz") as found:
                few = {name: array[:120] for name, array in found.items()}
            np.savez("digits.npz", **few)
            continue
        name, command, *rest = words
        assert name == "curvae"
        if "--steps" in rest:
            at = rest.index("--steps")
            rest = [*rest[:at], *rest[at + 2 :]]
        answer = curvae(command, *rest, *SHORT.get(command, []))
        assert answer.code == 0, (words, answer.stderr)
        if command == "train":
            assert "the networks are told labels (10 classes: 0, 1, 2, 3, 4, 5, …)" in answer.stderr


def test_the_page_is_right_and_data_stay_in_order(place: Path, curvae: Curvae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for block in BLOCKS:
        _commands(block, curvae)
    run = Run.open("runs/digits")
    with np.load("digits.npz") as found:
        x, labels = found["images"], found["labels"]
    assert curvae("encode", "runs/digits", "--out", "all.npz").code == 0
    assert curvae("encode", "runs/digits", "--out", "test.npz", "--part", "test").code == 0
    expected = run.encode(x, condition=labels).mean
    places = run.data["split"]["test_indices"]
    for out, which in (("all.npz", slice(None)), ("test.npz", places)):
        with np.load(out) as codes:
            np.testing.assert_allclose(codes["mean"], expected[which], rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(codes["labels"], labels[which])
    assert curvae("reconstruct", "runs/digits", "--out", "as3.npy", "--condition-value", "3").code == 0
    np.testing.assert_allclose(np.load("as3.npy")[:, 0], run.reconstruct(x, condition=3), rtol=1e-4, atol=1e-6)
    assert curvae("sample", "runs/digits", "-n", "4", "--out", "s.npy", "--condition-value", "3,7").code == 0
    np.testing.assert_allclose(np.load("s.npy"), run.sample(4, condition=[3, 7, 3, 7]), rtol=1e-5)
    assert curvae("interpolate", "runs/digits", "--out", "w.npy", "--pairs", "0:1", "--steps", "3").code == 0
    ways = run.interpolate(x[:1], x[1:2], 3, condition=(labels[:1], labels[1:2]))
    np.testing.assert_allclose(np.load("w.npy")[:, :, 0], ways, rtol=1e-4, atol=1e-6)
    _refusals(curvae)


def _refusals(curvae: Curvae) -> None:
    plain = ["train", "--data", "digits.npz:images", "--network", "linear", "--latents", "2", *SHORT["train"]]
    own = ["train", "--model", "residual.py:build", "--data", "digits.npz:images", *SHORT["train"]]
    assert curvae(*plain, "--out", "runs/plain").code == 0
    for words, message in (
        (
            ["sample", "runs/digits", "--condition-value", "cat"],
            "--condition-value: labels is 'cat'; expected one of 0",
        ),
        (
            ["sample", "runs/plain", "--condition-value", "1"],
            "--condition-value is given but runs/plain has no conditio",
        ),
        (["encode", "runs/digits", "--out", "n.npz", "--condition-value", "1,2"], "expected one condition for all"),
        (
            ["traverse", "runs/digits", "--out", "n.npz"],
            "runs/digits is conditional: give the conditions with --co",
        ),
        (["interpolate", "runs/digits", "--out", "n.npz", "--geodesic"], "the ends of a geodesic have different cond"),
        (["inspect", "runs/digits"], "the model is conditional; say with --condition-value at which one"),
        ([*plain, "--condition", "colour", "--out", "runs/n"], "condition is 'colour' but digits has no such labels"),
        ([*plain, "--condition", "labels,labels", "--out", "runs/n"], "condition names 'labels' twice"),
        (
            [*own, "--condition", "labels", "--out", "runs/n"],
            "the data have conditions but the model takes none",
        ),
    ):
        if "residual.py:build" in words:
            Path("residual.py").write_text(
                "from torch import nn\nfrom curvae import Autoencoder\n"
                "def build(shape):\n    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))\n"
                "    return Autoencoder(flat, nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, shape)), 2)\n"
            )
        answer = curvae(*words)
        assert answer.code == 2, (words, answer.stderr)
        assert message in answer.stderr.replace("\n", " "), (words, answer.stderr)
    assert not Path("n.npz").exists()
    assert not Path("runs/n").exists()


def test_the_lines_of_python_are_right() -> None:
    names: dict[str, Any] = {}
    for block in CODE:
        exec(block, names)
    assert names["objective"](names["plain"], names["x"]).total.shape == (90,)
