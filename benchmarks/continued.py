"""What a few more steps of another objective make of the ends of long runs, over seeds.

``python -m benchmarks.continued RUNS --out results/frontier`` takes the finished runs of ``benchmarks.long`` and trains
each a little further, as what it was and as a β-VAE, at a small rate that falls to 0. β-VAEs there that differ in their
number of steps alone are the controls at equal time; the ends of runs that differ in their precision alone are compared
with those of the same way and seed. It writes ``continued.json``; what was measured before is read from ``--values``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

import curvae
from benchmarks.long import MEASURES, Scale, measure, measured, over_seeds
from benchmarks.long_runs import REFERENCE, Values, finished_runs, kept, name, one_estimate_a_line, setting
from curvae.autoencoder import Autoencoder
from curvae.cpu.page_faults import avoid_page_faults
from curvae.data import as_float
from curvae.objectives import BetaVAE
from curvae.posteriors import Diagonal
from curvae.reproduce.summary import as_json, write_text
from curvae.runs import Run, RunConfig, build_likelihood, load_model
from curvae.runs.objective import build_objective
from curvae.runs.provenance import environment, today
from curvae.training import fit_widths

# training digits that a new head is fitted to
_FITTED = 2000
_RATE = 5e-4


@dataclass(frozen=True)
class Continuation:
    """How long, at which rate, and whether as a β-VAE whatever the run was before; ``fitted`` is said of a new head."""

    steps: int
    as_vae: bool
    fitted: bool = True
    lr: float = _RATE


def continuations(config: RunConfig, lengths: Iterable[int]) -> Iterator[Continuation]:
    """A run's: as a β-VAE for each length, and, for the first, its own objective and a head as initialised."""
    lengths = tuple(lengths)
    yield from (Continuation(steps, as_vae=True) for steps in lengths)
    if lengths and config.objective != "beta-vae":
        yield Continuation(lengths[0], as_vae=True, fitted=False)
        yield Continuation(lengths[0], as_vae=False)


def is_longer(config: RunConfig, main: RunConfig) -> bool:
    """Is it a β-VAE that differs from those of the main setting in its number of steps alone, which is larger?"""
    return name(config) == REFERENCE and config.steps > main.steps and differs_alone(config, main, "steps")


def differs_alone(config: RunConfig, main: RunConfig, field: str) -> bool:
    """Does it differ from the runs of the main setting in this field alone?"""
    theirs = getattr(main, field)
    return getattr(config, field) != theirs and setting(replace(config, **{field: theirs})) == setting(main)


@torch.no_grad()
def with_widths(model: Autoencoder, x: Tensor, config: RunConfig, fitted: bool) -> Autoencoder:
    """The same networks and means with a diagonal posterior, its head fitted by ridge regression to log σ of (11)."""
    vae = Autoencoder(model.encoder, model.decoder, model.latents, Diagonal(), features=model.features)
    assert vae.mean_head is not None
    assert model.mean_head is not None
    vae.mean_head.load_state_dict(model.mean_head.state_dict())
    if fitted:
        fit_widths(vae, x[:_FITTED].split(100), config.beta, build_likelihood(config.likelihood))
    return vae


def go_on(run: Run, how: Continuation, data: Tensor) -> Autoencoder:
    """The run's model after the further steps; the folder of the run stays as it is."""
    config, model = run.config, load_model(run.path)
    objective = build_objective(config)
    if how.as_vae:
        objective = BetaVAE(config.beta, likelihood=build_likelihood(config.likelihood))
        if model.structure is None:
            model = with_widths(model, data, config, how.fitted)
    curvae.fit(
        model,
        data,
        objective,
        steps=how.steps,
        batch_size=config.batch_size,
        lr=how.lr,
        schedule="cosine",
        seed=config.seed + 1000,
        device="cpu",
        progress=False,
    )
    return model


def found_of(run: Run, how: Continuation | None, training: Tensor, test: Tensor, cache: Path) -> Values:
    """Every measure of the run's end, or of what the further steps made of it."""
    scale = Scale()
    if how is None:
        return measured(run, test, scale, cache)[run.config.steps]
    words = "-".join(str(word) for word in asdict(how).values())
    return kept(
        cache / f"{run.path.name}-then-{words}.npz",
        lambda: measure(go_on(run, how, training), test, run.config, scale, finished=True),
    )


def summarise(
    found: Mapping[tuple[str, Continuation | None], Mapping[int, Values]], longer: Mapping[int, Mapping[int, Values]]
) -> list[dict[str, Any]]:
    """Each way over its seeds, less the run's own end and less the β-VAE's end of the same seeds.

    Args:
        found: by seed.
        longer: the ends of β-VAEs of more steps, by steps and seed.
    """
    rows = []
    for (first, how), seeds in found.items():
        ends, reference = found[first, None], found.get((REFERENCE, None), {})
        row: dict[str, Any] = (
            {"first": first, "then": None, "more_steps": 0} if how is None else {"first": first, **said(how, first)}
        )
        row |= {"seeds": sorted(seeds), **over(seeds)}
        if how is not None:
            row["less_before"] = over({seed: less(values, ends[seed]) for seed, values in seeds.items()})
        if (first, how) != (REFERENCE, None):
            row |= {"less_reference": compared(seeds, reference)} if seeds.keys() & reference.keys() else {}
            pairs = {str(steps): ends for steps, ends in longer.items() if seeds.keys() & ends.keys()}
            row["less_longer"] = {steps: compared(seeds, ends) for steps, ends in pairs.items()}
        rows.append(row)
    return rows


def said(how: Continuation | None, first: str) -> dict[str, Any]:
    """A continuation in words; none is the end of the run itself."""
    if how is None:
        return {"then": None, "more_steps": 0}
    new_head = how.as_vae and first != REFERENCE
    head = {"head": "fitted" if how.fitted else "as initialised"} if new_head else {}
    return {"then": REFERENCE if how.as_vae else first, "more_steps": how.steps, "lr": how.lr, **head}


def over(seeds: Mapping[int, Values]) -> dict[str, Any]:
    """Every measure over the seeds."""
    return {key: over_seeds([values[key] for values in seeds.values()]) for key in MEASURES}


def compared(mine: Mapping[int, Values], theirs: Mapping[int, Values]) -> dict[str, Any]:
    """Over the seeds that both have, the difference of each."""
    return over({seed: less(mine[seed], theirs[seed]) for seed in sorted(mine.keys() & theirs.keys())})


def less(mine: Values, theirs: Values) -> Values:
    """Sample by sample; the NLL is of fewer samples, the same ones."""
    return {key: mine[key] - theirs[key] for key in MEASURES}


def evaluate(folder: Path, out: Path, cache: Path, lengths: tuple[int, ...]) -> None:
    """Continue and measure all finished runs in a folder, and write what was found.

    Raises:
        InputError: no finished run there.
    """
    runs, others = finished_runs(folder)
    controls = [run for run in others if is_longer(run.config, runs[0].config)]
    coarse = [run for run in others if differs_alone(run.config, runs[0].config, "precision")]
    data = runs[0].dataset()
    training, test = as_float(data.train), as_float(data.test[: Scale().finished])
    tasks = [(run, how) for run in runs for how in (None, *continuations(run.config, lengths))]
    found: dict[tuple[str, Continuation | None], dict[int, Values]] = {}
    for run, how in track(tasks, "continuing", console=Console(stderr=True)):
        way = found.setdefault((name(run.config), how), {})
        way[run.config.seed] = found_of(run, how, training, test, cache)
    longer: dict[int, dict[int, Values]] = {}
    for run in controls:
        longer.setdefault(run.config.steps, {})[run.config.seed] = found_of(run, None, training, test, cache)
    rounded: dict[tuple[str, str], dict[int, Values]] = {}
    for run in coarse:
        ends = rounded.setdefault((run.config.precision, name(run.config)), {})
        ends[run.config.seed] = found_of(run, None, training, test, cache)
    reference = found.get((REFERENCE, None), {})
    summary = {
        "setting": setting(runs[0].config),
        "measures": MEASURES,
        "scale": asdict(Scale()),
        "rate": f"{_RATE:g} falling to 0 by half a cosine, Adam anew",
        "runs": {run.path.name: run.environment["commit"] for run in (*runs, *controls, *coarse)},
        "ways": summarise(found, longer),
        "longer": {
            str(steps): {"seeds": sorted(ends), **over(ends), "less_reference": compared(ends, reference)}
            for steps, ends in longer.items()
            if ends.keys() & reference.keys()
        },
        "precisions": [
            {"precision": precision, "way": way, "seeds": sorted(ends), "less_main": compared(ends, found[way, None])}
            for (precision, way), ends in rounded.items()
            if ends.keys() & found.get((way, None), {}).keys()
        ],
        "evaluated": {"date": today(), **environment(torch.device("cpu"))},
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "continued.json", one_estimate_a_line(as_json(summary)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.continued", description=__doc__)
    parser.add_argument("runs", type=Path, help="the folder of run folders")
    parser.add_argument("--out", type=Path, required=True, help="where continued.json goes")
    parser.add_argument("--values", type=Path, default=Path("runs/long-values"), help="what was measured before")
    parser.add_argument(
        "--steps", type=int, nargs="*", default=[300, 1000], help="lengths of the continuation, or none"
    )
    given = parser.parse_args()
    avoid_page_faults()
    torch.set_num_threads(1)
    evaluate(given.runs, given.out, given.values, tuple(given.steps))


if __name__ == "__main__":
    main()
