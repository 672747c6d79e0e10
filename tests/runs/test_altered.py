"""Every field of what a run folder holds, altered in every way: an ``InputError`` of one line, or no effect."""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from curvae.errors import InputError
from curvae.metrics import evaluate
from curvae.report.losses import term_series
from curvae.runs import Run, build_likelihood, build_structure, load_model
from curvae.runs.build import network_of

GONE = object()
ALTERED: list[Any] = [
    GONE,
    None,
    True,
    "x" * 100_000,
    "\ud800",
    -1,
    2.5,
    10**400,
    float("nan"),
    float("inf"),
    [[1]],
    {"a": {"b": []}},
]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the fields of a document are, objects and lists themselves too."""
    if place:
        yield place
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, (*place, key))


def altered(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    *path, last = place
    inner = changed
    for key in path:
        inner = inner[key]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return changed


def model(run: Path) -> Any:
    """What must not change without a word; where the data lie may, and a network may be left to their shape."""
    opened = Run.open(run)
    shape = tuple(opened.data["shape"])
    config = replace(opened.config, network=network_of(opened.config, shape)).to_json()
    config = {name: value for name, value in config.items() if name not in ("data", "device")}
    return config, [weight.tolist() for weight in opened.model().state_dict().values()]


READ: dict[str, Callable[[Path], Any]] = {
    "config.json": model,
    "model.json": model,
    "evaluation.json": lambda run: Run.open(run).evaluation,
    "metrics.jsonl": lambda run: term_series(Run.open(run)),
}


def tried(read: Callable[[Path], Any], run: Path) -> tuple[Any, str | None]:
    """What was read, or the message that refuses it."""
    try:
        return read(run), None
    except InputError as error:
        return None, str(error)


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Path:
    opened = Run.open(shutil.copytree(finished.path, tmp_path / "run"))
    structure, likelihood = build_structure(opened.config.structure), build_likelihood(opened.config.likelihood)
    data, draws = opened.dataset().test, torch.Generator()
    opened.save_evaluation(evaluate(opened.model(), data, opened.config.beta, likelihood, structure, generator=draws))
    return opened.changed(opened.config, 10, torch.device("cpu")).path


@pytest.mark.cases(1)
@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize("name", ["config.json", "model.json", "evaluation.json", "metrics.jsonl"])
@pytest.mark.parametrize("third", range(3))
def test_altered_fields(name: str, third: int, run: Path) -> None:
    before, path = READ[name](run), run / name
    text = path.read_text()
    lines = name.endswith("l")
    document = [json.loads(text.splitlines()[0])] if lines else json.loads(text)
    refused = 0
    for place in list(places(document))[third::3]:
        if "test_indices" in place or (place[:1] == ("evaluation",) and len(place) > 2 and place[1] != "taylor"):
            continue  # nobody reads the one, and the others are like this one
        for value in ALTERED:
            changed = altered(document, place, value)
            path.write_text("".join(json.dumps(line) + "\n" for line in changed) if lines else json.dumps(changed))
            after, message = tried(READ[name], run)
            refused += message is not None
            assert message is None or ("\n" not in message and len(message) < 900), (place, value)
            assert message is not None or READ[name] is not model or after == before, (place, value)
    assert refused > 15


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"step": ' + "9" * 5000 + "}", "NaN", "\x00", '"\\ud800"'],
    ids=["lists", "objects", "digits", "a step of digits", "nan", "null byte", "half a pair"],
)
def test_texts_that_break_readers(text: str, run: Path) -> None:
    for name in ("config.json", "model.json", "evaluation.json", "metrics.jsonl"):
        before = (run / name).read_bytes()
        (run / name).write_text(text + "\n")
        with pytest.raises(InputError, match=name):
            READ[name](run)
        (run / name).write_bytes(before)


def test_what_is_no_file_does_not_hang(run: Path) -> None:
    others = {"model.safetensors": model, "evaluation.npz": READ["evaluation.json"]}
    for name, read in {**READ, **others}.items():
        before = (run / name).read_bytes()
        for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir):
            (run / name).unlink()
            make(run / name)
            with pytest.raises(InputError, match=name):
                read(run)
            (run / name).rmdir() if make is Path.mkdir else (run / name).unlink()
            (run / name).write_bytes(before)


def describe_anew(run: Path, **changes: Any) -> None:
    """Make ``model.json`` fit the weights again, as somebody would who alters both."""
    document = json.loads((run / "model.json").read_text())
    digest = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    (run / "model.json").write_text(json.dumps({**document, "sha256": digest, **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.update({"mean_head.bias": torch.full((3,), float("nan"))}), "not finite"),
        (lambda tensors: tensors.update({"mean_head.bias": torch.ones(3, dtype=torch.float64)}), "is float64"),
        (lambda tensors: tensors.update({"mean_head.bias": torch.ones(3, 1)}), r"is float32 \[3, 1\]"),
        (lambda tensors: tensors.update(extra=torch.ones(1)), "'extra' unknown"),
        (lambda tensors: tensors.pop("mean_head.bias"), "'mean_head.bias' missing"),
    ],
)
def test_weights_that_are_not_the_models(change: Any, message: str, run: Path) -> None:
    tensors = load_file(run / "model.safetensors")
    change(tensors)
    save_file(tensors, run / "model.safetensors")
    describe_anew(run)
    with pytest.raises(InputError, match=message):
        load_model(run)


def test_sizes_beyond_memory_are_not_tried(run: Path) -> None:
    config = Run.open(run).config.to_json()
    for changes in ({"shape": [10**12]}, {"shape": [2**62, 8]}, {"config": config | {"width": 1e9}}):
        describe_anew(run, **changes)
        with pytest.raises(InputError, match=r"does not fit the model|billion weights|expected at most"):
            load_model(run)
