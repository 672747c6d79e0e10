r"""$\log|I+M/\beta|$ with its error, where no d columns can be had and nothing is differentiated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import stdtrit

from curvae._checks import positive, positive_int
from curvae._precision import full_precision
from curvae._random import stream
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.curvature.deflation import Deflation, Products, deflation
from curvae.curvature.lanczos import Bidiagonalisation
from curvae.curvature.linearised import Linearised
from curvae.curvature.rules import between, remainder, rule, spectrum
from curvae.curvature.waves import Waves
from curvae.errors import InputError

FEWEST = 8
_LEVEL = 0.975
# in units of rounding, relative: what sums over some thousands of latents leave
_ROUNDING = 1e3


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

    For measuring: :class:`Lanczos` is the estimator to train with. Four things share the products:

    - **Signs along waves.** Probes of latents with places have independent signs along cosines and along the channels'
      principal axes, which a few first products tell. What counts for the variance is off the diagonal in this basis,
      and a decoder that treats all places alike puts little there.
    - **Two rules.** Gauss' quadrature is too large and Radau's with a node at 0, from the same products, too small;
      their errors cancel but for a part that falls fast (:func:`~curvae.curvature.rules.between`).
    - **Two depths.** Four probes go as deep as needed, further ones to the depth that leaves the least variance; the
      first correct the others' error, which is nearly the same for all probes.
    - **Deflation.** Where it promises less variance, the rest is spent on what the first probes have not seen of M
      (:class:`~curvae.curvature.deflation.Deflation`, an identity): exact where M's rank is within it.

    The interval adds what the quadrature may have left to Student's t of the probes; for the deflated part the variance
    is bounded by $2\|\log(I+N/\beta)\|_F^2$, which the same quadrature gives. All samples of a batch take the same
    steps.

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
    run = _Run(of, waves, beta, products, stream(generator))
    if waves.channels > 1:
        run.align(min(waves.channels, products // 8))
    first = run.start(of, 4 if products >= 24 else 2)
    enough = run.grow(first, run.left // 2)
    seen = deflation(first, beta)
    if run.deflates(first, seen, enough):
        value, chance, standard, rest = run.deflated(seen, first.depth)
    else:
        if not enough:
            run.grow(first, run.left)
        value, chance, standard, rest = run.plain(first)
    rest = rest + _ROUNDING * torch.finfo(of.like.dtype).eps * value.abs()
    made, nodes = products - run.left, spectrum(first.matrix[..., : first.depth])
    return LogDeterminant(value, chance + rest, standard, rest, made, *nodes)


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

    def draw(self, count: int) -> Float[Tensor, "B d K"]:
        like = self.of.like
        random = torch.rand((*like.shape, count), generator=self.generator, dtype=torch.float64, device=like.device)
        return (random < 0.5).to(like) * 2 - 1

    def align(self, count: int) -> None:
        """Spend products on the channels' axes."""
        signs = self.draw(count)
        self.waves.align(signs, self.of.pull(self.of.push(self.waves.synthesise(signs))))
        self.left -= count

    def start(self, of: Products, count: int) -> Bidiagonalisation:
        return Bidiagonalisation(of.push, of.pull, self.waves.synthesise(self.draw(count)) / self.latents**0.5)

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
        values = between(process.matrix, self.beta, self.latents)[0]
        rest = remainder(process.matrix, self.beta, self.latents)
        chance = values.std(-1) if process.count > 1 else torch.zeros_like(rest)
        chance = chance / (process.count + self.left / process.depth) ** 0.5
        return bool((rest <= chance.maximum(1e-3 * values.mean(-1).abs())).double().mean() >= 0.5)

    def deflates(self, first: Bidiagonalisation, seen: Deflation, enough: bool) -> bool:
        """Whether the remaining products buy more off what has been seen than on all of M, over all samples."""
        found = (first.matrix.diagonal(dim1=-2, dim2=-1) > 0).sum((-1, -2))
        if bool((seen.rank < found).all()):  # the probes see the same: nearly all has been seen
            return True
        values = between(first.matrix, self.beta, self.latents)[0]
        plain = self._further(first)[1] if enough else values.var(-1) / first.count
        squares = rule(first.matrix, self.beta, self.latents)[1].mean(-1) - seen.logs.square().sum(-1)
        off = 2 * squares.clamp(min=0) / max(1, self.left // first.depth)
        scale = values.mean(-1).square()
        return bool((off / scale).nanmean() < (plain / scale).nanmean())

    def _values(self, process: Bidiagonalisation, depth: int, deepest: int) -> Float[Tensor, "B K"]:
        """Radau's rule, which varies less than Gauss', and the best of both at the last depth."""
        part = process.matrix[..., :depth, : depth + 1]
        return (between if depth == deepest else rule)(part, self.beta, self.latents)[0]

    def _further(self, first: Bidiagonalisation) -> tuple[int, Float[Tensor, " B"]]:
        """The depth of further probes that leaves the least variance, with that; 0 for no further probes."""
        deep = self._values(first, first.depth, first.depth)
        scale = deep.mean(-1).square()
        best = 0, deep.var(-1) / first.count
        for depth in range(1, min(first.depth, self.left) + 1):
            short, total = self._values(first, depth, first.depth), first.count + self.left // depth
            variance = short.var(-1) / total + (deep - short).var(-1) * (1 / first.count - 1 / total)
            if (variance / scale).nanmean() < (best[1] / scale).nanmean():
                best = depth, variance
        return best

    def plain(self, first: Bidiagonalisation) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Value, half the interval of chance, standard error and the quadrature's, by further probes of M."""
        values = self._values(first, first.depth, first.depth)
        correction = torch.zeros_like(values)
        depth, _ = self._further(first)
        if depth:
            more = self.start(self.of, self.left // depth)
            for _ in range(depth):
                self.step(more)
            short = self._values(first, depth, first.depth)
            correction = values - short
            values = torch.cat([short, self._values(more, depth, first.depth)], -1)
        total = values.shape[-1]
        parts = values.var(-1) / total, correction.var(-1) * (1 / first.count - 1 / total)
        variance = parts[0] + parts[1]
        spread = parts[0].square() / (total - 1) + parts[1].square() / (first.count - 1)
        freedom = torch.where(spread > 0, variance.square() / spread, 1.0)  # Welch and Satterthwaite
        standard = variance.sqrt()
        rest = remainder(first.matrix, self.beta, self.latents)
        return values.mean(-1) + correction.mean(-1), _quantile(freedom) * standard, standard, rest

    def deflated(self, seen: Deflation, depth: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same by probes off what has been seen, half of which see more of M first."""
        if self.left >= 2 * depth:
            process = self.start(seen.products(self.of), self.left // (2 * depth))
            for _ in range(depth):
                self.step(process)
            seen = deflation(process, self.beta, seen)
        process = self.start(seen.products(self.of), max(1, self.left // depth))
        self.grow(process, self.left)
        values = between(process.matrix, self.beta, self.latents)[0]
        squares = rule(process.matrix, self.beta, self.latents)[1].mean(-1)
        standard = (2 * squares / process.count).sqrt()
        freedom = torch.full_like(standard, 4.0 * process.count)
        rest = remainder(process.matrix, self.beta, self.latents)
        return seen.logs.sum(-1) + values.mean(-1), _quantile(freedom) * standard, standard, rest


def _quantile(freedom: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    return torch.from_numpy(stdtrit(freedom.cpu().numpy(), _LEVEL)).to(freedom)
