"""The model of a run that is not finished: that of its last checkpoint."""

from __future__ import annotations

from curvae.autoencoder import Autoencoder
from curvae.errors import InputError
from curvae.runs import Run
from curvae.runs.commands import resume_command
from curvae.runs.export import check_tensors
from curvae.runs.own import Build
from curvae.runs.own_run import rebuilt
from curvae.training.resume import last_checkpoint


def latest_model(run: Run, model: Build | None = None) -> tuple[Autoencoder, int]:
    """The model of the last checkpoint of a run, which may be at work, in eval mode on the CPU, and its steps.

    What made a model of one's own is given, as for :func:`curvae.load`.

    Raises:
        InputError: there is no checkpoint yet, it is damaged, or does not fit the model.
    """
    checkpoint = last_checkpoint(run, run.config)
    if checkpoint is None:
        again = resume_command(run.path, run.config)
        raise InputError(
            f"{run.path} is not finished and has no checkpoint yet; wait for it, or continue with: {again}"
        )
    found = rebuilt(run.config, tuple(run.data["shape"]), model, folder=run.path, weights=checkpoint.model)
    try:
        check_tensors(checkpoint.model, found.state_dict())
        if checkpoint.average is not None:
            check_tensors(checkpoint.average, dict(found.named_parameters()))
    except InputError as error:
        raise InputError(f"{run.checkpoint} does not fit this run's model: {error}") from error
    found.load_state_dict(checkpoint.model)
    if checkpoint.average is not None:
        for name, value in found.named_parameters():
            value.data = checkpoint.average[name]
    return found.eval(), checkpoint.step
