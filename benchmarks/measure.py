"""How this package measures: interleaved repetitions, medians, ratios; peak memory in a process of its own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One comparison: what was measured, at which size, and how many times the reference's time it took."""

    name: str
    size: str
    milliseconds: float
    reference: str
    reference_milliseconds: float
    megabytes: float | None = None
    reference_megabytes: float | None = None

    @property
    def ratio(self) -> float:
        """Time over the reference's time."""
        return self.milliseconds / self.reference_milliseconds

    def as_dict(self) -> dict[str, object]:
        """For JSON, the ratio included."""
        return {**asdict(self), "ratio": self.ratio}


def interleaved(sides: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median milliseconds of each side; they take turns, so that a slow spell of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions + 1):
        for name, act in sides.items():
            start = time.perf_counter()
            act()
            if repetition > 0:  # the first round warms up
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def peak_megabytes() -> float:
    """Peak resident memory of this process (Linux; ``ru_maxrss`` would count the parent's before the fork too)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def in_a_process(module: str, *arguments: str) -> dict[str, float]:
    """Run ``python -m module arguments`` and read the JSON object it prints last: a clean peak of memory."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False, timeout=900
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def commit() -> str:
    """Short hash of the commit that is measured."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
