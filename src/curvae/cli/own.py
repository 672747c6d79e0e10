"""``--model`` and ``--trust``: which code of one's own a command may run, and what is said when that code fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from curvae.errors import InputError

if TYPE_CHECKING:
    from curvae.autoencoder import Autoencoder
    from curvae.runs import Run, RunConfig
    from curvae.runs.builder import Builder


@dataclass(frozen=True)
class Code:
    """What a person lets a command run.

    Attributes:
        named: functions, as ``FILE.py:FUNCTION`` or ``package.module:function``.
        trust: whether also those that run folders name.
    """

    named: tuple[str, ...]
    trust: bool

    @classmethod
    def of(cls, named: list[str] | None, trust: bool) -> Code:
        """From the options."""
        return cls(tuple(named or ()), trust)

    def check(self, runs: Sequence[Run]) -> None:
        """Refuse a function that no run has a use for.

        Raises:
            InputError: all of them hold networks of curvae's.
        """
        held = {str(run.path): run.config.network for run in runs if not run.config.model}
        if self.named and held and len(held) == len(runs):
            first, network = next(iter(held.items()))
            raise InputError(f"--model is given, but {first} holds the network {network}; leave it out")

    def builder(self, run: Run) -> Builder | None:
        """What makes a run's model; None for a network of curvae's, or where nothing is named.

        Of several functions it is the one that the run was made with; one alone is taken for every run, so that a file
        may have moved.

        Raises:
            InputError: there is no such function, or it cannot be read.
        """
        from curvae.runs.builder import absolute_name, find_builder, source_digest
        from curvae.runs.fields import PYTHON

        name = run.config.model
        if not name:
            return None
        own = {absolute_name(one): one for one in self.named}
        if name not in own and len(own) != 1 and not (self.trust and name != PYTHON):
            if own:
                raise InputError(
                    f"{run.path} holds a model built by {name!r}, which --model does not name; name that too"
                )
            return None
        used = own.get(name) or (self.named[0] if len(own) == 1 else name)
        build = find_builder(used)
        before = run.environment.get("model")
        if before is not None and before != source_digest(build):
            place = used.rpartition(":")[0]
            typer.echo(
                f"note: {place} is not the code that {run.path} was trained with, or has changed since", err=True
            )
        return build

    def starting(self, config: RunConfig) -> Builder | None:
        """What makes the model of a run that begins.

        Raises:
            InputError: its name comes from a file alone, there is no such function, or it cannot be read.
        """
        from curvae.runs.builder import find_builder

        if not config.model:
            return None
        if not self.named and not self.trust:
            raise InputError(
                f"the file of --config names a model, {config.model!r}, whose code would be run; name it with --model "
                "as well, or trust the file with --trust"
            )
        return find_builder(config.model)

    def latest(self, run: Run) -> tuple[Autoencoder, int]:
        """A run's model, that of its last checkpoint where it is not finished, and the steps it has done.

        Raises:
            InputError: it has no checkpoint yet, or one that is damaged.
        """
        if run.finished:
            return run.model(self.builder(run)), run.config.steps
        from curvae.training.latest import latest_model

        model, step = latest_model(run, self.builder(run))
        note = f"{run.path} is not finished: this is its checkpoint of step {step} of {run.config.steps}"
        typer.echo(f"note: {note}", err=True)
        return model, step

    def shown(self, run: Run) -> tuple[Autoencoder, int] | None:
        """The same, or None for a run without a checkpoint."""
        return self.latest(run) if run.finished or run.checkpoint.exists() else None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say of an error in a person's own code where it is, while work with it is under way.

        Raises:
            InputError: with file, line and error.
        """
        if not self.named and not self.trust:
            yield
            return
        from curvae.runs.builder import own_code

        with own_code(self.named[0].rpartition(":")[0] if self.named else "the model"):
            yield
