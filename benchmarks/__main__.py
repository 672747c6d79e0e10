"""``python -m benchmarks``: a table on stderr, JSON on stdout, and a file if asked for."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import curvae
from benchmarks.measure import Row, commit
from curvae.files import write_atomic

SUITES = ("steps", "jacobian", "estimators", "uniqueness")


def _machine() -> dict[str, object]:
    info = Path("/proc/cpuinfo")  # Linux has the model's name here and nowhere else
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "curvae": curvae.__version__,
        "commit": commit(),
    }


def _table(rows: list[Row]) -> Table:
    table = Table("what", "size", "ms", "against", "ms", "ratio", "MB", "MB", title="time ÷ reference's time")
    for row in rows:
        memory = ["" if m is None else f"{m:.0f}" for m in (row.megabytes, row.reference_megabytes)]
        numbers = [f"{row.milliseconds:.1f}", row.reference, f"{row.reference_milliseconds:.1f}", f"{row.ratio:.2f}"]
        table.add_row(row.name, row.size, *numbers, *memory)
    return table


def main() -> None:
    """Run the suites named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help=f"default: all of {', '.join(SUITES)}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repetitions")
    parser.add_argument("--out", type=Path, help="write the JSON to this file as well")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    result: dict[str, object] = {"machine": _machine(), "quick": arguments.quick}
    for name in arguments.suites or SUITES:
        console.print(f"measuring {name} …")
        rows = importlib.import_module(f"benchmarks.{name}").run(arguments.quick)
        console.print(_table(rows))
        result[name] = [row.as_dict() for row in rows]
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    if arguments.out:
        write_atomic(arguments.out, lambda path: path.write_text(text + "\n"))


main()
