"""An objective in the words of a configuration: :func:`curvae.runs.build_objective` the other way round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from curvae._checks import is_finite
from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.curvature import Columns, Coordinates, Estimator, Exact, Fraction, Lanczos, Secants, Signs, Trace
from curvae.errors import InputError
from curvae.likelihoods import (
    Bernoulli,
    BernoulliLogits,
    ContinuousBernoulli,
    Gaussian,
    Laplace,
    LearnedGaussian,
    Likelihood,
    NegativeBinomial,
    Poisson,
    StudentT,
)
from curvae.objectives import GRAE, RAE, BetaVAE, Taylor, Terms
from curvae.posteriors import Structure
from curvae.runs.fields import PYTHON
from curvae.runs.own_run import name_or_python, structure_name
from curvae.runs.parts import build_estimator

# each with the attributes that follow the name
_NAMES: Mapping[type[Likelihood], tuple[str, ...]] = {
    Gaussian: ("gaussian", "sigma"),
    LearnedGaussian: ("gaussian:learned",),
    Laplace: ("laplace", "scale"),
    StudentT: ("student-t", "dof", "scale"),
    Bernoulli: ("bernoulli",),
    BernoulliLogits: ("bernoulli-logits",),
    ContinuousBernoulli: ("continuous-bernoulli",),
    Poisson: ("poisson",),
    NegativeBinomial: ("negative-binomial", "dispersion"),
}

# a class derived from one of these may estimate or draw otherwise
_ESTIMATORS = (Exact, Columns, Secants, Lanczos, Trace, Fraction)
_PROBES = (Signs, Coordinates, type(None))


def spelled(objective: Callable[..., Terms]) -> dict[str, Any]:
    """The fields of a configuration that say an objective.

    Where a part of it has no word, the objective is ``"python"``, with what can be said of its β, structure and
    observation model.

    Example:
        >>> spelled(GRAE(0.2, Gaussian(0.1), estimator=Exact()))
        {'objective': 'grae', 'beta': 0.2, 'structure': 'full', 'estimator': 'exact', 'likelihood': 'gaussian:0.1'}
        >>> spelled(lambda model, x, generator=None: Terms({}))
        {'objective': 'python', 'likelihood': 'python'}
    """
    try:
        return _spelled(objective)
    except InputError:
        return _unspelled(objective)


def spelled_with(objective: Callable[..., Terms], model: Autoencoder) -> dict[str, Any]:
    """The same with the structure of the model's posterior, where the objective has none of its own.

    Example:
        >>> from torch import nn
        >>> from curvae.posteriors import Full
        >>> model = Autoencoder(nn.Linear(5, 4), nn.Linear(2, 5), latents=2, structure=Full())
        >>> spelled_with(BetaVAE(0.2), model)["structure"]
        'full'
    """
    found = spelled(objective)
    if "structure" not in found and model.structure is not None:
        found["structure"] = name_or_python(model.structure)
    return found


def likelihood_name(likelihood: Likelihood) -> str:
    """What a run calls an observation model.

    Raises:
        InputError: it has no name.

    Example:
        >>> likelihood_name(StudentT(4.0, 0.1))
        'student-t:4.0:0.1'
    """
    if type(likelihood) not in _NAMES:
        raise InputError(f"{likelihood} has no name in a run")
    if isinstance(likelihood, LearnedGaussian) and (likelihood.floor or likelihood.log_sigma.dim()):
        raise InputError(f"{likelihood} with a floor, or with a σ of each output, has no name in a run")
    name, *numbers = _NAMES[type(likelihood)]
    text = ":".join([name, *(repr(getattr(likelihood, number)) for number in numbers)])
    return "gaussian" if text == "gaussian:1.0" else text


def estimator_name(estimator: Estimator) -> str:
    """What a run calls an estimator.

    Raises:
        InputError: it has no name.

    Example:
        >>> estimator_name(Fraction(Columns(1), 0.125))
        'fraction:0.125:columns:1'
    """
    _check_known(estimator)
    match estimator:
        case Exact():
            text = "exact"
        case Columns():
            text = f"columns:{estimator.count}"
        case Secants(step=None):
            text = f"secants:{estimator.count}" + ":central" * estimator.central
        case Lanczos(probes=Signs() as probes):
            text = f"lanczos:{probes.count}:{estimator.depth}"
        case Trace(probes=None):
            text = "trace"
        case Trace(probes=Signs() as probes):
            text = f"trace:{probes.count}"
        case Fraction():
            text = f"fraction:{estimator.fraction!r}:{estimator_name(estimator.estimator)}"
        case _:
            raise InputError(f"{estimator} has no name in a run")
    own = [getattr(estimator, "probabilities", None), getattr(getattr(estimator, "probes", None), "basis", None)]
    if any(value is not None for value in own) or repr(build_estimator(text)) != repr(estimator):
        raise InputError(f"{estimator} has no name in a run")
    return text


def own_beta(objective: Callable[..., Terms], name: str = "beta") -> float | None:
    """The number that an objective has as its β, or under another name; None where it has none.

    Example:
        >>> own_beta(BetaVAE(8.0)), own_beta(lambda model, x: None)
        (8.0, None)
    """
    own = getattr(objective, name, None)
    own = own.item() if isinstance(own, Tensor) and own.numel() == 1 else own
    return float(own) if is_finite(own) else None


def _spelled(objective: Callable[..., Terms]) -> dict[str, Any]:
    if type(objective) is BetaVAE:
        pairs = {"antithetic": True} if objective.antithetic else {}
        return {"objective": "beta-vae", **_shared(objective), "samples": objective.samples, **pairs}
    if type(objective) is Taylor:
        estimator = {} if objective.estimator is None else {"estimator": estimator_name(objective.estimator)}
        return {"objective": "taylor", **_shared(objective), "curvature": objective.curvature, **estimator}
    if type(objective) is RAE:
        weights = {"encoder_weight": objective.encoder_weight, "decoder_weight": objective.decoder_weight}
        likelihood = likelihood_name(objective.likelihood)
        if objective.encoder_weight > 0:  # what stands for β where such a model is measured
            weights["beta"] = objective.encoder_weight
        return {"objective": "rae", **weights, "estimator": _trace_name(objective.trace), "likelihood": likelihood}
    if type(objective) is not GRAE:
        raise InputError("no objective of curvae's")
    if objective.expansion > 0:
        raise InputError("a configuration has no expansion")
    weights = {
        name: value
        for name in ("encoder_weight", "decoder_weight")
        if (value := getattr(objective, name)) != objective.beta
    }
    more: dict[str, Any] = {"orthogonality": objective.orthogonality} if objective.orthogonality else {}
    if objective.curvature != "gauss-newton":
        more["curvature"] = objective.curvature
    return {
        "objective": "grae",
        "beta": objective.beta,
        "structure": structure_name(objective.structure),
        "estimator": estimator_name(objective.estimator),
        "likelihood": likelihood_name(objective.likelihood),
        **weights,
        **more,
    }


def _shared(objective: BetaVAE | Taylor) -> dict[str, Any]:
    if not objective.beta > 0:
        raise InputError("a configuration has β > 0")
    return {"beta": objective.beta, "likelihood": likelihood_name(objective.likelihood)}


def _check_known(estimator: Estimator) -> None:
    if type(estimator) not in _ESTIMATORS or type(getattr(estimator, "probes", None)) not in _PROBES:
        raise InputError(f"{estimator} has no name in a run")


def _trace_name(trace: Trace) -> str:
    _check_known(trace)
    if isinstance(trace.probes, Coordinates) and getattr(trace.probes, "probabilities", None) is None:
        return f"columns:{trace.probes.count}"
    return "exact" if trace.probes is None else estimator_name(trace)


def _unspelled(objective: Callable[..., Terms]) -> dict[str, Any]:
    found: dict[str, Any] = {"objective": PYTHON, "likelihood": PYTHON}
    beta = own_beta(objective, "encoder_weight" if isinstance(objective, RAE) else "beta")
    if beta is not None and beta > 0:
        found["beta"] = beta
    if isinstance(likelihood := getattr(objective, "likelihood", None), Likelihood):
        with suppress(InputError):
            found["likelihood"] = likelihood_name(likelihood)
    if isinstance(structure := getattr(objective, "structure", None), Structure):
        found["structure"] = name_or_python(structure)
    return found
