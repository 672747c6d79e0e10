"""Whatever is typed: exit code 0, 1 or 2, no traceback, and of a refusal one line and nothing on disk."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Curvae = Callable[..., Any]

WHOLE = ("0", "-1", "1", "2", "3", "5", "9", "6", "60", "1" * 19, str(2**62), str(2**63 - 1), str(2**64), "9" * 400)
REALS = (
    *("0", "-1", "1", "0.5", "2", "3", "100", "1e-3", "1e9", "1e18", "1e38", "1e300", "1e308", "1.7e308", "1e-18"),
    *("1e-38", "1e-46", "1e-300", "1e-308", "5e-324", "1e400", "nan", "inf"),
)
NUMBERS = (
    *("0", "-0", "-1", "1", "2", "3", "7", "1_0", "00007", "+3", "2.5", "1e9", "1e308", "1e400", "1e-308", "5e-324"),
    *("nan", "inf", "-inf", "", " ", "9" * 5000, f"-{'9' * 5000}", f"0.{'3' * 5000}", "1" * 19, str(2**63 - 1)),
    *(str(2**63), str(10**30), "١٢", "²", "½", "0x10", "1,5", "true", "−1", "--", "1/2", "🙂", "\udcff"),
)
NAMES = (
    *("", ".", "missing", "missing/deeper", "file", "file/below", "folder", "folder/new", "loop", "loop/x", "dangling"),
    *("pipe", "pipe/x", "/dev/zero", "/dev/full", "/dev/null/x", "/proc/new", "~nouser/x", "x" * 300, "é" * 200),
    *("missing/" + "x" * 300, "a/" * 3000, "[/red]", "[bold]b", ":smile:", "r\udcff", "new\nline", "esc\x1b[2J", "-x"),
    *("--out", "s p; touch Y", "$(touch Y)", "`", "ünï", "x" * 250, "\\", "run", "run/config.json", "vectors.npy"),
)
ENDINGS = ("", ".png", ".npy", ".npz", ".html", ".PNG", ".", ".jpg")
FIGURES = ("fig1", "fig2", "fig3", "fig4", "fig5", "fig6", "fig7", "table1", "comparison", "approximation", "fig8", "")
WORDS = {
    "structure": ("diagonal", "block", "banded", "full", "shared", "", "Diagonal"),
    "estimator": ("exact", "columns", "lanczos", "trace", "fraction", "fraction:1/2", "fraction:2/1", "fraction:0/0"),
    "likelihood": (
        *("gaussian", "gaussian:learned", "laplace", "student-t", "bernoulli", "bernoulli-logits", "poisson"),
        *("continuous-bernoulli", "negative-binomial"),
    ),
    "objective": ("beta-vae", "taylor", "grae", "rae", "vae", ""),
    "curvature": ("gauss-newton", "hessian", "newton"),
    "network": ("paper", "paper-no-norm", "mlp", "linear", "unet"),
    "precision": ("32", "bf16", "64", "16"),
    "device": ("cpu", "cuda", "tpu", ""),
    "damaged": ("stop", "skip", "burn"),
}
COUNTED = ("latents", "steps", "batch-size", "samples", "seed", "split-seed", "size", "checkpoint-every", "log-every")
REAL = ("width", "beta", "lr", "encoder-weight", "decoder-weight", "orthogonality")
SMALL = ("--data=vectors.npy", "--network=mlp", "--width=0.02", "--latents=2", "--steps=2", "--batch-size=8")
SETTINGS = ("steps", "width", "seeds", "points", "latents", "data", "size", "device", "betas", "nothing", "", "=")


class Typist:
    """Types commands from a seed: something that would work, with one to three things wrong with it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def command(self) -> list[str]:
        kinds = (*(self.train,) * 3, self.evaluate, self.sample, self.uses, self.uses, self.report, self.reproduce)
        return self.random.choice((*kinds, self.anything))()

    def train(self) -> list[str]:
        words = ["train", *SMALL, f"--out={self.name()}" if self.chance(0.3) else "--out=out"]
        for _ in range(self.random.randint(1, 3)):
            option = self.random.choice([*WORDS, *COUNTED, *REAL, "data", "resume"])
            words.append("--resume" if option == "resume" else f"--{option}={self.value(option)}")
        return words

    def evaluate(self) -> list[str]:
        options = ("limit", "samples", "columns", "nll", "batch-size", "seed", "device")
        return ["evaluate", self.run(), *self.some(options)]

    def sample(self) -> list[str]:
        out = self.file() if self.chance(0.5) else "out.png"
        source = self.random.choice(("prior", "prior", "mixture:", f"mixture:{self.number()}", self.number()))
        number = ["-n", self.number()] if self.chance(0.5) else []
        return ["sample", self.run(), f"--out={out}", f"--from={source}", *number, *self.some(("seed",))]

    def uses(self) -> list[str]:
        command = self.random.choice(("encode", "reconstruct", "interpolate", "traverse"))
        own = {
            "encode": (f"--structure={self.value('structure')}", f"--batch-size={self.number()}", "--covariance"),
            "reconstruct": (f"--limit={self.number()}", f"--batch-size={self.number()}"),
            "interpolate": (f"--pairs={self.number()}:{self.number()}", f"--steps={self.number()}", "--geodesic"),
            "traverse": (f"--index={self.number()}", f"--latents={self.number()}", f"--values={self.number(REALS)}"),
        }[command]
        out = self.file() if self.chance(0.5) else "out.npz"
        data = [f"--data={self.random.choice(('vectors.npy', 'images.npy', 'missing.npy', ''))}"] * self.chance(0.5)
        chosen = self.random.sample((*own, "--part=test", "--part=x", "--device=cpu"), 2)
        return [command, self.run(), f"--out={out}", *data, *chosen]

    def report(self) -> list[str]:
        out = self.file() if self.chance(0.7) else "out.html"
        return ["report", *(self.run() for _ in range(self.random.randint(0, 2))), f"--out={out}"]

    def reproduce(self) -> list[str]:
        """Never all of it right, for that would take its time."""
        changes = [
            f"--set={self.random.choice(SETTINGS)}={self.number(REALS)}" for _ in range(self.random.randint(0, 2))
        ]
        wrong = self.random.choice(
            (f"--data={self.random.choice(('missing.npy', 'file', '~nouser/x', '', 'é' * 300))}", "--scale=huge",
             "--set=batch_size=1000", f"--set=latents={self.random.choice(('0', '7000', '9' * 5000))}", "--workers=0",
             f"--runs={self.random.choice(('file', 'file/below', '', 'x' * 300, '~nouser/x', 'loop'))}",
             f"--workers={'9' * self.random.choice((4, 30, 5000))}", "--cluster=x", f"--set=seeds={'1,' * 2000}1",
             f"--out={self.random.choice(('file', 'file/x', '', 'x' * 300))}")
        )  # fmt: skip
        figure = self.random.choice((*FIGURES, *("fig2", "fig3", "table1") * 4))
        data = ["--data=images.npy", "--set=network=mlp", "--set=batch_size=8"]
        # a setting that is given twice would be all that is refused
        given = {one.rpartition("=")[0]: one for one in (*data, *changes, wrong)}
        return ["reproduce", figure, "--scale=smoke", "--out=out", *given.values()]

    def anything(self) -> list[str]:
        words = (
            "train",
            "evaluate",
            "--help",
            "--version",
            "--json",
            "--out",
            "-n",
            "[/red]",
            "",
            "\udcff",
            "run",
            "--",
        )
        return [self.random.choice(words) for _ in range(self.random.randint(1, 4))]  # nothing at all gets the help

    def value(self, option: str) -> str:
        if option in WORDS:
            word = self.random.choice(WORDS[option])
            more = self.random.choice((WHOLE, REALS, WORDS[option], NUMBERS))
            numbers = (option in ("structure", "estimator", "likelihood")) * self.random.randint(0, 2)
            parts = [word, *(self.random.choice(more) for _ in range(numbers))]
            return ":".join(parts * 1000 if self.chance(0.05) else parts)
        if option == "data":
            drawn = (
                "avatars:",
                "avatars:0",
                f"avatars:{10**15}",
                f"avatars:5:{10**25}",
                "avatars:1e9",
                "avatars:2:3:4",
            )
            return self.random.choice((*NAMES, *drawn, *("images.npy",) * 9))
        return self.number(WHOLE if option in COUNTED else REALS)

    def some(self, options: tuple[str, ...]) -> list[str]:
        chosen = [self.random.choice(options) for _ in range(self.random.randint(0, 3))]
        words = {"device": WORDS["device"]}
        return [
            f"--{option}={self.random.choice(words[option]) if option in words else self.number()}" for option in chosen
        ]

    def run(self) -> str:
        return self.name() if self.chance(0.15) else "run"

    def file(self) -> str:
        name = self.name()
        return name if name.startswith("/") else name + self.random.choice(ENDINGS)

    def name(self) -> str:
        return self.random.choice(NAMES)

    def number(self, likely: tuple[str, ...] = WHOLE) -> str:
        return self.random.choice(likely if self.chance(0.8) else NUMBERS)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability


@pytest.fixture
def place(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a run and with everything that a name can lead to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "folder"))
    generator = np.random.default_rng(0)
    np.save("vectors.npy", generator.random((60, 6), dtype=np.float32))
    np.save("images.npy", generator.random((60, 1, 8, 8), dtype=np.float32))
    Path("file").write_text("mine")
    for name in ("folder", "folder.png", "folder.html"):
        Path(name).mkdir()
    Path("folder/mine").write_text("mine too")
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("nowhere")
    return tmp_path


def everything(folder: Path) -> dict[str, object]:
    return {
        os.fsencode(path.relative_to(folder)).decode("utf-8", "replace"): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def hold_to_promise(curvae: Curvae, folder: Path, words: list[str]) -> None:
    before = everything(folder)
    answer = curvae(*words)
    assert answer.code in (0, 1, 2), words
    assert "Traceback" not in answer.stdout + answer.stderr
    if answer.code == 2:
        assert answer.stdout == "", words
        assert answer.stderr.startswith("error: "), (words, answer.stderr)
        assert answer.stderr.count("\n") == 1, (words, answer.stderr)
        assert everything(folder) == before, words
    elif answer.code == 1:
        assert "error: " in answer.stderr, words


@pytest.mark.cases(8)
@pytest.mark.parametrize("seed", range(20))
def test_commands(seed: int, curvae: Curvae, place: Path) -> None:
    hold_to_promise(curvae, place, Typist(seed).command())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(20, 40), *range(1000, 2000)])
def test_many_commands(seed: int, curvae: Curvae, place: Path) -> None:
    hold_to_promise(curvae, place, Typist(seed).command())
