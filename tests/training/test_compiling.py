"""Compiled networks: the eager ones' values and gradients, and a clear line where the compiler cannot."""

from __future__ import annotations

import functools
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from curvae import Autoencoder, objectives
from curvae.posteriors import Diagonal
from curvae.runs import Run, RunConfig
from curvae.training import train
from curvae.training.compiling import compile_networks

Configure = Callable[..., RunConfig]

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles for a CPU with g++")

OBJECTIVES = {
    "beta-vae": {"objective": "beta-vae"},
    "taylor": {"objective": "taylor", "structure": "block:2"},
    "taylor-hessian": {"objective": "taylor", "curvature": "hessian"},
    "grae": {"objective": "grae", "structure": "full"},
    "columns": {"objective": "grae", "estimator": "columns:1"},
    "lanczos": {"objective": "grae", "structure": "full", "estimator": "lanczos:2:2"},
    "rae": {"objective": "rae"},
    "secants": {"objective": "grae", "estimator": "secants:1"},
    "secants-fraction": {"objective": "grae", "estimator": "fraction:1/4:secants:1"},
}


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """What was compiled before is not found again."""
    torch.compiler.reset()
    with torch._inductor.config.patch(force_disable_caches=True):
        yield
    torch.compiler.reset()


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "paper", "linear"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_the_eager_value_and_gradient(name: str, network: str) -> None:
    script = Path(__file__).parent / "compiled_steps.py"
    done = subprocess.run(
        [sys.executable, script, json.dumps(OBJECTIVES[name]), network], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["refused"] is None
    secants = name.startswith("secants")
    both = name == "beta-vae" or (secants and network != "paper")  # which has batch normalisation
    assert found["compiled"] == (["encoder", "decoder"] if both else ["encoder"])
    assert found["state_left_alone"]
    if not secants:  # which decode another number of samples, and without gradients
        assert found["graphs"] == len(found["compiled"])  # whole networks, and nothing was compiled again for the step
    assert all(found["equal"])


@pytest.mark.usefixtures("fresh_compiler")
def test_networks_of_one_process_are_compiled_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[list[Any]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append([size for value in inputs for size in getattr(value, "shape", (value,))])
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    objective = objectives.BetaVAE(0.2)
    for width in range(4, 14):  # more than the compiler keeps of one function
        encoder, decoder = nn.Linear(6, width), nn.Sequential(nn.Linear(2, width), nn.ELU(), nn.Linear(width, 6))
        model = Autoencoder(encoder, decoder, latents=2, structure=Diagonal(), head=True)
        assert compile_networks(model, objective, torch.rand(5, 6), nullcontext()) is None
    assert len(graphs) == 20
    # a symbol in the place of a number would be reckoned with at every use
    assert all(type(size) is int for sizes in graphs for size in sizes)


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(900)  # compiles for a minute or two, longer on a busy machine
def test_a_compiled_run_ends_where_an_eager_one_does(configure: Configure, tmp_path: Path) -> None:
    config = configure(objective="beta-vae", network="paper", precision="64", steps=12, lr=1e-3)
    eager = train(config, tmp_path / "eager").run
    options = [f"--{name.replace('_', '-')}={value}" for name, value in config.chosen().items()]
    command = [sys.executable, "-m", "curvae", "train", "--compile", f"--out={tmp_path / 'compiled'}", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "not compiled" not in done.stderr
    compiled = Run.open(tmp_path / "compiled")
    assert compiled.config.compile
    torch.testing.assert_close(compiled.model().state_dict(), eager.model().state_dict(), rtol=1e-7, atol=1e-9)
    assert compiled.metrics[-1]["held_out"]["total"] == pytest.approx(eager.metrics[-1]["held_out"]["total"])


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_without_a_compiler_one_line_says_so_and_the_run_is_the_eager_one(configure: Configure, tmp_path: Path) -> None:
    eager = train(configure(objective="beta-vae"), tmp_path / "eager").run
    console = Console(file=io.StringIO(), width=500)
    with torch._inductor.config.patch({"cpp.cxx": (None, "/no/such/compiler")}):
        fallen = train(configure(objective="beta-vae", compile=True), tmp_path / "fallen", console=console).run
    torch.testing.assert_close(fallen.model().state_dict(), eager.model().state_dict(), rtol=0, atol=0)
    assert console.file.getvalue().count("not compiled") == 1
    assert console.file.getvalue().splitlines()[0].startswith("the networks are not compiled (")


@pytest.mark.usefixtures("fresh_compiler")
def test_bf16_on_a_cpu_is_left_as_it_is(configure: Configure, tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="bf16 on a CPU is faster as it is") as warned:
        train(configure(objective="beta-vae", compile=True, precision="bf16", steps=2), tmp_path / "run")
    assert len(warned) == 1
