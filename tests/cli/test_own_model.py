"""A model of one's own on the command line: trained like curvae's, and no code is run because a file names it."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import curvae as package
from curvae.errors import InputError
from curvae.runs import Run, RunConfig, load_model
from curvae.runs.builder import find_builder
from curvae.training import train
from curvae.training.noise import step_generator

Curvae = Callable[..., Any]
SMALL = ("--batch-size", "8", "--checkpoint-every", "2", "--log-every", "1", "--lr", "0.01")

# what --network mlp --width 0.02 is
SAME = """
from torch import nn
from curvae import Autoencoder
from curvae.nn import MLPDecoder, MLPEncoder


def build(shape, latents: int, structure, hidden: tuple[int, ...] = (10, 5)):
    decoder = MLPDecoder(latents, shape, list(hidden)[::-1])  # before the encoder, as curvae's: they draw in turn
    return Autoencoder(MLPEncoder(shape, list(hidden)), decoder, latents, structure)


def bare(shape):
    return Autoencoder(nn.Linear(*shape, 3), nn.Linear(3, *shape), latents=3)


def posterior(shape):
    from curvae.posteriors import Full
    return Autoencoder(nn.Linear(*shape, 9), nn.Linear(3, *shape), 3, Full())
"""


@pytest.fixture
def same(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(SAME)
    return f"{tmp_path / 'net.py'}:build"


OBJECTIVES = [
    "--objective beta-vae --structure full",
    "--objective taylor --structure block:2",
    "--objective grae --structure banded:1 --precision 64",
    "--objective grae --estimator columns:1 --likelihood gaussian:learned",
    "--objective rae --estimator trace:1 --seed 3",
]


@pytest.mark.cases(2)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_network_trains_to_the_same_weights(
    objective: str, curvae: Curvae, vectors: Path, same: str, tmp_path: Path
) -> None:
    options = ("--data", vectors, "--latents", "3", "--steps", "4", *SMALL, *objective.split())
    assert curvae("train", "--out", tmp_path / "own", "--model", same, *options).code == 0
    assert curvae("train", "--out", tmp_path / "mlp", "--network", "mlp", "--width", "0.02", *options).code == 0
    mine, theirs = (Run.open(tmp_path / name) for name in ("own", "mlp"))
    own, built = mine.model(trust=True).state_dict(), theirs.model().state_dict()
    assert own.keys() == built.keys()
    assert all(torch.equal(own[name], built[name]) for name in own)
    assert mine.config.differences(theirs.config) == ["model", "width"]
    measured = [
        curvae("evaluate", path, "--json", *more).json
        for path, *more in ((tmp_path / "own", "--model", same), (tmp_path / "mlp",))
    ]
    assert measured[0] | {"run": ""} == measured[1] | {"run": ""}


def test_resumed_it_is_what_it_would_have_been(curvae: Curvae, vectors: Path, same: str, tmp_path: Path) -> None:
    options = ("--data", vectors, "--latents", "2", *SMALL)
    assert curvae("train", "--out", tmp_path / "once", "--model", same, "--steps", "6", *options).code == 0
    assert curvae("train", "--out", tmp_path / "twice", "--model", same, "--steps", "3", *options).code == 0
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "net.py", tmp_path / "moved" / "net.py")
    moved = f"{tmp_path / 'moved' / 'net.py'}:build"
    answer = curvae("train", "--resume", "--out", tmp_path / "twice", "--model", moved, "--steps", "6")
    assert answer.code == 0, answer.stderr
    assert "is not the code" not in answer.stderr
    once, twice = (load_model(tmp_path / name, find_builder(moved)).state_dict() for name in ("once", "twice"))
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert Run.open(tmp_path / "twice").config.model == moved


def test_the_model_decides_what_nobody_chose(curvae: Curvae, vectors: Path, same: str, tmp_path: Path) -> None:
    options = ("--data", vectors, "--steps", "1", *SMALL)
    bare, posterior = (same.replace("build", name) for name in ("bare", "posterior"))
    assert curvae("train", "--out", tmp_path / "a", "--model", bare, *options).code == 0
    assert Run.open(tmp_path / "a").config.latents == 3
    assert curvae("train", "--out", tmp_path / "b", "--model", posterior, "--objective", "beta-vae", *options).code == 0
    assert (Run.open(tmp_path / "b").config.latents, Run.open(tmp_path / "b").config.structure) == (3, "full")


@pytest.mark.parametrize("default", ["(2, 1, 3)", "2"], ids=["shape", "channels"])
def test_latents_of_several_axes_that_the_function_chose(
    default: str, curvae: Curvae, vectors: Path, tmp_path: Path
) -> None:
    (tmp_path / "axes.py").write_text(
        f"""
from torch import nn
from curvae import Autoencoder


def build(shape, latents={default}):
    axes = latents if isinstance(latents, tuple) else (latents, 1, 3)
    encoder = nn.Sequential(nn.Linear(*shape, 3 * axes[0]), nn.Unflatten(1, axes))
    return Autoencoder(encoder, nn.Sequential(nn.Flatten(), nn.Linear(3 * axes[0], *shape)), axes, features=axes[0])
"""
    )
    model, out = ("--model", f"{tmp_path / 'axes.py'}:build"), tmp_path / "run"
    trained = curvae("train", "--data", vectors, *model, "--steps", "2", *SMALL, "--out", out)
    assert trained.code == 0, trained.stderr
    assert curvae("train", "--resume", *model, "--steps", "4", "--out", out).code == 0
    written = curvae("encode", out, *model, "--out", tmp_path / "codes.npz")
    assert written.code == 0, written.stderr
    assert np.load(tmp_path / "codes.npz")["mean"].shape[1:] == (2, 1, 3)


def test_code_that_has_changed_is_told(curvae: Curvae, vectors: Path, same: str, tmp_path: Path) -> None:
    out, options = tmp_path / "run", ("--data", vectors, "--latents", "2", "--steps", "1", *SMALL)
    assert curvae("train", "--out", out, "--model", same, *options).code == 0
    assert curvae("sample", out, "--model", same, "-n", "2", "--out", tmp_path / "a.npy").stderr.count("note:") == 0
    (tmp_path / "net.py").write_text(SAME + "\n# another\n")
    told = curvae("sample", out, "--model", same, "-n", "2", "--out", tmp_path / "a.npy").stderr
    assert "net.py is not the code that" in told


TIED = """
import torch
from torch import nn
from curvae import Autoencoder


class Tied(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.frozen = nn.Linear(6, 6).requires_grad_(False)

    def forward(self, z):
        return self.frozen(z @ self.weight)


def build(shape, latents: int = 2):
    first = nn.Linear(*shape, latents)
    return Autoencoder(first, Tied(first.weight), latents)
"""


def test_tied_and_frozen_weights(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    (tmp_path / "tied.py").write_text(TIED)
    name, out = f"{tmp_path / 'tied.py'}:build", tmp_path / "run"
    assert curvae("train", "--data", vectors, "--out", out, "--model", name, "--steps", "3", *SMALL).code == 0
    assert curvae("train", "--resume", "--out", out, "--model", name, "--steps", "5").code == 0
    model = load_model(out, find_builder(name))
    assert model.encoder.weight is model.decoder.weight
    state = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["model"]
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    again = load_model(out, find_builder(name)(shape=(6,)))
    assert torch.equal(again.decoder.frozen.weight, model.decoder.frozen.weight)


LAZY = """
from torch import nn
from curvae import Autoencoder


def build(shape, latents: int = 2, structure=None):
    decoder = nn.Sequential(nn.Linear(latents, 4), nn.LazyBatchNorm1d(), nn.LazyLinear(*shape))
    return Autoencoder(nn.LazyLinear(5), decoder, latents, structure, features=5)
"""


def test_layers_that_take_their_shape_from_the_data(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    """Their weights come from the seed, as all others do, and a run of such a model can be used and resumed."""
    (tmp_path / "lazy.py").write_text(LAZY)
    name, runs = f"{tmp_path / 'lazy.py'}:build", [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for out, seed in zip(runs, "001", strict=True):
        torch.rand(3)  # as in another process
        given = ("--data", vectors, "--out", out, "--model", name, "--seed", seed, "--steps", "2")
        assert curvae("train", *given, *SMALL).code == 0
    first, second, third = (load_model(out, find_builder(name)) for out in runs)
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    assert not torch.allclose(first.encoder.weight, third.encoder.weight, atol=0.1)
    assert curvae("evaluate", runs[0], "--model", name).code == 0
    assert curvae("train", "--resume", "--out", runs[0], "--model", name, "--steps", "3").code == 0
    new = ("--data", vectors, "--out", tmp_path / "d", "--model", name, "--init-from", runs[1], "--steps", "1")
    assert curvae("train", *new, *SMALL).code == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ``net.py:build``, beside it and its data."""
    place = tmp_path_factory.mktemp("trained")
    (place / "net.py").write_text(SAME)
    np.save(place / "vectors.npy", np.random.default_rng(0).random((60, 6), dtype=np.float32))
    name = f"{place / 'net.py'}:build"
    config = RunConfig(
        data=str(place / "vectors.npy"), model=name, latents=2, steps=2, batch_size=8, checkpoint_every=2, device="cpu"
    )
    return train(config, place / "run", model=find_builder(name)).run.path


@pytest.fixture
def hostile(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its copy, and code within reach that leaves a mark when it is run."""
    out, place = Path(shutil.copytree(trained, tmp_path / "hostile")), tmp_path / "there"
    place.mkdir()
    monkeypatch.chdir(place)
    for path in (place / "evil_model.py", out / "evil_model.py"):
        path.write_text(f"open({str(tmp_path / 'evil')!r}, 'w').close()\n{SAME}")
    monkeypatch.delitem(sys.modules, "evil_model", raising=False)
    return out


NAMES = ["evil_model:build", "evil_model.py:build", "{out}/evil_model.py:build"]
COMMANDS = {
    "evaluate": ["evaluate", "{out}"],
    "sample": ["sample", "{out}", "-n", "2", "--out", "s.npy"],
    "report": ["report", "{out}"],
    "inspect": ["inspect", "{out}"],
    "resume": ["train", "--resume", "--out", "{out}", "--steps", "4"],
}


def renamed(out: Path, name: str) -> None:
    for path in (out / "config.json", out / "model.json"):
        if path.exists():
            document = json.loads(path.read_text())
            document["config"]["model"] = name.format(out=out)
            path.write_text(json.dumps(document))


def test_lines_that_say_what_to_type_ask_for_the_function(trained: Path, curvae: Curvae, tmp_path: Path) -> None:
    """The function of the folder is not in them; of a run of `curvae.fit` no command can go on."""
    out, page = Path(shutil.copytree(trained, tmp_path / "run")), tmp_path / "page.html"
    assert curvae("report", out, "--trust", "--out", page).code == 0
    assert f"curvae evaluate {out} --model FILE.py:FUNCTION" in page.read_text()
    (out / "model.json").unlink()
    sample = ("sample", out, "-n", "2", "--out", tmp_path / "s.npy")
    again = f"curvae train --resume --out {out} --model FILE.py:FUNCTION"
    assert curvae(*sample).stderr == f"error: {out} is not finished; continue with: {again}\n"
    assert curvae("report", out, "--trust", "--out", page).code == 0
    assert again in page.read_text()
    renamed(out, "python")
    assert "continue with: curvae.fit(…, out='" in curvae(*sample).stderr


def test_a_stopped_run_says_how_it_goes_on(
    curvae: Curvae, vectors: Path, same: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupting(*where: Any) -> torch.Generator:
        if where[1] == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step_generator(*where)

    with monkeypatch.context() as patch:
        patch.setattr("curvae.training.module.step_generator", interrupting)
        answer = curvae("train", "--model", same, "--data", vectors, "--out", tmp_path / "run", "--steps", 6, *SMALL)
    again = ["train", "--resume", "--out", str(tmp_path / "run"), "--model", same]
    assert answer.stderr.endswith(f"continue with: curvae {' '.join(again)}\n")
    assert curvae(*again).code == 0


@pytest.mark.cases(1)
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
def test_no_code_is_run_because_a_folder_names_it(
    finished: bool, hostile: Path, curvae: Curvae, tmp_path: Path
) -> None:
    if not finished:
        (hostile / "model.json").unlink()
        (hostile / "model.safetensors").unlink()
    for name in NAMES:
        renamed(hostile, name)
        before = {path: path.read_bytes() for path in hostile.rglob("*") if path.is_file()}
        for kind, words in COMMANDS.items():
            answer = curvae(*(word.format(out=hostile) for word in words))
            assert answer.code == 2, (words, answer)
            assert answer.stderr.count("\n") == 1, answer.stderr
            unsaid = kind == "sample" and not finished
            assert ("is not finished" if unsaid else "no code is run because a file names it") in answer.stderr
        assert curvae("runs", tmp_path).code == 0
        for call in (lambda: package.load(hostile), lambda: Run.open(hostile).model()):
            with pytest.raises(InputError, match="no code is run because" if finished else "not"):
                call()
        assert before == {path: path.read_bytes() for path in hostile.rglob("*") if path.is_file()}
        assert not (tmp_path / "evil").exists(), name


@pytest.mark.parametrize("name", NAMES)
def test_trust_runs_it(name: str, hostile: Path, tmp_path: Path) -> None:
    """Which also shows that the mark is left where the code is run."""
    renamed(hostile, name)
    package.load(hostile, trust=True)
    assert (tmp_path / "evil").exists()


def test_a_named_function_is_run_and_the_folders_is_not(
    hostile: Path, same: str, curvae: Curvae, tmp_path: Path
) -> None:
    renamed(hostile, "evil_model.py:build")
    assert curvae("evaluate", hostile, "--model", same, "--limit", "3").code == 0
    assert curvae("inspect", hostile, "--model", same, "--limit", "2", "--json").code == 0
    assert not (tmp_path / "evil").exists()


def test_a_file_of_options_runs_nothing_either(hostile: Path, curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    Path("run.yaml").write_text(f"data: {vectors}\nmodel: evil_model.py:build\nlatents: 2\nsteps: 1\nbatch_size: 8\n")
    assert curvae("train", "--config", "run.yaml", "--print-config").code == 0
    answer = curvae("train", "--config", "run.yaml", "--out", tmp_path / "new")
    assert answer.code == 2
    assert "name it with --model as well, or trust the file with --trust" in answer.stderr
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "new").exists()
    assert curvae("train", "--config", "run.yaml", "--out", tmp_path / "new", "--trust").code == 0
    assert (tmp_path / "evil").exists()


# what is wrong with the file or the function, by its name in it, and what the line must say
FILE = """
import sys
import torch
from torch import nn
from curvae import Autoencoder
from curvae.posteriors import Diagonal

number = 3


def nothing(shape): return None
def raises(shape): return {}["no such key"]
def leaves(shape): sys.exit(4)
def weightless(shape): return Autoencoder(nn.Flatten(), nn.Identity(), latents=6, features=6)
def three(shape): return Autoencoder(nn.Linear(*shape, 3), nn.Linear(3, *shape), latents=3)
def amortised(shape): return Autoencoder(nn.Linear(*shape, 9), nn.Linear(3, *shape), 3, Diagonal())
def narrow(shape): return Autoencoder(nn.Linear(*shape, 3), nn.Linear(3, 4), latents=3)
def typed(shape, depth: int = 2, kind: nn.Module = None): return three(shape)
def needs(shape, depth: int): return three(shape)
def named(shape, log_every: int): return three(shape)
def told(shape, latents, conditions, structure=None): return three(shape)


class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 6)

    def forward(self, z):
        return self.layer(z)


class Later(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(3, 6), 0

    def forward(self, z):
        self.calls += len(z) == 8
        if self.calls > 2:
            raise ZeroDivisionError("too many calls")
        return self.layer(z)


def breaks(shape): return Autoencoder(nn.Linear(*shape, 3), Breaks(), latents=3)
def later(shape): return Autoencoder(nn.Linear(*shape, 3), Later(), latents=3)
"""


def line(text: str) -> int:
    """On which line of the file it stands first."""
    return FILE[: FILE.index(text)].count("\n") + 1


MODELS: list[tuple[str, list[str], str]] = [
    ("net.py", [], "model is 'net.py'; expected FILE.py:FUNCTION or package.module:function"),
    ("net.py:", [], "expected FILE.py:FUNCTION"),
    (":three", [], "expected FILE.py:FUNCTION"),
    ("no.py:three", [], "no.py does not exist"),
    ("folder.py:three", [], "folder.py is not a file"),
    ("no_such_package.module:three", [], "there is no module no_such_package.module"),
    ("a b:three", [], "expected FILE.py:FUNCTION"),
    ("net.py:thre", [], "has no thre; did you mean three?"),
    ("net.py:number", [], "net.py is 3; expected a function"),
    ("syntax.py:build", [], "syntax.py, line 2: SyntaxError"),
    ("import.py:build", [], "import.py, line 1: ModuleNotFoundError: No module named 'no_such_thing'"),
    ("net.py:nothing", [], "nothing returned a NoneType; expected a curvae.Autoencoder"),
    ("net.py:raises", [], f"net.py, line {line('no such key')}: KeyError: 'no such key'"),
    ("net.py:leaves", [], "ended the program (SystemExit: 4)"),
    ("net.py:weightless", [], "without weights to train"),
    ("net.py:three", ["--latents", "4"], "latents is 4 but the model of three has 3"),
    ("net.py:three", ["--objective", "beta-vae"], "objective is beta-vae, which needs a posterior"),
    ("net.py:amortised", [], "objective is grae, which trains the mean alone"),
    ("net.py:amortised", ["--objective", "taylor", "--structure", "full"], "structure is full but the model of"),
    ("net.py:narrow", [], "the model decodes to (4,), but a sample has the shape (6,)"),
    ("net.py:three", ["--set", "depth=2"], "three takes no setting 'depth'; it takes none"),
    ("net.py:typed", ["--set", "dept=2"], "typed takes no setting 'dept'; did you mean depth?"),
    ("net.py:typed", ["--set", "depth=two"], "depth is 'two'; expected a whole number"),
    (
        "net.py:named",
        ["--set", "log_ever=2"],
        "named takes no setting 'log_ever'; did you mean log_every?; it",
    ),
    ("net.py:named", ["--set", "log_every=x"], "--set log_every is 'x'; expected a whole number"),
    ("net.py:named", [], "named needs 'log_every'; give --set log_every=VALUE"),
    ("net.py:typed", ["--set", "kind=relu"], "which is not read from text"),
    ("net.py:typed", ["--set", "latents=2"], "latents is not a setting of typed but an option of the run"),
    ("net.py:told", ["--set", "conditions=2"], "an option of the run; use --condition\n"),
    ("net.py:typed", ["--set", "depth"], "--set is 'depth'; expected NAME=VALUE"),
    ("net.py:typed", ["--set", "depth=1", "--set", "depth=2"], "--set gives depth twice"),
    ("net.py:needs", [], "needs needs 'depth'; give --set depth=VALUE"),
    ("net.py:three", ["--network", "mlp"], "--network and --width are for curvae's networks"),
    ("net.py:three", ["--width", "2"], "--network and --width are for curvae's networks"),
    (
        "net.py:breaks",
        [],
        f"net.py, line {line('return self.layer(z)')}: RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "place"
    (place / "folder.py").mkdir(parents=True)
    (place / "net.py").write_text(FILE)
    (place / "syntax.py").write_text("x = 1\ndef build(shape:\n")
    (place / "import.py").write_text("import no_such_thing\n")
    monkeypatch.chdir(place)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return place


@pytest.mark.parametrize(("name", "options", "message"), MODELS, ids=[" ".join([n, *o]) for n, o, _ in MODELS])
def test_bad_models(
    name: str, options: list[str], message: str, curvae: Curvae, vectors: Path, place: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    answer = curvae("train", "--data", vectors, "--out", "out", "--model", name, "--steps", "2", *SMALL, *options)
    assert answer.code == 2, answer
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert message in answer.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_code_that_fails_on_the_way_is_one_line_with_its_place(
    curvae: Curvae, vectors: Path, place: Path, tmp_path: Path
) -> None:
    arguments = ("--data", vectors, "--out", "out", "--model", "net.py:later", "--steps", "9", *SMALL)
    answer = curvae("train", *arguments)
    assert answer.code == 2
    assert answer.stderr.splitlines()[-1].endswith(
        f"net.py, line {line('too many calls')}: ZeroDivisionError: too many calls"
    )
    assert answer.stderr.count("error:") == 1


def test_settings_without_a_model(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    answer = curvae("train", "--data", vectors, "--out", tmp_path / "out", "--set", "a=1")
    assert (answer.code, "--set is given without --model" in answer.stderr) == (2, True)


def test_a_model_for_a_network_of_curvaes(curvae: Curvae, run: Path, same: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "x.npy")]
    for words in (
        ["evaluate", run],
        ["sample", run, *out],
        ["report", run, "--out", tmp_path / "r.html"],
        ["inspect", run],
    ):
        answer = curvae(*words, "--model", same)
        assert answer.code == 2
        assert "holds the network mlp; leave it out" in answer.stderr
    with pytest.raises(InputError, match="leave model out"):
        load_model(run, find_builder(same))
    assert not any((tmp_path / name).exists() for name in ("x.npy", "r.html"))


def test_the_right_one_of_several(curvae: Curvae, vectors: Path, same: str, run: Path, tmp_path: Path) -> None:
    bare, options = same.replace("build", "bare"), ("--data", vectors, "--steps", "1", *SMALL)
    assert curvae("train", "--out", tmp_path / "a", "--model", same, "--latents", "2", *options).code == 0
    assert curvae("train", "--out", tmp_path / "b", "--model", bare, *options).code == 0
    runs = [tmp_path / "a", tmp_path / "b", run]
    answer = curvae("evaluate", *runs, "--model", bare, "--model", same, "--json", "--limit", "4")
    assert answer.code == 0, answer.stderr
    assert [one["run"] for one in answer.json["runs"]] == [str(path) for path in runs]
    alone = curvae("evaluate", runs[1], "--model", bare, "--json", "--limit", "4").json
    assert answer.json["runs"][1] == alone
    refused = curvae("evaluate", *runs, "--model", bare, "--model", same.replace("build", "posterior"))
    assert refused.code == 2
    assert "which --model does not name" in refused.stderr


def test_weights_that_do_not_fit(curvae: Curvae, vectors: Path, same: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--latents", "2", "--steps", "1", *SMALL)
    assert curvae("train", "--data", vectors, "--out", out, "--model", same, *options).code == 0
    other = curvae("evaluate", out, "--model", same.replace("build", "bare"))
    assert other.code == 2
    assert "latents is 2 but the model of bare has 3" in other.stderr
    assert not (out / "evaluation.json").exists()
    document = json.loads((out / "model.json").read_text())
    document["config"]["model_set"] = {"hidden": "9,5"}
    (out / "model.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="does not fit"):
        load_model(out, find_builder(same))
