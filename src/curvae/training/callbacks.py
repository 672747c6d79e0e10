"""What happens between steps: lines of metrics and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from curvae._transforms import uncompiled
from curvae._typing import Float, Tensor
from curvae.data.paired import Batch, values
from curvae.metrics.codes import deployed
from curvae.objectives import Terms
from curvae.runs import RunConfig
from curvae.runs.lines import append_line
from curvae.training.batch_norm import SAMPLES, PreciseBatchNorm
from curvae.training.checkpoint import Checkpoint, all_finite
from curvae.training.devices import Group
from curvae.training.divergence import Watch
from curvae.training.errors import TrainingError
from curvae.training.interrupts import Interrupts
from curvae.training.module import Training, joined
from curvae.training.noise import step_generator
from curvae.training.stopping import EarlyStop

# of the steps since the last held-out values, so many batches are passed once more for the batch-norm statistics
_AGAIN = 1 / 20
# beyond every step, and the same for a run that is lengthened
_HELD_OUT_NOISE = 2**63


class Recorder(Callback):
    """Writes a line of metrics every ``log_every`` steps, with held-out values every ``checkpoint_every``.

    Held-out values are taken with batch-norm statistics estimated anew, which stay in the model: at the end these are
    the finished model's. Of several processes one writes. ``seconds`` is the training time before this start,
    ``latest`` the last line.
    """

    def __init__(
        self,
        path: Path,
        config: RunConfig,
        held_out: Float[Tensor, "N *D"] | Batch,
        batch_norm: PreciseBatchNorm,
        watch: Watch,
        seconds: float = 0.0,
        stop: EarlyStop | None = None,
        writes: bool = True,
    ) -> None:
        self.writes = writes
        self.path, self.config, self.held_out, self.batch_norm, self.watch = path, config, held_out, batch_norm, watch
        self.stop = stop
        self.latest: dict[str, Any] = {}
        self._before = seconds
        self._begin = time.perf_counter() - seconds

    @property
    def seconds(self) -> float:
        """Training time so far, over all starts."""
        return time.perf_counter() - self._begin

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the set-up out of the time."""
        self._begin = time.perf_counter() - self._before

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Write a line if it is time for one."""
        assert isinstance(pl_module, Training)
        step, config = pl_module.step, self.config
        assert pl_module.terms is not None
        self.watch.begin(pl_module.terms)
        look = step % config.checkpoint_every == 0 or step == config.steps
        if not look and step % config.log_every:
            return
        pl_module.check(pl_module.terms.mean(), step)
        record: dict[str, Any] = {"step": step, "seconds": round(self.seconds, 3), **means(pl_module.terms)}
        if look:
            with pl_module.deployed():
                record["batch_norm_samples"] = self.batch_norm(pl_module, self._samples(step))
                held_out_terms = self._held_out(pl_module)
                pl_module.check(held_out_terms.mean(), step)
                record["held_out"] = {"samples": len(values(self.held_out)), **means(held_out_terms)}
                if self.stop is not None:
                    self.stop.look(_agreed(record["held_out"]["total"], pl_module), step, pl_module.model)
            trainer.should_stop = trainer.should_stop or (self.stop is not None and self.stop.due)
        if self.writes:
            append_line(self.path, record)
        self.latest = record
        self.watch.look(record["total"], step)

    def _samples(self, step: int) -> int:
        config = self.config
        return SAMPLES if step == config.steps else int(_AGAIN * config.checkpoint_every) * config.batch_size

    def _held_out(self, module: Training) -> Terms:
        # the same noise each time, so that the values differ by the weights alone
        generator = step_generator(self.config.seed, _HELD_OUT_NOISE, module.device)
        # a compiled network would be compiled anew for eval mode and the last batch's size
        with deployed(module.model), torch.no_grad(), uncompiled():
            batches = self.held_out.split(self.config.batch_size)
            return joined([module.evaluated(batch, generator, module.step) for batch in batches])


def _agreed(value: float, module: Training) -> float:
    """One value for all processes: on GPUs two may differ in the last digit."""
    return value if module.group is None else float(module.group.broadcast(value))


class Together(Callback):
    """Ends the training of all processes after the same step, and sees that they train the same model.

    The models are looked at after the first step and ``every`` so many.
    """

    def __init__(self, group: Group, interrupts: Interrupts, every: int) -> None:
        self.group, self.interrupts, self.every = group, interrupts, every
        self._looked = False

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Ask the others; this is the last callback, so that all have had their say."""
        assert isinstance(pl_module, Training)
        if not self._looked or pl_module.step % self.every == 0:
            self._looked = True
            self.group.check_same(pl_module.model, pl_module.step)
        received = self.interrupts.received is not None
        stop, signalled = self.group.any(trainer.should_stop or received, received)
        trainer.should_stop = stop
        if signalled and not received:
            self.interrupts.received = "a signal to another process"


class Checkpoints(Callback):
    """Keeps ``checkpoints/last.ckpt`` every ``checkpoint_every`` steps and at the end, planned or not.

    ``seconds`` tells the training time so far; ``saved`` is the step that the file holds already, 0 for none.
    """

    def __init__(
        self,
        path: Path,
        config: RunConfig,
        digest: str,
        watch: Watch,
        seconds: Callable[[], float],
        saved: int = 0,
        stop: EarlyStop | None = None,
    ) -> None:
        self.path, self.config, self.digest, self.watch = path, config, digest, watch
        self.seconds, self.saved, self.stop = seconds, saved, stop

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Save if it is time to, unless this would replace a good state by one that has run away."""
        assert isinstance(pl_module, Training)
        if pl_module.step % self.config.checkpoint_every == 0 and not self.watch.ran_away(pl_module.total()):
            self._save(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what was done since, whether all steps are done or a signal stopped them."""
        assert isinstance(pl_module, Training)
        if pl_module.step != self.saved:
            self.watch.check(pl_module.total(), pl_module.step)
            self._save(pl_module)

    def _save(self, module: Training) -> None:
        if not all_finite(module.model, module.optimizer):
            raise TrainingError(
                f"training has diverged: a weight, or the optimiser's record of its gradients, is not finite after "
                f"step {module.step}; {module.cure}"
            )
        model, optimizer = dict(module.model.state_dict()), module.optimizer.state_dict()
        seconds, start = self.seconds(), self.watch.start
        average = None if module.average is None else module.average.weights
        best = None if self.stop is None else self.stop.state()
        Checkpoint(self.config, self.digest, module.step, seconds, model, optimizer, start, average, best).save(
            self.path
        )
        self.saved = module.step


def means(terms: Terms) -> dict[str, Any]:
    """Batch means of the objective and of its parts, fit for JSON."""
    parts = {name: float(part.detach().mean()) for name, part in terms.parts.items()}
    return {"total": float(terms.mean().detach()), "parts": parts}
