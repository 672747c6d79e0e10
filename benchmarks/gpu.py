"""Full width on one card in ten minutes: a table of steps, the demo's models at 20,000 steps, figures 2 and 3.

``python -m benchmarks.gpu --out runs/gpu`` runs the parts from small to large, each in a process of its own and within
a budget of time. ``gpu.json`` says what became of each. The same call goes on with what was stopped: measured rows and
finished runs are not made again, and a run that was cut off goes on from its checkpoint. ``--scale smoke`` takes the
same way in a minute, on a CPU, with noise in the place of digits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.measure import Act, Stopwatch, flops, interleaved, matrix_throughput, training_step
from curvae.cpu.page_faults import avoid_page_faults
from curvae.files import write_atomic
from curvae.metrics import evaluate
from curvae.reproduce.drawing import plain, save_png
from curvae.reproduce.fig2 import reproduce as reproduce_fig2
from curvae.reproduce.fig3 import reproduce as reproduce_fig3
from curvae.reproduce.summary import as_json, write_text
from curvae.reproduce.sweep.launch import Local, Task
from curvae.reproduce.sweep.sweep import folder, last_step
from curvae.runs import Run, RunConfig, build_likelihood, build_model, build_objective, build_structure
from curvae.runs.device import choose_device
from curvae.runs.provenance import environment, today
from curvae.training.compiling import compile_networks

LATENTS = 12
WAYS: dict[str, dict[str, str]] = {
    "β-VAE": {"objective": "beta-vae"},
    "GRAE≈, one column": {"objective": "grae", "estimator": "columns:1"},
    "GRAE, one secant": {"objective": "grae", "estimator": "secants:1"},
    "GRAE≈, one column on 1/4": {"objective": "grae", "estimator": "fraction:1/4:columns:1"},
    "GRAE, exact on 1/16": {"objective": "grae", "estimator": "fraction:1/16:exact"},
    "GRAE, exact": {"objective": "grae", "estimator": "exact"},
}
PYTHAE = "pythae BetaVAE"


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        width: of the networks.
        batches: batch sizes in the table of steps.
        repetitions: of each step.
        compiled: the ways to train that are compiled too; compiling takes half a minute each.
        demo_steps: of the demo's models.
        workers: models that are trained at a time.
        figures: the scale that figures 2 and 3 start from.
        changes: of its settings.
        budgets: seconds for each part.
    """

    width: float
    batches: tuple[int, ...]
    repetitions: int
    compiled: tuple[str, ...]
    demo_steps: int
    workers: int
    figures: str
    changes: dict[str, dict[str, str]]
    budgets: dict[str, int]


_FULL = {"steps": "2000", "seeds": "0", "precision": "bf16", "points": "1000"}
SCALES = {
    "smoke": Scale(
        1 / 32, (4,), 1, (), 4, 2, "smoke", {"fig2": {"steps": "4"}, "fig3": {"steps": "4"}},
        {"steps": 60, "demo": 60, "fig2": 60, "fig3": 60},
    ),
    "full": Scale(
        1.0, (64, 512), 20, ("β-VAE", "GRAE≈, one column"), 20_000, 4, "paper",
        {"fig2": _FULL, "fig3": {**_FULL, "betas": "0.05,0.2,0.8", "hessian_points": "50"}},
        {"steps": 90, "demo": 250, "fig2": 120, "fig3": 120},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What a part needs to know."""

    scale: Scale
    out: Path
    device: torch.device
    data: str = "mnist"


# --- the table of steps ---------------------------------------------------------------------------------------------


def steps(job: Job) -> None:
    """Every way to train at every batch size, precision and mode, those that take longest to prepare last."""
    path, watch = job.out / "steps.json", Stopwatch(job.device)
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    # rows of another card or commit are none of this table
    found = before["rows"] if before.get("environment") == environment(job.device) else []
    done = {_key(row) for row in found}
    modes = ["eager", *(["graph"] if job.device.type == "cuda" else []), "compiled"]
    wanted = [
        {"way": way, "batch": batch, "precision": precision, "mode": mode, "width": job.scale.width}
        for mode in modes
        for batch in job.scale.batches
        for precision in ("32", "bf16")
        for way in (*WAYS, PYTHAE)
        if (mode == "eager" or way != PYTHAE) and (mode != "compiled" or way in job.scale.compiled)
    ]
    throughput = {half: matrix_throughput(watch, torch.bfloat16 if half else torch.float32) for half in (False, True)}
    for row in wanted:
        if _key(row) not in done:
            found.append(row | _measured(row, job, watch, throughput[row["precision"] == "bf16"]))
            head = {"matrix_operations_a_second": {"32": throughput[False], "bf16": throughput[True]}}
            write_text(path, as_json({**_under(job), **head, "rows": found}))
    save_png(_draw_steps(found), job.out / "steps.png")


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("way", "batch", "precision", "mode", "width"))


def _measured(row: dict[str, Any], job: Job, watch: Stopwatch, throughput: float) -> dict[str, Any]:
    """The median time of a step, or why there is none."""
    x = torch.rand(row["batch"], 1, 28, 28, device=job.device)
    try:
        operations = flops(_step(row, x, "eager"))
        act = _step(row, x, row["mode"])
        milliseconds = interleaved({"step": act}, job.scale.repetitions, watch)["step"]
    # a card without the memory, a compiler that cannot, a package that is not there: the others are measured
    except (RuntimeError, ImportError) as error:
        return {"not_measured": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"}
    seconds = milliseconds / 1e3
    return {
        "milliseconds": milliseconds,
        "images_per_second": row["batch"] / seconds,
        "share_of_matrix_throughput": operations / seconds / throughput,
    }


def _step(row: dict[str, Any], x: torch.Tensor, mode: str) -> Act:
    """A training step: forwards, backwards, Adam."""
    precision = torch.autocast(x.device.type, torch.bfloat16) if row["precision"] == "bf16" else nullcontext()
    if row["way"] == PYTHAE:
        from benchmarks.steps import theirs  # pythae need not be there

        inner = theirs(PYTHAE, row["width"], x)

        def other() -> None:
            with precision:
                inner()

        return other
    config = RunConfig(
        data="mnist", network="paper", width=row["width"], latents=LATENTS, structure="diagonal", **WAYS[row["way"]]
    )
    model, objective = build_model(config, tuple(x.shape[1:])).to(x.device).train(), build_objective(config)
    if row["precision"] == "bf16":
        model.to(memory_format=torch.channels_last)
    if mode == "compiled":
        refused = compile_networks(model, objective, x, precision)
        if refused:
            raise RuntimeError(refused)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True, capturable=mode == "graph")
    generator = torch.Generator(x.device).manual_seed(0)
    step = training_step(lambda: objective(model, x, generator).mean(), optimiser, lambda: precision)
    return _graph(step, generator) if mode == "graph" else step


def _graph(step: Act, generator: torch.Generator) -> Act:
    """The whole step as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _draw_steps(rows: Sequence[dict[str, Any]]) -> Figure:
    shown = [row for row in rows if "milliseconds" in row]
    figure = Figure(figsize=(9, 0.22 * len(shown) + 1), dpi=80, layout="constrained")
    axes = plain(figure.subplots())
    names = [f"{row['way']}, batch {row['batch']}, {row['precision']}, {row['mode']}" for row in shown]
    axes.barh(range(len(shown)), [row["milliseconds"] for row in shown], color="#4063d8")
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds a step", xscale="log")
    return figure


# --- the demo -------------------------------------------------------------------------------------------------------


def demo(job: Job) -> None:
    """The demo's two models in float32 and bfloat16, all at a time, evaluated in float32."""
    configs = {
        f"{way}, {precision}": RunConfig(
            data=job.data, network="paper", width=job.scale.width, beta=0.2, latents=LATENTS, structure="diagonal",
            steps=job.scale.demo_steps, batch_size=64, lr=2e-3, schedule="cosine", precision=precision,
            device=job.device.type, checkpoint_every=500, **WAYS[way],
        )
        for way in ("β-VAE", "GRAE≈, one column")
        for precision in ("32", "bf16")
    }  # fmt: skip
    paths = {name: folder(job.out / "runs", config) for name, config in configs.items()}
    Local(job.scale.workers).train([Task(config, paths[name]) for name, config in configs.items()])
    found = {name: _evaluated(Run.open(path), job) for name, path in paths.items()}
    write_text(job.out / "demo.json", as_json({**_under(job), "models": found}))
    save_png(_draw_demo(found), job.out / "demo.png")


def _evaluated(run: Run, job: Job) -> dict[str, Any]:
    config, data = run.config, run.dataset().test[: 1000 if job.scale.width == 1 else 20]
    given = (run.model().to(job.device), data, config.beta, build_likelihood(config.likelihood))
    noise = torch.Generator(job.device).manual_seed(0)
    values = evaluate(*given, build_structure(config.structure), generator=noise, samples=8)
    return {
        "steps": last_step(run.path),
        "seconds": run.metrics[-1]["seconds"],
        **{name: asdict(getattr(values, name)) for name in ("beta_vae", "taylor", "grae_full", "mse")},
    }


def _draw_demo(found: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(9, 2.5), dpi=80, layout="constrained")
    shown = {"beta_vae": "(2)", "taylor": "(7)", "grae_full": "(13)"}
    for axes, (key, title) in zip(figure.subplots(1, 3, sharey=True), shown.items(), strict=True):
        plain(axes).set_title(title, fontsize=9)
        means, errors = ([each[key][part] for each in found.values()] for part in ("mean", "se"))
        axes.errorbar(means, range(len(found)), xerr=errors, fmt="o", markersize=4)
        axes.set_yticks(range(len(found)), list(found), fontsize=8)
    return figure


# --- the figures ----------------------------------------------------------------------------------------------------


def figure(name: str, job: Job) -> None:
    """A figure at full width, several models at a time."""
    make = {"fig2": reproduce_fig2, "fig3": reproduce_fig3}[name]
    changes = {**job.scale.changes[name], "device": job.device.type, "data": job.data}
    workers = job.scale.workers if job.device.type == "cuda" else 1
    make(name, job.scale.figures, job.out / name, runs=job.out / "runs", workers=workers, changes=changes)


PARTS: dict[str, Callable[[Job], None]] = {
    "steps": steps,
    "demo": demo,
    "fig2": lambda job: figure("fig2", job),
    "fig3": lambda job: figure("fig3", job),
}
"""From small to large."""

# --- one after another, each within its budget ----------------------------------------------------------------------

_GRACE = 15.0  # seconds in which the workers of a part that is stopped write their checkpoints


def within(command: Sequence[str], budget: float) -> dict[str, Any]:
    """Run a command for at most so many seconds: what became of it, and how long it took."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=budget)
        last = (said.strip().splitlines() or [""])[-1]
        state = "finished" if process.returncode == 0 else f"failed: {last[:300]}"
    except subprocess.TimeoutExpired:
        state = f"stopped: its {budget:.0f} s were over; the same call goes on"
        process.terminate()
        try:
            process.communicate(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    return {"state": state, "seconds": round(time.monotonic() - begin, 1)}


def _under(job: Job) -> dict[str, Any]:
    made = {"device": job.device.type, "date": today(), "environment": environment(job.device)}
    return made | {"scale": asdict(job.scale)}


def everything(job: Job, name: str) -> dict[str, Any]:
    """All parts that are not finished yet, and ``gpu.json`` after each."""
    path = job.out / "gpu.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = before.get("scale_name") == name and before.get("device") == job.device.type
    parts: dict[str, Any] = before["parts"] if same else {}
    made = {}
    for part, budget in job.scale.budgets.items():
        if parts.get(part, {}).get("state") != "finished":
            given = ["--scale", name, "--device", job.device.type, "--data", job.data, "--part", part]
            command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(job.out), *given]
            parts[part] = within(command, budget)
        print(f"{part}: {parts[part]['state']} ({parts[part]['seconds']} s)", file=sys.stderr)
        made = {"scale_name": name, **_under(job), "parts": parts}
        write_text(path, as_json(made))
    return made


def _noise(path: Path) -> str:
    """A few images of a digit's size, for a run that shows only that it runs."""
    if not path.exists():
        images = np.random.default_rng(0).integers(0, 256, (200, 1, 28, 28), dtype=np.uint8)
        write_atomic(path, lambda to: np.save(to, images))
    return str(path)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder of results, and of the runs under way")
    parser.add_argument("--scale", choices=list(SCALES), default="full")
    parser.add_argument("--device", default="auto", help="cpu or cuda; auto takes a GPU where there is one")
    parser.add_argument("--data", help="what curvae train --data takes; MNIST, and noise at the scale smoke")
    parser.add_argument("--part", choices=list(PARTS), help="this part alone, without a budget")
    given = parser.parse_args()
    avoid_page_faults()
    device = choose_device(given.device)
    if given.scale == "full" and device.type == "cpu":
        parser.error("there is no GPU here; --scale smoke (make gpu SCALE=smoke) tries the script on a CPU")
    given.out.mkdir(parents=True, exist_ok=True)
    data = given.data or ("mnist" if given.scale == "full" else _noise(given.out / "noise.npy"))
    job = Job(SCALES[given.scale], given.out, device, data)
    if given.part:
        PARTS[given.part](job)
    else:
        everything(job, given.scale)


if __name__ == "__main__":
    main()
