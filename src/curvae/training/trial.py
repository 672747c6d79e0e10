"""The objective on a few data before anything is written: what does not fit is found by trying."""

from __future__ import annotations

import inspect
from contextlib import suppress

import torch
from torch.nn.parameter import is_lazy

from curvae._checks import a_kind
from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.data import Batch, Dataset, as_float
from curvae.errors import IndefiniteError, InputError
from curvae.likelihoods.masked import takes_missing
from curvae.metrics.codes import deployed
from curvae.objectives import Objective, Terms
from curvae.runs import RunConfig
from curvae.runs.checks import cure
from curvae.runs.fields import PYTHON
from curvae.runs.spelling import own_beta
from curvae.training.module import at_its_conditions
from curvae.training.schedule import warmed

_NLL = "nll"
_TRIED = 4
# among which those are looked for that have gaps
_LOOKED_AT = 1000


def fill_lazy(config: RunConfig, model: Autoencoder, dataset: Dataset) -> None:
    """Let the lazy layers of a model that was just built take their shapes from the data, and weights from the seed.

    The other layers have theirs from it already. What cannot be run is left as it is: it is tried later, and refused.
    """
    if not any(is_lazy(value) for value in (*model.parameters(), *model.buffers())):
        return
    at, x = at_its_conditions(model, typed(dataset.half()[:_TRIED], config))
    with torch.random.fork_rng(devices=[]), deployed(model), suppress(Exception), torch.no_grad():
        torch.default_generator.manual_seed(config.seed)
        at.decode(at.encode(x))


def check_arguments(objective: Objective) -> None:
    """Refuse a function that cannot be called as an objective is; what has no signature is tried as it is.

    Raises:
        InputError: it takes other arguments.

    Example:
        >>> check_arguments(lambda model, x: None)
        Traceback (most recent call last):
        curvae.errors.InputError: the objective takes (model, x); expected objective(model, x, generator), ...
    """
    try:
        taken = inspect.signature(objective)
    except (TypeError, ValueError):
        return
    try:
        taken.bind(None, None, None)
    except TypeError as error:
        raise InputError(
            f"the objective takes {taken}; expected objective(model, x, generator), as it is called: {error}"
        ) from None


def try_out(config: RunConfig, model: Autoencoder, objective: Objective, dataset: Dataset) -> None:
    """Evaluate the objective and its gradient once, in eval mode; the model stays as it is.

    While β rises it is that of the first step, where a closed form is most likely not to exist.

    Raises:
        InputError: the objective does not exist, or numbers of the run's precision cannot hold it, its gradient or the
            gradient's square, which Adam needs.
    """
    at, x = at_its_conditions(model, typed(dataset.half()[_some(objective, dataset)], config))
    try:
        with deployed(model):
            first = warmed(objective, config, 0) if config.beta_warmup else objective
            terms = first(at, x, torch.Generator())
            if not isinstance(terms, Terms):
                raise InputError(
                    f"the objective returned {a_kind(terms)}; expected curvae.objectives.Terms, named parts "
                    "with a number for each sample"
                )
            terms.mean().backward()
        wrong = _wrong(terms, model)
    except IndefiniteError as error:
        raise InputError(f"curvature is {config.curvature} but {error}") from error
    except (ArithmeticError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
        wrong = f"cannot be computed ({' '.join(str(error.args[-1]).split())[:100]})"
    finally:
        model.zero_grad()
    if wrong and bool(x.isnan().any()):
        _check_codes(at, x)
    if wrong:
        advice = cure(dataset, config, "choose a scale for the likelihood, or for the data, that is nearer to 1")
        own, likelihood = own_beta(objective), config.likelihood
        likelihood = str(getattr(objective, "likelihood", PYTHON)) if likelihood == PYTHON else likelihood
        beta = "" if own is None else f", beta {own:g}"
        raise InputError(
            f"the objective {wrong} on {dataset.name} before the first step: likelihood is {likelihood}{beta}, "
            f"and the data have values from {float(x.min()):.3g} to {float(x.max()):.3g}; {advice}"
        )


def _some(objective: Objective, dataset: Dataset) -> slice | Tensor:
    """The first few samples; of data with gaps some that have both gaps and values, and else some that have values."""
    if not takes_missing(getattr(objective, "likelihood", None)):
        return slice(_TRIED)
    missing = dataset.train[:_LOOKED_AT].flatten(1).isnan()
    whole, nothing = ~missing.any(1), missing.all(1)
    return (whole.long() + 2 * nothing.long()).argsort(stable=True)[:_TRIED]


@torch.no_grad()
def _check_codes(at: Model, x: Tensor) -> None:
    """Refuse an encoder that hands on what is missing."""
    if not bool(at.encode(x).isfinite().all()):
        raise InputError(
            "values are missing (NaN) and the encoder makes NaN of them; build it as curvae.nn.Observed(network), "
            "which gives the network 0 in their place and beside it which values there are: twice as many inputs"
        )


def typed(data: Tensor | Batch, config: RunConfig) -> Tensor | Batch:
    """Data in the run's floating-point type."""
    x = data if isinstance(data, Batch) else as_float(data)
    return x.to(torch.float64) if config.precision == "64" else x


def _wrong(terms: Terms, model: Autoencoder) -> str | None:
    """What is wrong with an objective whose gradient was taken; None if nothing is."""
    infinite = [name for name, part in terms.parts.items() if not bool(part.isfinite().all())]
    if infinite:
        return f"is not finite ({', '.join(infinite)})"
    nll = terms.parts.get(_NLL)
    if nll is not None and bool((nll.abs() < torch.finfo(nll.dtype).tiny).all()):
        return "does not depend on the data (their nll is 0)"
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if not all(bool(gradient.square().isfinite().all()) for gradient in gradients):
        return "has a gradient whose square is not finite"
    return None
