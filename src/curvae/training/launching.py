"""Further processes on this machine, where several devices are asked for and nobody has started them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.process import BaseProcess

import torch
import torch.distributed as dist

from curvae._part import LostProcessError
from curvae.errors import InputError
from curvae.memory import avoid_page_faults
from curvae.runs.builder import find_builder
from curvae.runs.handed import Handed
from curvae.training.devices import Group, launched, numbered
from curvae.training.errors import TrainingError
from curvae.training.several import follow

_HERE = "127.0.0.1"
_GRACE = 20.0  # seconds for a process that is done to leave
_GUARD = (
    'a script must keep what it runs under if __name__ == "__main__":, or be started with torchrun --nproc-per-node'
)


@dataclass(frozen=True)
class Launch:
    """What the other processes need besides what the first one tells them.

    Args:
        name: of the function that makes a model of one's own, as a person named it; ``""`` for none.
        handed: model, data and objective that were handed over as objects.
    """

    name: str = ""
    handed: Handed = field(default=Handed())

    @cached_property
    def sent(self) -> bytes:
        """The objects, as they travel.

        Raises:
            InputError: they cannot.
        """
        try:
            return pickle.dumps((self.handed.model, self.handed.data, self.handed.objective))
        except Exception as error:  # whatever a person's class raises
            raise InputError(
                f"several devices need model, data and objective sent to other processes, and one cannot be "
                f"({type(error).__name__}: {error}); start the script with torchrun --nproc-per-node N instead"
            ) from error

    def check(self) -> None:
        """Refuse what cannot be sent, and a script that would be run again by each process.

        Raises:
            InputError: it is so.
        """
        if not dist.is_available():
            raise InputError("several devices need torch.distributed, which this PyTorch was built without; use one")
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise InputError(f"another process runs this script from its top; {_GUARD}")
        _ = self.sent

    @contextmanager
    def start(self, devices: int) -> Iterator[Group]:
        """Start the others and stop them at the end.

        Raises:
            TrainingError: one of them does not start.
        """
        self.check()
        store = dist.TCPStore(_HERE, 0, devices, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
        before = torch.get_num_threads()
        threads = max(1, before // devices)
        context = multiprocessing.get_context("spawn")
        arguments = (devices, store.port, threads, self.name, self.sent)
        others: list[BaseProcess] = [
            context.Process(target=_work, args=(rank, *arguments)) for rank in range(1, devices)
        ]
        group = Group(numbered(store, 1), 0, devices)  # the first of the others' trainings
        torch.set_num_threads(threads)
        try:
            for other in others:
                other.start()
            _wait(group, others)
            yield group
        finally:
            torch.set_num_threads(before)
            group.close()
            _end(others)


def _wait(group: Group, others: list[BaseProcess]) -> None:
    for rank, other in enumerate(others, start=1):
        while not group.store.check([f"here/{rank}"]):
            if other.exitcode is not None:
                raise TrainingError(f"process {rank} of {group.size} ended before the training began; {_GUARD}")
            time.sleep(0.02)


def _end(others: list[BaseProcess]) -> None:
    until = time.monotonic() + _GRACE
    for other in others:
        if other.pid is not None:
            other.join(max(0.0, until - time.monotonic()))
            if other.is_alive():
                other.kill()
                other.join()


def _work(rank: int, size: int, port: int, threads: int, name: str, sent: bytes) -> None:
    """The whole of another process; what goes wrong is told to the first one."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": _HERE, "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in variables.items()})
    warnings.simplefilter("ignore")  # the first process says the same
    avoid_page_faults()
    torch.set_num_threads(threads)
    group = launched(size)
    assert group is not None
    group.store.set(f"here/{rank}", "")
    try:
        model, data, objective = pickle.loads(sent)
        follow(group, Handed(find_builder(name) if name else model, data, objective))
    except (InputError, TrainingError, LostProcessError):
        sys.exit(1)  # the first process knows
    except Exception as error:
        group.fail(f"process {rank} of {size} failed ({type(error).__name__}: {error})")
        if os.environ.get("CURVAE_TRACEBACK"):
            raise
        sys.exit(1)
