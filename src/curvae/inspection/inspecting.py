"""The whole inspection of a model."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from curvae._checks import positive
from curvae._random import stream
from curvae.adapters import adapt
from curvae.conditioned import Conditioned
from curvae.data.convert import as_array
from curvae.errors import InputError
from curvae.inspection.advice import advise, of_data
from curvae.inspection.budget import Budget, how_many
from curvae.inspection.measure import Measured, Progress, Tangents, draw, measure, spectra
from curvae.inspection.noise import LEVELS, check_levels, radius, standard_error, summarise
from curvae.inspection.result import Advice, BetaHat, Cost, Group, Inspection
from curvae.inspection.spectrum import spectral
from curvae.inspection.subject import Subject, subject_of
from curvae.inspection.theory import beta_hat, groups, log_variance_correlation, used_entries
from curvae.likelihoods import Likelihood
from curvae.metrics.codes import deployed

try:
    import resource
except ImportError:  # not a POSIX system
    resource = None  # type: ignore[assignment]


@torch.no_grad()
def inspect(
    model: Any,
    x: Any,
    beta: float | None = None,
    generator: torch.Generator | None = None,
    *,
    likelihood: Likelihood | None = None,
    products: int = 64,
    samples: int | None = None,
    noise: Sequence[float] = LEVELS,
    progress: Progress | None = None,
) -> Inspection:
    r"""What noise a decoder implies: β̂, Σ* by (11) beside the shipped posterior, and the decoder's local linearity.

    With d ≤ 64 latents, and no more than ``products``, all d Jacobian columns are computed and every number follows
    exactly. Otherwise ``products`` are shared out between sampled columns, :func:`~curvae.curvature.log_determinant`,
    bands of spatial frequency and noise, and numbers are estimates; no d × d matrix is made.

    Args:
        model: a :class:`~curvae.autoencoder.Model`, or one of diffusers, pythae or scvi-tools; others through
            :mod:`curvae.adapters`. Looked at in eval mode, in its own precision: ``model.double()`` for more.
        x: data ``[N, *D]`` as the model takes them, of any kind that :func:`curvae.data.as_samples` reads; uint8 pixels
            are brought to the range that it wants. The samples that are drawn are checked, and the first one.
        beta: β that the maker trained at, **summed over outputs and latents** (:mod:`curvae.beta` converts); default
            the adapter's, if it knows. Where there is none, β̂ takes its place.
        generator: source of randomness.
        likelihood: observation model; default the model's own, or Gaussian with σ = 1.
        products: for each sample, at most; a forward- or reverse-mode pass with one tangent is one.
        samples: how many of the data, drawn at random; default 64, or 8 where d > 64.
        noise: standard deviations, in the latents' own units, at which the decode error is measured.
        progress: called with the number of samples done and of all.

    Raises:
        InputError: a bad argument, or a model that does not take the data.

    Example:
        >>> from curvae import Autoencoder
        >>> decoder = torch.nn.Linear(2, 5)
        >>> found = inspect(Autoencoder(torch.nn.Linear(5, 2), decoder, latents=2), torch.randn(9, 5), beta=0.1)
        >>> metric = (decoder.weight.T @ decoder.weight).double()
        >>> bool(abs(found.trace - metric.trace()) < 1e-5), found.cost.products, found.radius
        (True, 2, None)
    """
    began = time.perf_counter()
    levels = check_levels(noise)
    given = None if beta is None else positive("beta", beta)
    if isinstance(model, Conditioned) or getattr(model, "condition", None) is not None:
        raise InputError(
            "the model is conditional, and inspect looks at models of x alone; give one condition to it, such as "
            "adapters.callables(encode=lambda x: model.encode(x, c.expand(len(x), -1)), decode=…)"
        )
    model = adapt(model)
    x = x if isinstance(x, torch.Tensor) else as_array(x)  # pixels stay pixels
    with deployed(model):
        subject = subject_of(model, _some(x, 1, None), likelihood)  # d, before the number of samples is chosen
        budget = Budget.of(products, subject.latents, subject.bands)
        subject = subject_of(model, _some(x, how_many(samples, products, subject.latents), generator), likelihood)
        tangents = draw(subject, budget, stream(generator))
        found = measure(subject, tangents, budget, torch.tensor(levels, dtype=torch.float64), progress)
        return _result(subject, budget, tangents, found, levels, given, products, began, generator)


def _some(x: Any, count: int, generator: torch.Generator | None) -> Any:
    """Some of the data, in their order; all of them, or the first, without chance."""
    if x.ndim < 2 or count >= len(x):
        return x
    if count == 1 and generator is None:
        return x[:1]
    where = generator.device if generator is not None else "cpu"
    rows = torch.randperm(len(x), generator=generator, device=where)[:count].sort().values
    return x[rows.cpu().numpy()] if isinstance(x, np.ndarray) else x[rows.to(x.device)]


def _result(
    subject: Subject,
    budget: Budget,
    tangents: Tangents,
    found: Measured,
    levels: tuple[float, ...],
    given: float | None,
    limit: int,
    began: float,
    generator: torch.Generator | None,
) -> Inspection:
    rng = np.random.default_rng(0)
    columns, channel = tangents.columns.cpu().numpy(), subject.channels
    curvature = found.curvature.numpy()
    precision = _precision(subject, tangents, columns=True)
    hat = None if precision is None else beta_hat(curvature, precision, columns, channel, rng)
    own = getattr(subject.model, "beta", None)
    maker = given if given is not None else own if isinstance(own, float) else None
    beta = maker if maker is not None else hat.median if hat is not None else None
    det = None
    if not budget.exact:  # without β, at the size of M
        det = spectra(subject, budget, curvature.mean() or 1.0 if beta is None else beta, stream(generator))
    of_spectrum = spectral(found, det, curvature, subject.latents, beta)
    error = summarise(levels, *(each.numpy() for each in (found.trace, found.errors, found.linear)))
    latent = groups(curvature, precision, columns, beta) if budget.exact else ()
    by_channel = () if channel is None else groups(curvature, precision, channel[columns], beta)
    edge = radius(error)
    return Inspection(
        latents=subject.shape,
        outputs=subject.outputs,
        likelihood=repr(subject.likelihood),
        convention=getattr(subject.model, "convention", ""),
        beta=beta,
        maker_beta=maker,
        beta_hat=hat,
        log_variance_correlation=(
            None if precision is None or beta is None else log_variance_correlation(curvature, precision, beta)
        ),
        column_cosine=float(found.cosines.mean()),
        column_cosine_se=standard_error(found.cosines.numpy()),
        per_latent=latent,
        per_channel=by_channel,
        per_frequency=_frequencies(subject, tangents, found, beta),
        noise=error,
        radius=edge,
        advice=(
            *of_data(subject.assumed, subject.misfit),
            *_advice(subject, columns, curvature, precision, hat, (beta, maker), (latent, by_channel), edge),
        ),
        cost=_cost(
            subject,
            budget.products - (0 if det is None else 2 * (budget.pairs - det.products)),
            tangents,
            len(levels),
            limit,
            began,
        ),
        **of_spectrum,
    )


def _precision(subject: Subject, tangents: Tangents, columns: bool) -> np.ndarray | None:
    """Of the shipped posterior along the columns' or the waves' directions."""
    if subject.factor is None:
        return None
    if columns:
        directions = torch.nn.functional.one_hot(tangents.columns, subject.latents).to(subject.z).mT
    else:
        directions = tangents.waves.mT.expand(len(subject.z), -1, -1)
    return subject.precision_along(directions).cpu().numpy()


def _frequencies(subject: Subject, tangents: Tangents, found: Measured, beta: float | None) -> tuple[Group, ...]:
    if not len(tangents.waves):
        return ()
    size = tangents.size.cpu().numpy()
    precision = _precision(subject, tangents, columns=False)
    label = np.broadcast_to(tangents.band, found.waves.shape)
    return groups(found.waves.numpy() / size, None if precision is None else precision / size, label, beta)


def _advice(
    subject: Subject,
    columns: np.ndarray,
    curvature: np.ndarray,
    precision: np.ndarray | None,
    hat: BetaHat | None,
    betas: tuple[float | None, float | None],
    by: tuple[tuple[Group, ...], tuple[Group, ...]],
    edge: float | None,
) -> Iterator[Advice]:
    beta, maker = betas
    prior, channel = subject.prior.double().cpu().numpy(), subject.channels
    in_use = curvature if precision is None else curvature[used_entries(precision)]
    typical = float(np.median(in_use)) if in_use.size else 0.0
    width: float | None = None
    if precision is not None:
        width = float(np.median(1 / precision))
    elif beta is not None:
        width = float(np.median(1 / (1 + curvature / beta)))
    variance = None
    if precision is not None:
        label = np.zeros(subject.latents, int) if channel is None else channel
        means = [(1 / precision[label[columns] == kind]).mean() for kind in np.unique(label)]
        variance = prior**2 * np.array(means)[label]
    return advise(
        beta,
        maker,
        hat,
        typical,
        subject.outputs,
        by,
        subject.z.double().cpu().numpy(),
        channel,
        variance,
        edge,
        None if width is None else float(np.sqrt(width) * np.sqrt((prior**2).mean())),
    )


def _cost(subject: Subject, products: int, tangents: Tangents, levels: int, limit: int, began: float) -> Cost:
    device = subject.z.device
    if device.type == "cuda":
        memory: float | None = torch.cuda.max_memory_allocated(device) / 2**20
    elif resource is None:
        memory = None
    else:  # kilobytes on Linux, bytes on a Mac
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    decodes = 2 * levels * tangents.noise.shape[-1]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Cost(time.perf_counter() - began, products, limit, decodes, len(subject.z), memory, name)
