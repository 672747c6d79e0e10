"""The one call by which an estimator trains."""

from __future__ import annotations

import signal
import warnings
from contextlib import suppress
from typing import Any

from curvae.autoencoder import Autoencoder
from curvae.errors import InputError
from curvae.metrics.left_out import SEEN, flat_at_codes
from curvae.objectives import GRAE, BetaVAE
from curvae.sklearn.conditions import Told
from curvae.training.errors import Stopped
from curvae.training.fit import fit

# what a run would measure now and then is not asked for here
_HELD_OUT = 2
# of steps, in a report
_LINES = 50


def train(
    model: Autoencoder,
    objective: GRAE | BetaVAE,
    told: Told,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    falling: bool,
    seed: int,
) -> list[dict[str, Any]]:
    """Minimise an objective over a table, in place, by the loop of :func:`curvae.fit` in a folder that is not kept.

    A signal that stops it goes on to whoever handles it, Ctrl-C as a ``KeyboardInterrupt``: an error would be a bad
    fit to a search for parameters, which goes on with the next one.

    Returns:
        The logged steps, as :attr:`curvae.runs.Run.metrics` has them.
    """
    device = told.x.device
    try:
        with warnings.catch_warnings():
            # remarks on the scale of the data, which the networks standardise
            warnings.filterwarnings("ignore", message="note: ", category=RuntimeWarning)
            run = fit(
                model,
                told.dataset(_HELD_OUT),
                objective,
                steps=steps,
                batch_size=min(batch_size, len(told.x)),
                lr=lr,
                schedule="cosine" if falling else "constant",
                seed=seed,
                device=device.type,
                checkpoint_every=steps,
                log_every=max(1, steps // _LINES),
                progress=False,
            )
    except Stopped as stopped:
        if stopped.signal == "SIGINT":  # where it is ignored, as in the workers of a search, too
            raise KeyboardInterrupt from stopped
        signal.raise_signal(signal.Signals[stopped.signal])
        raise
    model.to(device).eval()
    if falling and isinstance(objective, GRAE):
        with suppress(InputError):  # without it the fit is as good
            if found := flat_at_codes(*told.parts(model, SEEN)[0], objective):
                warnings.warn(f"{found}; take BetaVAE where they matter", RuntimeWarning, stacklevel=4)
    # what is held out there are samples of the training
    return [{name: value for name, value in line.items() if name != "held_out"} for line in run.metrics]
