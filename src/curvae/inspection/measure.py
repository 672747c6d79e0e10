"""Products with the decoder's Jacobian, and what follows from them for each sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch

from curvae._typing import Float, Tensor
from curvae.curvature import Linearised, LogDeterminant, Operator, log_determinant
from curvae.errors import InputError
from curvae.geometry import mean_cosine
from curvae.inspection.bands import band_of, waves
from curvae.inspection.budget import Budget
from curvae.inspection.subject import Subject

Progress = Callable[[int, int], None]
# numbers in the columns that are held at a time
_HELD = 20_000_000
# and in the outputs' tangents that are pushed at a time: what lies between is many times larger
_PUSHED = 1_000_000


@dataclass(frozen=True)
class Measured:
    r"""What was measured at B samples, in float64; M in units of the prior (see :class:`Subject`).

    Attributes:
        curvature: $M_{ii}$ of the K latents that were looked at, ``[B, K]``.
        cosines: mean $|\cos|$ between pairs of these columns, ``[B]``.
        nodes: eigenvalues, ``[B, 1, d]``; none where :func:`spectra` has to estimate them.
        waves: $v^\top Mv$ for the tangents of the bands, ``[B, N]``.
        trace: of $J^\top L^\top LJ$ in the latents' own units, ``[B]``.
        errors: squared distance of decoded noisy latents from the decoded mean for each level and draw, mean over
            ± the noise, ``[B, S, r]``.
        linear: the same by the Jacobian, for noise of standard deviation 1, ``[B, r]``.
    """

    curvature: Float[Tensor, "B K"]
    cosines: Float[Tensor, " B"]
    nodes: Float[Tensor, "B 1 m"]
    waves: Float[Tensor, "B N"]
    trace: Float[Tensor, " B"]
    errors: Float[Tensor, "B S r"]
    linear: Float[Tensor, "B r"]


@dataclass(frozen=True)
class Tangents:
    """Directions in latent space, drawn once for all samples before anything is measured.

    Attributes:
        columns: which latents, ``[B, K]``.
        waves: ``[N, d]``, of which ``band`` says where each belongs and ``size`` the squared length.
        band: ``[N]``.
        size: ``[N]``.
        noise: of standard deviation 1 in the latents' own units, ``[B, d, n]``.
    """

    columns: Tensor
    waves: Float[Tensor, "N d"]
    band: np.ndarray
    size: Float[Tensor, " N"]
    noise: Float[Tensor, "B d n"]


def draw(subject: Subject, budget: Budget, generator: torch.Generator | None) -> Tangents:
    """Choose the directions.

    Args:
        subject: the model at its samples.
        budget: how many of each kind.
        generator: source of randomness.
    """
    z, d = subject.z, subject.latents
    random = partial(torch.rand, generator=generator, device=z.device, dtype=torch.float64)
    noise = torch.randn(*z.shape, budget.draws, generator=generator, device=z.device, dtype=z.dtype)
    columns = _spread(random(len(z), d), subject.channels, budget.columns)
    basis, band = torch.zeros(0, d, dtype=z.dtype), np.zeros(0, int)
    if subject.bands and budget.exact:
        band = band_of(subject.shape)
        basis = torch.from_numpy(waves(np.eye(d), subject.shape))
    elif budget.bands:
        member = band_of(subject.shape) == np.arange(budget.bands)[:, None]
        signs = np.where(random(d).cpu().numpy() < 0.5, -1.0, 1.0)
        keep = member.any(1)
        band, basis = np.arange(budget.bands)[keep], torch.from_numpy(waves((member * signs)[keep], subject.shape))
    basis = basis.to(z)
    return Tangents(columns, basis, band, basis.double().square().sum(1), noise)


def _spread(order: Float[Tensor, "B d"], channel: np.ndarray | None, count: int) -> Tensor:
    """``count`` different latents for each sample, as many of each channel as can be."""
    if count == order.shape[1]:
        return torch.arange(count, device=order.device).expand(len(order), -1)
    if channel is not None:  # rank inside the channel first, chance second
        label = torch.from_numpy(channel).to(order.device)
        within = order.clone()
        for name in label.unique():
            inside = label == name
            within[:, inside] = order[:, inside].argsort(1).argsort(1).double() + 0.5 * order[:, inside]
        order = within
    return order.argsort(1)[:, :count]


def measure(
    subject: Subject,
    tangents: Tangents,
    budget: Budget,
    levels: Float[Tensor, " S"],
    progress: Progress | None = None,
) -> Measured:
    """All products, some samples at a time.

    Args:
        subject: the model at its samples.
        tangents: the directions.
        budget: how many products of each kind.
        levels: standard deviations of the noise.
        progress: called with the samples done and their number.
    """
    size = max(1, _HELD // (subject.outputs * max(budget.columns, 1)))
    parts = []
    for start in range(0, len(subject.z), size):
        stop = min(start + size, len(subject.z))
        parts.append(_part(subject.part(start, stop), _rows(tangents, start, stop), budget, levels))
        if progress is not None:
            progress(stop, len(subject.z))
    return Measured(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Measured)))


def _rows(tangents: Tangents, start: int, stop: int) -> Tangents:
    t = tangents
    return Tangents(t.columns[start:stop], t.waves, t.band, t.size, t.noise[start:stop])


def _part(subject: Subject, tangents: Tangents, budget: Budget, levels: Float[Tensor, " S"]) -> Measured:
    operator = Operator(subject.decode, subject.u, subject.x, subject.likelihood)
    if not bool(operator.eta.isfinite().all()):
        raise InputError("the model decodes some of these samples to numbers that are not finite")
    width = max(1, _PUSHED // operator.eta.numel())

    def push(directions: Float[Tensor, "B d K"]) -> Float[Tensor, "B D K"]:
        pieces = [operator.push(piece).flatten(1, -2) for piece in directions.split(width, -1)]
        return torch.cat(pieces, -1).double()

    columns = push(torch.nn.functional.one_hot(tangents.columns, subject.latents).to(subject.z).mT)
    gram = columns.mT @ columns
    noise = tangents.noise / subject.prior[:, None]
    directions = tangents.waves.mT.expand(len(subject.z), -1, -1)
    scale = subject.prior.double()[tangents.columns].square()
    curvature = gram.diagonal(dim1=-2, dim2=-1)
    if budget.exact:
        nodes = torch.linalg.eigvalsh(gram).clamp(min=0).unsqueeze(1)
        linear = (columns @ noise.double()).square().sum(1)
        along = torch.einsum("bdk,bde,bek->bk", directions.double(), gram, directions.double())
        trace = (curvature / scale).sum(1)
    else:
        nodes = curvature.new_zeros(len(gram), 1, 0)
        linear = push(noise).square().sum(1)
        along = push(directions).square().sum(1) if len(tangents.waves) else curvature.new_zeros(len(gram), 0)
        estimates = torch.cat([linear, subject.latents * curvature / scale], 1)
        trace = estimates.mean(1)
    found = _errors(subject, operator, noise, levels)
    cpu = (curvature, mean_cosine(gram), nodes, along, trace, found, linear)
    return Measured(*(values.double().cpu() for values in cpu))


def spectra(subject: Subject, budget: Budget, beta: float, generator: torch.Generator | None) -> LogDeterminant:
    """The log-determinant and the nodes of its quadrature, some samples at a time; on the CPU."""
    size = max(1, _HELD // (subject.outputs * budget.pairs))
    parts = []
    for start in range(0, len(subject.z), size):
        part = subject.part(start, min(start + size, len(subject.z)))
        decode = lambda u, part=part: part.decode(u.flatten(1))  # noqa: E731
        at = Linearised(decode, part.u.unflatten(1, part.shape), part.x, part.likelihood)
        parts.append(log_determinant(at, beta, budget.pairs, generator))
    depth = max(part.nodes.shape[-1] for part in parts)  # parts may go to different depths
    joined = {}
    for name in (each.name for each in fields(LogDeterminant) if each.name != "products"):
        values = [getattr(part, name).cpu() for part in parts]
        if values[0].dim() > 1:
            values = [torch.nn.functional.pad(value, (0, depth - value.shape[-1])) for value in values]
        joined[name] = torch.cat(values)
    return LogDeterminant(**joined, products=max(part.products for part in parts))


def _errors(
    subject: Subject, operator: Operator, noise: Float[Tensor, "B d n"], levels: Float[Tensor, " S"]
) -> Float[Tensor, "B S n"]:
    r"""$\tfrac12\sum_\pm\|L(g(h\pm s\epsilon)-g(h))\|^2$ for each level s and each draw."""

    eta = operator.eta.detach()

    def distance(direction: Float[Tensor, "B d"]) -> Float[Tensor, " B"]:
        with operator.again():  # noise of the decoder's own is not the latents'
            moved = subject.decode(subject.u + direction) - eta
        return subject.likelihood.whiten(eta, subject.x, moved.unsqueeze(-1)).flatten(1).double().square().sum(1)

    found = [
        torch.stack([(distance(s * e) + distance(-s * e)) / 2 for e in noise.unbind(-1)], -1) for s in levels.tolist()
    ]
    return torch.stack(found, 1)
