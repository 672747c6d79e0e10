"""Where the runs of a sweep are trained: in this process, in several on this machine, or on a SLURM cluster."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from curvae._extras import require
from curvae.data.notes import said_already
from curvae.errors import InputError
from curvae.memory import avoid_page_faults
from curvae.reproduce import cores
from curvae.runs import RunConfig
from curvae.runs.taking import TakenError
from curvae.terminal import remark, show_warning
from curvae.training import Outcome, TrainingError, train
from curvae.training.arguments import with_arguments

# seconds that a worker has to write its checkpoint
_GRACE = 20.0
# seconds between two looks at a run that another command trains
_PAUSE = 5.0


@dataclass(frozen=True)
class Task:
    """One run to train, or to go on with; called where it is trained. One that another command trains is waited for.

    Attributes:
        config: what to train.
        path: the run folder.
        keep: steps after which the model is kept.
    """

    config: RunConfig
    path: Path
    keep: tuple[int, ...] = ()

    def __call__(self) -> None:
        """Train to the end.

        Raises:
            InputError: the configuration or the folder cannot be used.
            TrainingError: the run diverged or was stopped.
        """
        try:
            with said_already(), with_arguments():  # of the data, when the figure read them
                outcome = self._train()
        except TrainingError as error:
            raise TrainingError(f"{self.path.name}: {error}") from error
        if outcome.stopped_by or not outcome.finished:
            raise TrainingError(
                f"stopped by {outcome.stopped_by} after step {outcome.step} of {self.config.steps} of "
                f"{self.path.name}; the same command continues from there"
            )

    def _train(self) -> Outcome:
        waited = False
        while True:
            try:
                return train(self.config, self.path, resume=(self.path / "config.json").exists(), keep=self.keep)
            except TakenError:  # that it holds a run, too: another command has begun it since
                if not waited:
                    remark(f"note: {self.path} is being trained by another process, which is waited for")
                waited = True
                time.sleep(_PAUSE)

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue when the cluster takes the machine away."""
        return importlib.import_module("submitit").helpers.DelayedSubmission(self)


@runtime_checkable
class Launcher(Protocol):
    """Something that trains runs."""

    def train(self, tasks: Sequence[Task]) -> None:
        """Train them all, in any order; raise the first error."""


@dataclass(frozen=True)
class Local:
    """This machine; with one worker runs are trained one after another in this process.

    Example:
        >>> Local().train([])
    """

    workers: int = 1

    def train(self, tasks: Sequence[Task]) -> None:
        """Train all, with the cores shared among the workers."""
        if self.workers == 1 or len(tasks) < 2:
            for task in tasks:
                task()
            return
        # a forked copy of a process that has run PyTorch hangs
        context = multiprocessing.get_context("spawn")
        # no Event: setting one waits for ever for a process that was killed while it waited
        stop = context.RawValue("b", 0)
        threads = max(1, cores.usable() // self.workers)
        pool = ProcessPoolExecutor(self.workers, context, _begin_worker, (stop, threads))
        waiting, running = iter(tasks), set[Future[None]]()
        try:
            while True:
                # one for each worker and no more: the pool would begin those in its queue, whatever has happened
                with _without_interrupts():
                    running |= {pool.submit(task) for task in islice(waiting, self.workers - len(running))}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BrokenProcessPool:
            stop.value = 1
            raise TrainingError(
                "a worker process was killed, perhaps for want of memory; the same command goes on, try fewer --workers"
            ) from None
        except BaseException:
            stop.value = 1  # the others keep a checkpoint and end after the step they are in
            raise
        finally:
            pool.shutdown()


@dataclass(frozen=True)
class Cluster:
    """SLURM, through submitit: one job a run. A job that is pre-empted or runs out of time is submitted again.

    Args:
        folder: for the jobs' scripts and logs, on a disk that all machines see (as the run folders must be).
        parameters: of ``submitit.AutoExecutor.update_parameters``, for example ``{"slurm_partition": "gpu",
            "timeout_min": 240, "gpus_per_node": 1}``.
        cluster: ``None`` is SLURM where there is one and this machine else; ``"local"`` is this machine.

    Example:
        >>> Cluster(Path("jobs"), {"timeout_min": 240}).parameters["timeout_min"]
        240
    """

    folder: Path
    parameters: Mapping[str, Any]
    cluster: str | None = None

    def train(self, tasks: Sequence[Task]) -> None:
        """Submit all and wait for them; an interruption or an error cancels those that are left."""
        executor = self._executor()
        jobs: list[Any] = []
        try:
            # one by one into the list, so that an interruption cancels those that are submitted
            jobs.extend(executor.submit(task) for task in tasks)
            while not all(job.done() for job in jobs):
                if any(job.done() and job.exception() is not None for job in jobs):
                    break
                time.sleep(1.0)
            for job in (job for job in jobs if job.done()):
                error = job.exception()
                if error is not None:
                    raise TrainingError(f"job {job.job_id} failed: {_reason(error)}; its log is {job.paths.stderr}")
        finally:
            for job in jobs:
                if not job.done():
                    job.cancel()

    def _executor(self) -> Any:
        require("--cluster needs", "submitit", extra="cluster")
        submitit = importlib.import_module("submitit")
        try:
            executor = submitit.AutoExecutor(folder=self.folder, cluster=self.cluster)
            executor.update_parameters(**self.parameters)
        except (TypeError, ValueError, NameError, RuntimeError) as error:
            raise InputError(f"--cluster: {' '.join(str(error).split())[:300]}") from error
        return executor


def _reason(error: BaseException) -> str:
    """The line that matters of the traceback that a failed job sends back."""
    lines = [line.strip() for line in str(error).splitlines() if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
    return lines[-1] if lines else " ".join(str(error).split())[:300]


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """For processes that are started here Ctrl-C, which a terminal sends to all, is not theirs to answer."""
    if sys.platform == "win32":  # which has no masks
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(stop: Any, threads: int) -> None:
    """Share the cores, and end in good order when asked to or when the parent is gone."""
    torch.set_num_threads(threads)
    avoid_page_faults()
    warnings.showwarning = show_warning
    parent = multiprocessing.parent_process()

    def watch() -> None:
        while not stop.value and parent is not None and parent.is_alive():
            time.sleep(1.0)
        # again and again: the end of a run takes the first, and the pool may leave this worker waiting for ever
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(_GRACE)

    threading.Thread(target=watch, daemon=True).start()
