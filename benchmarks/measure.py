"""How this package measures: interleaved repetitions, medians, ratios; peak memory in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import curvae

Act = Callable[[], object]


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
    images_per_second: float | None = None
    share_of_matrix_throughput: float | None = None
    letter: str | None = None
    amount: int | None = None
    exponents: dict[str, float] | None = None
    operations_ratio: float | None = None

    @property
    def ratio(self) -> float:
        """Time over the reference's time."""
        return self.milliseconds / self.reference_milliseconds

    def as_dict(self) -> dict[str, object]:
        """For JSON, the ratio included, what was not measured left out."""
        return {key: value for key, value in asdict(self).items() if value is not None} | {"ratio": self.ratio}


@dataclass(frozen=True)
class Stopwatch:
    """A clock for work on a device.

    Attributes:
        device: on a GPU an act is waited for, so that its time is that of the work and not of handing it over.
        processor: count processor time instead of the wall's, all threads together: on a machine that others use too,
            one thread's processor time is what its wall time would be on an idle one.
    """

    device: torch.device
    processor: bool = False

    def now(self) -> float:
        """Seconds since some moment, when everything given to the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.process_time() if self.processor else time.perf_counter()


def interleaved(sides: Mapping[str, Act], repetitions: int, watch: Stopwatch) -> dict[str, float]:
    """Median milliseconds of each side; they take turns, so that a slow spell of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions + 1):
        for name, act in sides.items():
            start = watch.now()
            act()
            if repetition > 0:  # the first round warms up
                times[name].append(1e3 * (watch.now() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def training_step(
    loss: Callable[[], torch.Tensor],
    optimiser: torch.optim.Optimizer,
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Act:
    """Forwards, backwards and the optimiser's update."""

    def step() -> None:
        optimiser.zero_grad()
        with precision():
            value = loss()
        value.backward()
        optimiser.step()

    return step


class _Operations(TorchDispatchMode):
    """Adds up what PyTorch's formulas say of each call.

    Its own counter also tracks modules by hooks, which rows of primals and tangents and gradients inside a forward pass
    do not go together with.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=output)
        return output


def flops(act: Act) -> int:
    """Floating-point operations of the matrix products and convolutions in one call."""
    with _Operations() as operations:
        act()
    return operations.total


def matrix_throughput(watch: Stopwatch, dtype: torch.dtype, size: int = 2048) -> float:
    """Operations a second of a square matrix product, the best of seven: what this machine can do at all."""
    a, b = (torch.randn(size, size, device=watch.device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        start = watch.now()
        a @ b
        best = min(best, watch.now() - start)
    return 2 * size**3 / best


def peak_megabytes() -> float:
    """Peak resident memory of this process (Linux; ``ru_maxrss`` would count the parent's before the fork too)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def extra_megabytes(warm: Act, act: Act) -> float:
    """Peak memory of an act over what the process holds before it (Linux); what ``warm`` loads does not count."""
    warm()
    before = int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    act()
    return peak_megabytes() - before


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


def machine(watch: Stopwatch) -> dict[str, object]:
    """What the numbers were taken on."""
    info = Path("/proc/cpuinfo")  # Linux has the model's name here and nowhere else
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    gpu = {"gpu": torch.cuda.get_device_name(watch.device)} if watch.device.type == "cuda" else {}
    return {
        "clock": "processor time" if watch.processor else "wall time",
        "device": watch.device.type,
        **gpu,
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16_dot_products": any("avx512_bf16" in line for line in lines),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "curvae": curvae.__version__,
        "commit": commit(),
    }
