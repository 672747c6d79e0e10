"""``python -m benchmarks``: a table on stderr, JSON on stdout, and files if asked for."""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row, Stopwatch, machine
from curvae.files import write_atomic
from curvae.memory import avoid_page_faults
from curvae.runs.device import choose_device

SUITES = ("steps", "loop", "compiled", "cpu", "jacobian", "estimators", "scaling", "uniqueness", "decoders")
# the others are about a CPU
ON_A_GPU = ("steps", "compiled", "jacobian", "decoders")


def _table(rows: list[Row]) -> Table:
    table = Table(
        "what", "size", "ms", "against", "ms", "ratio", "MB", "MB", "images/s", title="time ÷ reference's time"
    )
    for row in rows:
        memory = ["" if m is None else f"{m:.0f}" for m in (row.megabytes, row.reference_megabytes)]
        images = "" if row.images_per_second is None else f"{row.images_per_second:.0f}"
        numbers = [f"{row.milliseconds:.1f}", row.reference, f"{row.reference_milliseconds:.1f}", f"{row.ratio:.2f}"]
        table.add_row(row.name, row.size, *numbers, *memory, images)
    return table


def main() -> None:
    """Run the suites named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help=f"default: all of {', '.join(SUITES)}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repetitions")
    parser.add_argument("--device", default="cpu", help=f"cpu or cuda (suites {', '.join(ON_A_GPU)})")
    parser.add_argument(
        "--processor-time", action="store_true", help="for a machine in use; best with OMP_NUM_THREADS=1"
    )
    parser.add_argument("--out", type=Path, help="write one JSON file for each suite into this folder as well")
    arguments = parser.parse_args()
    avoided = avoid_page_faults()
    watch = Stopwatch(choose_device(arguments.device), arguments.processor_time)
    suites = arguments.suites or (SUITES if watch.device.type == "cpu" else ON_A_GPU)
    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = 200  # or a table would be cut to 80 columns
    results: dict[str, object] = {}
    for name in suites:
        console.print(f"measuring {name} …")
        begin = time.perf_counter()
        suite = importlib.import_module(f"benchmarks.{name}")
        rows = suite.run(arguments.quick, watch)
        console.print(_table(rows))
        result = {
            "machine": machine(watch) | {"page_faults_avoided": avoided},
            "quick": arguments.quick,
            "seconds": round(time.perf_counter() - begin),
            name: [row.as_dict() for row in rows],
        }
        results[name] = result
        if arguments.out:
            text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
            write_atomic(arguments.out / f"{name}.json", lambda path, text=text: path.write_text(text))
            if hasattr(suite, "draw"):
                write_atomic(arguments.out / f"{name}.png", lambda path, suite=suite, rows=rows: suite.draw(rows, path))
    print(json.dumps(results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
