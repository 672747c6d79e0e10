"""Several processes that train one model on parts of the same batches: who they are and what they tell each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from curvae._part import LostProcessError, Part, add_up
from curvae._typing import Float, Tensor
from curvae.errors import InputError

_TIMEOUT = timedelta(minutes=30)  # PyTorch's own for processes that wait: one may still read its data
_BEGUN, _FAILED = "begun", "failed"


class Group:
    """The processes of one training, of which this one is number ``rank``; number 0 is the one that speaks and writes.

    They have PyTorch's store in common before and after the connections between them.

    Raises:
        LostProcessError: (when used) another process is gone.
    """

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        self._connected = False

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def connect(self) -> None:
        """Let the others know that there is a training, or wait until there is; then connect to them."""
        if self.leads:
            self.store.set(_BEGUN, "")
        with _heard():
            self.store.wait([_BEGUN], _TIMEOUT)
            if self.store.check([_FAILED]):
                raise LostProcessError
            if not dist.is_initialized():
                backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
                dist.init_process_group(
                    backend, store=self.store, rank=self.rank, world_size=self.size, timeout=_TIMEOUT
                )
                self._connected = True

    def part(self, batch: int) -> Part:
        """What this process has of each batch."""
        return Part.of(batch, self.rank, self.size)

    def broadcast(self, value: Any) -> Any:
        """What process 0 has."""
        holder = [value]
        with _heard():
            dist.broadcast_object_list(holder)
        return holder[0]

    def any(self, *here: bool) -> list[bool]:
        """What is so in any process."""
        return [bool(count) for count in add_up(torch.tensor(here, dtype=torch.float32))]

    def add_gradients(self, parameters: Sequence[nn.Parameter], sums: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Give each process the sums of all their gradients, in one message, and of further numbers.

        A parameter that no process has a gradient for is left without one, as where there is one process. The sums are
        taken in the order of the parameters, so that a resumed run has the bits of an unbroken one.
        """
        found = [parameter.grad is not None for parameter in parameters]
        own = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        message = add_up(torch.cat([*(gradient.flatten() for gradient in own), sums.new_tensor(found), sums]))
        *gradients, flags, total = message.split([*(len(one.flatten()) for one in own), len(found), len(sums)])
        anywhere = [True] * len(found) if all(found) else (flags > 0).tolist()
        for parameter, zeros, gradient, there in zip(parameters, own, gradients, anywhere, strict=True):
            if there:
                parameter.grad = zeros.copy_(gradient.view_as(zeros))
        return total

    def check_same(self, model: nn.Module, step: int) -> None:
        """See that all processes have the same weights and running statistics.

        Raises:
            InputError: they have not.
        """
        state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
        sums = torch.stack([value.double().sum() for value in state.values()]).cpu()
        ours = torch.zeros(self.size, len(sums), dtype=torch.float64)
        ours[self.rank] = sums.nan_to_num()
        different = (add_up(ours) != ours[0]).any(0).tolist()
        names = [name for name, differs in zip(state, different, strict=True) if differs]
        if names:
            raise InputError(
                f"after step {step} the {self.size} processes have different {', '.join(names[:3])}; the network holds "
                "something of the samples that is not batch normalisation's statistics: train on one device"
            )

    def fail(self, message: str) -> None:
        """Let the others know why this process leaves; the first to say so is heard."""
        with suppress(RuntimeError):  # whoever held the store may be gone
            self.store.compare_set(_FAILED, "", message)
            self.store.set(_BEGUN, "")
        self.close()

    def close(self) -> None:
        """Leave the connections that were made here."""
        if self._connected:
            self._connected = False
            dist.destroy_process_group()

    def failure(self) -> str:
        """Why a process has left, as far as it could say so."""
        with suppress(RuntimeError):
            if self.store.check([_FAILED]):
                return str(self.store.get(_FAILED).decode())
        return "another process of the training is gone, perhaps killed or out of memory"


@contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(str(error)) from error


class _Place:
    """This process among those that a launcher has started."""

    found: tuple[Any, int, int] | None = None
    trainings = 0


def launched(devices: int) -> Group | None:
    """The group that this process was started in by torchrun, srun or the like; None if it was started alone.

    Under srun, whose tasks may be strangers to each other, there is one where more than one device is asked for.

    Raises:
        InputError: there are others, but not as many as asked for.
    """
    if _Place.found is None:
        if not is_launched(devices):
            return None
        _Place.found = next(dist.rendezvous("env://", timeout=_TIMEOUT))  # type: ignore[attr-defined]
    store, rank, size = _Place.found
    if devices not in (1, size):
        raise InputError(f"devices is {devices} but {size} processes were started; give {size}, or leave it out")
    _Place.trainings += 1
    # a store of its own for each training, where nothing is left of another
    return Group(numbered(store, _Place.trainings), rank, size)


def is_launched(devices: int) -> bool:
    """Whether torchrun, what sets the same variables, or srun for several devices has started this process and others.

    From then on it has the variables of torchrun.
    """
    if "RANK" not in os.environ and devices > 1 and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        _take_from_slurm()
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def numbered(store: Any, training: int) -> Any:
    """The part of a store that one training has."""
    return dist.PrefixStore(f"curvae-{training}", store)  # type: ignore[attr-defined]


def follows() -> bool:
    """Whether this process was started beside another one, which speaks and writes."""
    return _Place.found is not None and _Place.found[1] > 0


def _take_from_slurm() -> None:
    """srun's variables under the names that torchrun gives them; an address or port that is set already stays."""
    from lightning.pytorch.plugins.environments import SLURMEnvironment

    slurm = os.environ
    nodes = slurm.get("SLURM_STEP_NODELIST", slurm.get("SLURM_NODELIST", "127.0.0.1"))
    os.environ.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes))
    os.environ.setdefault("MASTER_PORT", str(15_000 + int(slurm.get("SLURM_JOB_ID", "0")) % 10_000))
    given = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_STEP_NUM_TASKS", "LOCAL_RANK": "SLURM_LOCALID"}
    os.environ.update({name: slurm[source] for name, source in given.items()})


def own_device(device: torch.device) -> torch.device:
    """The device of this process, of the kind that was chosen.

    Raises:
        InputError: there are fewer GPUs than processes.
    """
    if device.type != "cuda":
        return device
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= there:
        raise InputError(f"process {local} of this machine finds {there} GPUs; start as many, or choose device cpu")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


@contextmanager
def plainly_normalised(model: nn.Module) -> Iterator[None]:
    """Inside this context ``SyncBatchNorm`` calls what ``BatchNorm`` calls, which knows of all processes here.

    PyTorch's own has no CPU kernel, and none for forward mode.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.SyncBatchNorm)]
    for layer in layers:
        layer.forward = MethodType(_BatchNorm.forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
