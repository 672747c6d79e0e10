"""A start that was killed at any of its writes, two starts at once, and a disk that is full."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from curvae.errors import InputError
from curvae.files import leftovers
from curvae.metrics import evaluate
from curvae.runs import Run, RunConfig, build_likelihood, build_structure
from curvae.training import TrainingError, train
from curvae.training.checkpoint import Checkpoint

Configure = Callable[..., RunConfig]
SHORT = {"steps": 4, "checkpoint_every": 2, "log_every": 2}


class Killed(BaseException):
    """Leaves everything as a process does that is killed."""


@contextmanager
def killed_at(number: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Die before or after the renaming of the ``number``-th file that is written; gives the files written."""
    written: list[Path] = []
    replace = Path.replace

    def counted(self: Path, target: Path) -> Path:
        written.append(target)
        if after or len(written) != number:
            replace(self, target)
        if len(written) == number:
            monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
            raise Killed
        return target

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", counted)
        yield written
    monkeypatch.undo()


def start(config: RunConfig, out: Path) -> Run:
    return train(config, out, resume=(out / "config.json").exists()).run


def same_weights(left: Run, right: Run) -> None:
    torch.testing.assert_close(left.model().state_dict(), right.model().state_dict(), rtol=0, atol=0)


def remains(run: Path) -> list[str]:
    return [str(path.relative_to(run)) for path in run.rglob(".*") if path.name != ".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_at_any_write_and_started_again(
    after: bool, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(**SHORT)
    with killed_at(0, after, monkeypatch) as written:
        whole = train(config, tmp_path / "whole").run
    names = [path.name for path in written]
    assert names == ["config.json", "last.ckpt", "last.ckpt", "model.safetensors", "model.json"]
    for number in range(1, len(names) + 1):
        out = tmp_path / f"killed-{number}"
        with killed_at(number, after, monkeypatch), pytest.raises(Killed):
            train(config, out)
        assert after or remains(out)
        again = start(config, out)
        same_weights(again, whole)
        assert remains(out) == []
        assert [line["step"] for line in again.metrics] == [2, 4]


@pytest.mark.slow
@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.slow), True])
def test_killed_while_it_is_lengthened(
    after: bool, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, longer = configure(**SHORT), configure(**SHORT | {"steps": 6})
    whole = train(longer, tmp_path / "whole").run
    for number in (1, 2, 3, 4):  # the two files of the shorter model set aside, config.json, last.ckpt
        out = tmp_path / f"killed-{number}"
        train(config, out)
        with killed_at(number, after, monkeypatch), pytest.raises(Killed):
            train(longer, out, resume=True)
        assert Run.open(out).config.steps == (6 if (number, after) >= (3, True) else 4)
        if number < 3:
            assert Run.open(out).finished
            Run.open(out).model()
        again = train(longer, out, resume=True).run
        same_weights(again, whole)
        assert remains(out) == []


def measured(run: Run, seed: int, examples: int = 4) -> None:
    structure, likelihood = build_structure(run.config.structure), build_likelihood(run.config.likelihood)
    draws = torch.Generator().manual_seed(seed)
    found = evaluate(
        run.model(), run.dataset().test, seed + 0.5, likelihood, structure, generator=draws, examples=examples
    )
    run.save_evaluation(found)


def test_killed_between_the_two_files_of_an_evaluation(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(configure(**SHORT), tmp_path / "run").run
    measured(run, 0)
    for number, after in ((1, False), (1, True), (2, False)):
        with killed_at(number, after, monkeypatch), pytest.raises(Killed):
            measured(run, 1)
        if (number, after) == (1, False):
            assert run.evaluation is not None
            assert run.evaluation.beta == 0.5
        else:
            with pytest.raises(InputError, match=r"evaluation\.npz .*to another evaluation"):
                _ = run.evaluation
        measured(run, 0)
        assert remains(run.path) == []
    with killed_at(1, True, monkeypatch), pytest.raises(Killed):
        measured(run, 1, examples=0)
    assert (run.path / "evaluation.npz").exists()
    assert run.evaluation is not None
    assert run.evaluation.beta == 1.5
    assert run.evaluation.examples is None


def test_a_folder_killed_before_its_configuration_is_taken_and_others_are_not(
    configure: Configure, tmp_path: Path
) -> None:
    config, out = configure(**SHORT), tmp_path / "run"
    out.mkdir()
    for name in (".lock", ".config-0a1b2c3d.json", ".config-0a1b2c3d.part.json"):
        (out / name).write_text("")
    with pytest.raises(InputError, match="holds no run"):
        train(config, out, resume=True)
    assert train(config, out).finished
    assert remains(out) == []
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / ".config-of-mine.yaml").write_text("")
    with pytest.raises(InputError, match="is not empty"):
        train(config, mine)


def test_a_folder_that_another_start_holds_is_left_alone(configure: Configure, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    with FileLock(out / ".lock"), pytest.raises(InputError, match="being trained by another process"):
        train(configure(**SHORT), out)
    assert [path.name for path in out.iterdir()] == [".lock"]


RACE = """
import sys, time
from pathlib import Path
import torch
from curvae.data import load
from curvae.errors import InputError
from curvae.runs import Run, RunConfig
from curvae.runs.taking import locked
folder, data, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config, dataset = RunConfig(data=data, network="mlp", seed=seed), load(data)
(folder / f"ready{seed}").touch()
for turn in range(25):
    out = folder / str(turn)
    while not all((folder / f"ready{other}").exists() for other in (0, 1)) or time.time() % 0.02 > 0.001:
        pass
    try:
        with locked(out):
            Run.create(out, config, dataset, torch.device("cpu"))
            (out / f"weights-{seed}").touch()
    except InputError:
        pass
"""


@pytest.mark.slow
def test_two_starts_at_once_leave_one_run(configure: Configure, tmp_path: Path) -> None:
    data = configure().data
    program = [sys.executable, "-c", RACE, str(tmp_path), data]
    both = [subprocess.Popen([*program, str(seed)]) for seed in (0, 1)]
    assert [process.wait() for process in both] == [0, 0]
    for turn in range(25):
        (weights,) = (tmp_path / str(turn)).glob("weights-*")
        assert weights.name == f"weights-{Run.open(tmp_path / str(turn)).config.seed}"


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_at_a_checkpoint(configure: Configure, tmp_path: Path) -> None:
    """The checkpoint is the only file that grows beyond what is allowed."""
    out = tmp_path / "run"
    train(configure(**SHORT), out)
    size = (out / "checkpoints" / "last.ckpt").stat().st_size
    with no_file_larger_than(size // 2), pytest.raises(TrainingError) as caught:
        train(configure(**SHORT | {"steps": 6}), out, resume=True)
    message = str(caught.value)
    assert "cannot be written: File too large" in message
    assert message.endswith("last.ckpt keeps step 4")
    assert "\n" not in message
    assert Checkpoint.load(out / "checkpoints" / "last.ckpt").step == 4
    assert leftovers(out / "checkpoints" / "last.ckpt") == []
    assert train(configure(**SHORT | {"steps": 6}), out, resume=True).finished


@pytest.mark.parametrize("name", ["append_line", "save_model"])
def test_a_disk_that_is_full_elsewhere(
    name: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "x")

    module = {"append_line": "callbacks", "save_model": "engine"}[name]
    config = configure(**SHORT)
    with monkeypatch.context() as patched:
        patched.setattr(f"curvae.training.{module}.{name}", full)
        with pytest.raises(TrainingError, match="cannot be written: No space left on device"):
            train(config, tmp_path / "run")
    assert train(config, tmp_path / "run", resume=True).finished


def test_evaluations_name_their_examples(configure: Configure, tmp_path: Path) -> None:
    run = train(configure(**SHORT), tmp_path / "run").run
    measured(run, 0)
    path = run.path / "evaluation.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"examples_sha256": "0" * 64}))
    with pytest.raises(InputError, match="run curvae evaluate again"):
        _ = run.evaluation
    del document["examples_sha256"]  # as before there were digests
    path.write_text(json.dumps(document))
    assert run.evaluation is not None
