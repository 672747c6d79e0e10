r"""$\log|I+M/\beta|$ with its error, where no d columns can be had and nothing is differentiated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import stdtrit

from curvae._checks import positive, positive_int
from curvae._precision import full_precision
from curvae._random import stream
from curvae._rank import NOISE, finite_or_zero
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.curvature.deflation import Deflation, Products, deflation
from curvae.curvature.lanczos import Bidiagonalisation
from curvae.curvature.linearised import Linearised
from curvae.curvature.rules import between, image, radau_share, remainder, rule, spectrum
from curvae.curvature.waves import Drawn, Waves
from curvae.errors import InputError

FEWEST = 8
_LEVEL = 0.975
# in units of rounding, relative: what sums over some thousands of latents leave
_ROUNDING = 1e3
# a relative variance that nobody would pay for
_NOTHING = 1e-8


@dataclass(frozen=True, repr=False)
class LogDeterminant(OneLine):
    r"""$\log|I+M/\beta|$ of each sample, in float64.

    Attributes:
        value: the estimate.
        error: half the width of a 95 % interval.
        standard_error: of the probes.
        truncation: the part of ``error`` that is the quadrature's.
        products: $v\mapsto Mv$ made for each sample, each one forward- and one reverse-mode pass.
        nodes: of Gauss' quadrature for the spectral density of M, from the first probes.
        weights: of the nodes, summing to 1 for each probe.
    """

    value: Float[Tensor, " B"]
    error: Float[Tensor, " B"]
    standard_error: Float[Tensor, " B"]
    truncation: Float[Tensor, " B"]
    products: int
    nodes: Float[Tensor, "B K m"]
    weights: Float[Tensor, "B K m"]


@torch.no_grad()
def log_determinant(
    at: Linearised, beta: float, products: int = 32, generator: torch.Generator | None = None
) -> LogDeterminant:
    r"""$\log|I+M/\beta|$ of each sample with a 95 % interval, from a stated number of products with M.

    For measuring: :class:`Lanczos` is the estimator to train with. Five things share the products:

    - **Signs along waves.** Probes of latents with places have random signs along cosines and along the channels'
      principal axes, which two first products tell. What counts for the variance is off the diagonal in this basis,
      and a decoder that treats all places alike puts little there.
    - **Colours.** From probe to probe the signs change by Walsh's functions of the waves' colours, so that over all
      probes the products of two waves cancel where their colours differ, as those of neighbours mostly do.
    - **Two rules.** Gauss' quadrature is too large and Radau's with a node at 0, from the same products, too small;
      their errors cancel but for a part that falls fast (:func:`~curvae.curvature.rules.between`).
    - **Two depths.** Four probes go as deep as needed, further ones to the depth that leaves the least variance; the
      first correct the others' error, which is nearly the same for all probes.
    - **Deflation.** Where it promises less variance, the rest is spent on what the first probes have not seen of M
      (:class:`~curvae.curvature.deflation.Deflation`, an identity): exact where M's rank is within it.

    The interval adds what the quadrature may have left to that of chance. With $L=\log(I+M/\beta)$ in waves a probe's
    variance is $2\sum_{i\ne j}L_{ij}^2$, which the terms $w_i(Lw)_i$ tell by how they vary from probe to probe. It is
    counted as if the probes were independent, so that the interval is too wide where colours help. For the deflated
    part the variance is bounded by $2\|\log(I+N/\beta)\|_F^2$. All samples of a batch take the same steps and have the
    same colours. Where there are as many products as latents, all columns of T are pushed, and the value is exact:
    signs of few latents are often the same for all probes, which then tell nothing of how far off they are.

    **What to expect.** With $a_i=\log(1+m_i/\beta)$ and p probes the relative error is $\sqrt{2\sum a_i^2/p}/\sum a_i$,
    $\sqrt{2/(pn)}$ for n eigenvalues above β and without places; deflation takes the r largest out of the upper sum, r
    half of the products. So of 32 products, 1 % is reached where n ≤ r or n is in the thousands, and 2 to 5 % between.

    Args:
        at: the decoder at some latents.
        beta: β.
        products: at most, for each sample; at least 8.
        generator: draws the probes.

    Raises:
        InputError: β is not > 0, or there are fewer than 8 products.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 500)
        >>> found = log_determinant(Linearised(lambda z: z, z, z, Gaussian()), beta=1.0)
        >>> found.value / 500, found.products  # log 2
        (tensor([0.6931], dtype=torch.float64), 4)
    """
    positive("beta", beta)
    if positive_int("products", products) < FEWEST:
        raise InputError(f"products is {products}; expected at least {FEWEST}")
    z, shape, operator = at.latents.detach(), at.point.shape[1:], at.operator()
    with full_precision(z):
        push = lambda v: operator.push(v.unflatten(1, shape))  # noqa: E731
        pull = lambda u: operator.pull(u).flatten(1, -2)  # noqa: E731
        return estimate(Products(push, pull, z), Waves(z, shape), beta, products, generator)


@torch.no_grad()
def estimate(
    of: Products, waves: Waves, beta: float, products: int, generator: torch.Generator | None
) -> LogDeterminant:
    """As :func:`log_determinant`, of any T."""
    if of.like.shape[1] <= products:
        return _exact(of, beta)
    run = _Run(of, waves, beta, products, stream(generator))
    if waves.channels > 1:
        run.align()
    drawn = waves.draw(run.generator)
    first = run.start(of, range(4 if products >= 24 else 2), drawn)
    enough = run.grow(first, run.left // 2)
    seen = deflation(first, beta)
    plan = run.further(first) if enough else None
    if run.deflates(first, seen, plan):
        value, chance, standard, rest = run.deflated(seen, first.depth)
    else:
        if plan is None:
            run.grow(first, run.left)
            plan = run.further(first)
        value, chance, standard, rest = run.plain(first, drawn, plan[0])
    rest = rest + _ROUNDING * torch.finfo(of.like.dtype).eps * value.abs()
    made, nodes = products - run.left, spectrum(first.matrix[..., : first.depth])
    return LogDeterminant(value, chance + rest, standard, rest, made, *nodes)


def _exact(of: Products, beta: float) -> LogDeterminant:
    """From all columns of T."""
    samples, latents = of.like.shape
    units = torch.eye(latents, dtype=of.like.dtype, device=of.like.device).expand(samples, -1, -1)
    root = torch.cat([of.push(some).flatten(1, -2) for some in units.split(4, -1)], -1)
    root, broken = finite_or_zero(root)
    sizes = torch.cat([torch.linalg.svdvals(one.double()) for one in root.split(1)])  # in float64 one at a time
    noise = NOISE * torch.finfo(of.like.dtype).eps * sizes[:, :1]  # what rounding leaves of a zero
    sizes = torch.where(sizes <= noise, 0.0, sizes)
    logs = (sizes.square() / beta).log1p()
    value = logs.sum(-1).masked_fill(broken, torch.nan)
    unsure = (((sizes + noise).square() / beta).log1p() - logs).sum(-1)
    rest = unsure + _ROUNDING * torch.finfo(of.like.dtype).eps * value
    nodes = torch.nn.functional.pad(sizes.square(), (0, latents - sizes.shape[1]))
    nodes = nodes.masked_fill(broken.unsqueeze(-1), torch.nan).unsqueeze(1)
    weights = torch.full_like(nodes, 1 / latents)
    return LogDeterminant(value, rest, torch.zeros_like(value), rest, latents, nodes, weights)


@dataclass
class _Run:
    """How many products are left, and where probes are drawn."""

    of: Products
    waves: Waves
    beta: float
    left: int
    generator: torch.Generator | None

    @property
    def latents(self) -> int:
        return self.of.like.shape[1]

    def start(self, of: Products, rows: range, drawn: Drawn | None = None) -> Bidiagonalisation:
        """From probes of a new draw, or further ones of a draw."""
        drawn = self.waves.draw(self.generator) if drawn is None else drawn
        return Bidiagonalisation(of.push, of.pull, self.waves.probes(drawn, rows) / self.latents**0.5)

    def align(self) -> None:
        """Spend two products, or one of few, on the channels' axes."""
        probes = self.waves.probes(self.waves.draw(self.generator), range(2 if self.left >= 16 else 1))
        self.waves.align(self.of.pull(self.of.push(probes)))
        self.left -= probes.shape[-1]

    def step(self, process: Bidiagonalisation) -> None:
        process.push()
        process.pull()
        self.left -= process.count

    def grow(self, process: Bidiagonalisation, most: int) -> bool:
        """Step, once at least, until the quadrature is good enough or ``most`` products are spent: whether it is."""
        until = self.left - most
        self.step(process)
        while not (enough := self._enough(process)) and self.left - process.count >= until:
            self.step(process)
        return enough

    def _enough(self, process: Bidiagonalisation) -> bool:
        """For half of the samples: within the error of chance that is left if all further probes go as deep."""
        value, rest = self._value(process), remainder(process.matrix, self.beta, self.latents)
        chance = torch.zeros_like(rest)
        if process.count > 1:
            chance = _variance(self._terms(process)) / (process.count + self.left / process.depth)
        return bool((rest <= (chance.sqrt() / 2).maximum(1e-3 * value.abs())).double().mean() >= 0.5)

    def deflates(self, first: Bidiagonalisation, seen: Deflation, plan: tuple[int, Tensor] | None) -> bool:
        """Whether the remaining products buy more off what has been seen than on all of M, over all samples."""
        value, now = self._value(first), _variance(self._terms(first)) / first.count
        plain = now if plan is None else plan[1]
        squares = rule(first.matrix, self.beta, self.latents)[1].mean(-1) - seen.logs.square().sum(-1)
        off = 2 * squares.clamp(min=0) / max(1, self.left // first.depth)
        found = (first.matrix.diagonal(dim1=-2, dim2=-1) > 0).sum((-1, -2))
        # the probes see the same, which may be all that M has, or the largest eigenvectors alone
        everything = (seen.rank < found) & (value - seen.logs.sum(-1) <= 3 * now.sqrt())
        off, scale = torch.where(everything, 0.0, off), value.square()
        return bool((off / scale).nanmean() + _NOTHING < (plain / scale).nanmean())

    def _value(self, process: Bidiagonalisation) -> Float[Tensor, " B"]:
        return between(process.matrix, self.beta, self.latents)[0].mean(-1)

    def _terms(self, process: Bidiagonalisation, depth: int | None = None) -> Float[Tensor, "B d K"]:
        r"""$w_i(\log(I+M/\beta)\,w)_i$ of each probe w and wave i: their sum over i is the probe's value.

        By the best of both rules, or to another ``depth`` by Radau's, which varies less than Gauss'.
        """
        matrix = process.matrix if depth is None else process.matrix[..., :depth, : depth + 1]
        images = self._images(process, matrix)
        if depth is None:
            share = radau_share(matrix, self.beta).unsqueeze(-1)
            images = share * images + (1 - share) * self._images(process, matrix[..., : process.depth])
        return self.waves.analyse(process.right[0].double()) * self.waves.analyse(images)

    def _images(self, process: Bidiagonalisation, matrix: Float[Tensor, "B K m n"]) -> Float[Tensor, "B d K"]:
        basis = torch.stack(process.right[: matrix.shape[-1]]).double()
        return self.latents * torch.einsum("nbdk,bkn->bdk", basis, image(matrix, self.beta))

    def further(self, first: Bidiagonalisation) -> tuple[int, Float[Tensor, " B"]]:
        """The depth of further probes that leaves the least variance, with that; 0 for no further probes."""
        deep = self._terms(first)
        scale = deep.sum(1).mean(-1).square()
        best = 0, _variance(deep) / first.count
        for depth in range(1, min(first.depth, self.left) + 1):
            short, total = self._terms(first, depth), first.count + self.left // depth
            variance = _variance(short) / total + _variance(deep - short) * (1 / first.count - 1 / total)
            if (variance / scale).nanmean() < (best[1] / scale).nanmean():
                best = depth, variance
        return best

    def plain(self, first: Bidiagonalisation, drawn: Drawn, depth: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Value, half the interval of chance, standard error and the quadrature's, by further probes this deep."""
        terms = self._terms(first)
        correction = torch.zeros_like(terms)
        if depth:
            more = self.start(self.of, range(first.count, first.count + self.left // depth), drawn)
            for _ in range(depth):
                self.step(more)
            short = self._terms(first, depth)
            correction = terms - short
            terms = torch.cat([short, self._terms(more, depth)], -1)
        total = terms.shape[-1]
        variance = _variance(terms) / total + _variance(correction) * (1 / first.count - 1 / total)
        standard = variance.sqrt()
        rest = remainder(first.matrix, self.beta, self.latents)
        value = terms.sum(1).mean(-1) + correction.sum(1).mean(-1)
        return value, _quantile(self._freedom(first)) * standard, standard, rest

    def _freedom(self, process: Bidiagonalisation) -> Float[Tensor, " B"]:
        r"""Degrees of freedom of a variance that its probes tell: $(\sum a_i^2)^2/\sum a_i^4$ each."""
        nodes, weights = spectrum(process.matrix)
        logs = (nodes / self.beta).log1p()
        second, fourth = ((weights * logs**power).sum(-1).mean(-1) for power in (2, 4))
        return torch.where(fourth > 0, process.count * self.latents * second.square() / fourth, 1.0)

    def deflated(self, seen: Deflation, depth: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same by probes off what has been seen, half of which see more of M first."""
        if self.left >= 2 * depth:
            process = self.start(seen.products(self.of), range(self.left // (2 * depth)))
            for _ in range(depth):
                self.step(process)
            seen = deflation(process, self.beta, seen)
        process = self.start(seen.products(self.of), range(max(1, self.left // depth)))
        self.grow(process, self.left)
        values = between(process.matrix, self.beta, self.latents)[0]
        squares = rule(process.matrix, self.beta, self.latents)[1].mean(-1)
        standard = (2 * squares / process.count).sqrt()
        freedom = torch.full_like(standard, 4.0 * process.count)
        rest = remainder(process.matrix, self.beta, self.latents)
        return seen.logs.sum(-1) + values.mean(-1), _quantile(freedom) * standard, standard, rest


def _variance(terms: Float[Tensor, "B d K"]) -> Float[Tensor, " B"]:
    """Of one probe's value: twice the squares off the diagonal, as the waves' terms tell by how they vary."""
    return 2 * terms.var(-1).sum(1)


def _quantile(freedom: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    return torch.from_numpy(stdtrit(freedom.cpu().numpy(), _LEVEL)).to(freedom)
