"""Run folders."""

import errno
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curvae.data import load
from curvae.errors import InputError
from curvae.metrics import Evaluation, evaluate
from curvae.runs import Run, build_likelihood, build_structure, evaluated
from curvae.runs.folder import check_free
from curvae.runs.taking import TakenError


@pytest.fixture
def copy(finished: Run, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(finished.path, tmp_path / "copy"))


def test_opens_as_it_was_created(finished: Run) -> None:
    assert Run.open(finished.path) == finished
    assert Run.open(str(finished.path)).config == finished.config


def test_config_tells_the_provenance(finished: Run) -> None:
    document = json.loads((finished.path / "config.json").read_text())
    data = load(finished.config.data)
    assert document["data"]["digest"] == data.digest
    assert document["data"]["split"] == data.split
    assert document["data"]["shape"] == [6]
    assert (document["data"]["train"], document["data"]["test"]) == (54, 6)
    assert document["environment"]["torch"] == torch.__version__
    assert document["environment"]["device"].startswith("cpu")


def test_dataset_is_the_runs_own_split(finished: Run) -> None:
    dataset = finished.dataset()
    assert torch.equal(dataset.test, load(finished.config.data).test)


def test_changed_data_are_noticed(copy: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.npy"
    np.save(path, np.ones((60, 6), np.float32))
    document = json.loads((copy.path / "config.json").read_text())
    document["config"]["data"] = str(path)
    (copy.path / "config.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="has changed since"):
        Run.open(copy.path).dataset()


def test_unfinished_run_has_no_model(copy: Run) -> None:
    (copy.path / "model.json").unlink()
    with pytest.raises(InputError, match="curvae train --resume --out"):
        copy.model()


def test_evaluation_is_kept(copy: Run) -> None:
    assert copy.evaluation is None
    found = evaluate(
        copy.model(),
        copy.dataset().test,
        copy.config.beta,
        build_likelihood(copy.config.likelihood),
        build_structure(copy.config.structure),
        generator=torch.Generator(),
    )
    copy.save_evaluation(found)
    kept = Run.open(copy.path).evaluation
    assert kept == found
    assert kept is not None
    assert kept.examples is not None
    assert found.examples is not None
    np.testing.assert_allclose(kept.examples.implied, found.examples.implied, rtol=1e-6)
    assert kept.examples.x.shape == (4, 6)


@pytest.mark.parametrize("name", ["evaluation.json", "evaluation.npz"])
def test_damaged_evaluation(name: str, copy: Run) -> None:
    test_evaluation_is_kept(copy)
    (copy.path / name).write_bytes((copy.path / name).read_bytes()[:50])
    with pytest.raises(InputError, match=rf"{name}.*run curvae evaluate again"):
        _ = copy.evaluation


@pytest.mark.parametrize("write", ["write_bytes", "write_text"])  # of the arrays, and of the numbers
def test_an_evaluation_that_finds_no_room_leaves_the_earlier_one(
    write: str, copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_evaluation_is_kept(copy)
    earlier = copy.evaluation
    assert earlier is not None
    assert earlier.examples is not None
    other = replace(earlier, beta=0.7, examples=replace(earlier.examples, x=earlier.examples.x + 1))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, write, refuse)
        with pytest.raises(OSError, match="No space"):
            copy.save_evaluation(other)
    kept = copy.evaluation
    assert kept == earlier
    assert kept is not None
    assert kept.examples is not None
    np.testing.assert_array_equal(kept.examples.x, earlier.examples.x)


def test_an_evaluation_without_examples_has_none_of_an_earlier_one(copy: Run) -> None:
    test_evaluation_is_kept(copy)
    assert copy.evaluation is not None
    copy.save_evaluation(replace(copy.evaluation, examples=None))
    kept = copy.evaluation
    assert kept is not None
    assert kept.examples is None


def test_evaluations_and_readers_at_one_time_see_no_mixture(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    test_evaluation_is_kept(copy)
    earlier = copy.evaluation
    assert earlier is not None
    assert earlier.examples is not None
    other = replace(earlier, beta=0.7, examples=replace(earlier.examples, x=earlier.examples.x + 1))
    read, write, threads = list[Evaluation | None](), evaluated.write_document, list[threading.Thread]()

    def then_others(*arguments: Any) -> None:
        write(*arguments)
        if not threads:  # between the two files of the first
            for work in (lambda: read.append(copy.evaluation), lambda: copy.save_evaluation(other)):
                threads.append(threading.Thread(target=work))
                threads[-1].start()
            time.sleep(0.2)

    monkeypatch.setattr(evaluated, "write_document", then_others)
    copy.save_evaluation(replace(earlier, beta=0.5))
    for thread in threads:
        thread.join()
    assert next(found.beta for found in read if found is not None) in (0.5, 0.7)
    kept = copy.evaluation
    assert kept is not None
    assert kept.examples is not None
    assert kept.beta == 0.7
    np.testing.assert_array_equal(kept.examples.x, other.examples.x)


@pytest.mark.parametrize("what", ["lengthened", "under way", "gone"])
def test_an_evaluation_of_an_earlier_model_is_not_kept(what: str, copy: Run) -> None:
    test_evaluation_is_kept(copy)
    found = copy.evaluation
    assert found is not None
    (copy.path / "evaluation.json").unlink()
    if what == "lengthened":
        copy.changed(replace(copy.config, steps=copy.config.steps + 1), copy.config.steps, torch.device("cpu"))
    elif what == "under way":
        (copy.path / "model.json").unlink()
    else:
        shutil.rmtree(copy.path)
    with pytest.raises(InputError, match="is not a folder" if what == "gone" else "trained on after it was opened"):
        copy.save_evaluation(found)
    assert not (copy.path / "evaluation.json").exists()
    assert copy.path.exists() == (what != "gone")


def test_evaluation_with_a_value_missing(copy: Run) -> None:
    test_evaluation_is_kept(copy)
    path = copy.path / "evaluation.json"
    document = json.loads(path.read_text())
    del document["evaluation"]["taylor"]
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="damaged at 'taylor'"):
        _ = copy.evaluation


def test_metrics_are_the_lines(finished: Run) -> None:
    assert [line["step"] for line in finished.metrics] == [5, 10]


@pytest.mark.parametrize("line", ["{", "[1]", '{"total": 1}', '{"step": "x"}', "\x00\x01"])
def test_damaged_metrics(line: str, copy: Run) -> None:
    path = copy.path / "metrics.jsonl"
    path.write_text(line + "\n" + path.read_text())
    with pytest.raises(InputError, match=r"line 1 of .*metrics\.jsonl"):
        _ = copy.metrics


def test_create_refuses_a_folder_in_use(finished: Run, tmp_path: Path) -> None:
    dataset = finished.dataset()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for path, message in ((finished.path, "already holds a run"), (tmp_path / "file", "is a file")):
        with pytest.raises(InputError, match=message):
            Run.create(path, finished.config, dataset, torch.device("cpu"))
    with pytest.raises(InputError, match="is not empty"):
        Run.create(tmp_path / "full", finished.config, dataset, torch.device("cpu"))
    assert (tmp_path / "full" / "file").read_text() == "mine"


def test_a_run_that_begins_while_its_folder_is_tried_is_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".config-0a1b2c3d.part.json").mkdir()
    listed = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        found = list(listed(path))
        with suppress(FileNotFoundError):
            (tmp_path / ".config-0a1b2c3d.part.json").rmdir()
        (tmp_path / "config.json").touch()  # another process, after the listing
        return iter(found)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(TakenError, match="already holds a run"):
        check_free(tmp_path)


def test_create_in_an_empty_folder(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = replace(finished.config, seed=3)
    Run.create(tmp_path / "empty", config, finished.dataset(), torch.device("cpu"))
    assert Run.open(tmp_path / "empty").config.seed == 3


def test_a_name_that_is_not_utf8_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not UTF-8"):
        check_free(tmp_path / "r\udcff")
