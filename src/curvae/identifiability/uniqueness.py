"""What a variational family can tell apart that p(x) cannot: Theorem 1 and §3.1, made executable (Appendix B)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from curvae._checks import positive, positive_int, shown
from curvae._repr import OneLine
from curvae._typing import Bool, Float, Tensor
from curvae.errors import InputError
from curvae.identifiability.priors import Prior

LogDensity = Callable[[Tensor], Tensor]


@runtime_checkable
class Transform(Protocol):
    """A bijection of latent space with its Jacobian, such as :class:`~curvae.identifiability.mixing.Mixing`."""

    def __call__(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Return r(z)."""

    def inverse(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Return r⁻¹(z)."""

    def jacobian(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B d d"]:
        """Return J_r(z)."""


@dataclass(frozen=True, repr=False)
class Pushforward(OneLine):
    """The law r#q of r(z) for z ~ q: log (r#q)(z) = log q(r⁻¹(z)) − log\\|det J_r(r⁻¹(z))\\|.

    The determinant comes from the Jacobian itself, not from any property of r, so that identities which hold for
    prior-preserving r can be checked rather than assumed.

    Args:
        log_density: log q, ``[*B, d] → [*B]``.
        transform: r.

    Example:
        >>> from torch.distributions import Normal
        >>> from curvae.identifiability import Factorised, Mixing, plane_rotation
        >>> r = Mixing(Factorised(Normal(torch.zeros(2, dtype=torch.float64), 1.0)), plane_rotation(90.0))
        >>> q = Normal(torch.tensor([3.0, 0.0], dtype=torch.float64), 0.1)
        >>> r_q = Pushforward(lambda z: q.log_prob(z).sum(-1), r)
        >>> at = torch.tensor([[0.0, 3.0]], dtype=torch.float64)  # where the rotation takes q's mean
        >>> torch.allclose(r_q.log_prob(at), q.log_prob(q.mean).sum())
        True
    """

    log_density: LogDensity
    transform: Transform

    def log_prob(self, z: Float[Tensor, "*B d"]) -> Float[Tensor, "*B"]:
        """The log-density of r#q at z."""
        source = self.transform.inverse(z)
        jacobian = self.transform.jacobian(source.reshape(-1, source.shape[-1]))
        return self.log_density(source) - torch.linalg.slogdet(jacobian).logabsdet.reshape(source.shape[:-1])


def integrand(
    z: Float[Tensor, "*B d"], log_likelihood: LogDensity, log_q: LogDensity, log_prior: LogDensity, beta: float
) -> Float[Tensor, "*B"]:
    """One sample of the β-VAE objective (2): log p(x|z) − β (log q(z|x) − log p(z)), to be averaged over z ~ q.

    Args:
        z: samples of q.
        log_likelihood: z ↦ log p(x|z), for the data that z's leading axes stand for.
        log_q: z ↦ log q(z|x).
        log_prior: z ↦ log p(z).
        beta: weight of the KL.

    Example:
        >>> standard = torch.distributions.Normal(0.0, 1.0)
        >>> def log_normal(z):
        ...     return standard.log_prob(z).sum(-1)
        >>> integrand(torch.ones(1, 2), lambda z: -z.square().sum(-1), log_normal, log_normal, beta=1.0)
        tensor([-2.])
    """
    return log_likelihood(z) - beta * (log_q(z) - log_prior(z))


def both_sides(
    z: Float[Tensor, "*B d"],
    transform: Transform,
    log_likelihood: LogDensity,
    log_q: LogDensity,
    prior: Prior,
    beta: float,
) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B"]]:
    """Both sides of L(q, p_r) = L(r#q, p), equation (15), on common samples.

    The left model decodes r(z) and is inferred by q; the right one is the original, inferred by r#q, whose samples
    are r(z). For a prior-preserving r they agree sample by sample, hence in expectation.

    Args:
        z: samples of q.
        transform: r, prior-preserving.
        log_likelihood: z ↦ log p(x|z) of the original model p.
        log_q: z ↦ log q(z|x).
        prior: p(z).
        beta: weight of the KL.

    Returns:
        The integrands of L(q, p_r) and of L(r#q, p).

    Example:
        >>> from torch.distributions import Laplace, Normal
        >>> from curvae.identifiability import Factorised, Mixing, plane_rotation
        >>> prior = Factorised(Laplace(torch.zeros(2, dtype=torch.float64), 1.0))
        >>> r = Mixing(prior, plane_rotation(20.0))
        >>> def log_q(z):
        ...     return Normal(0.0, 0.5).log_prob(z).sum(-1)
        >>> z = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
        >>> left, right = both_sides(z, r, lambda z: -(z - 1).square().sum(-1), log_q, prior, beta=0.5)
        >>> torch.allclose(left, right)
        True
    """
    left = integrand(z, lambda latent: log_likelihood(transform(latent)), log_q, prior.log_prob, beta)
    right = integrand(transform(z), log_likelihood, Pushforward(log_q, transform).log_prob, prior.log_prob, beta)
    return left, right


def posterior_precision(weight: Float[Tensor, "D d"], noise: float, beta: float) -> Float[Tensor, "d d"]:
    """Λ = I + AᵀA/(βσ²), the precision of the best full-covariance q for x = Az + b + σε, z ~ N(0, I).

    Args:
        weight: A.
        noise: σ > 0.
        beta: β > 0, weight of the KL; at β = 1 this is the true posterior.

    Raises:
        InputError: if β or σ is not positive.

    Example:
        >>> posterior_precision(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), noise=1.0, beta=0.5)
        tensor([[9., 0.],
                [0., 3.]])
    """
    scaled = weight / positive("noise", noise)
    eye = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
    return eye + scaled.mT @ scaled / positive("beta", beta)


def log_volume(precision: Float[Tensor, "d d"], block: int = 1) -> Float[Tensor, ""]:
    """Σ_b log\\|Λ_bb\\|: minus the log-determinant of the best Σ whose blocks have this size (the last may be smaller).

    ``block=1`` is mean-field, ``block=d`` the full covariance; by Hadamard and Fischer it grows as blocks shrink.

    Raises:
        InputError: if ``block`` is not a whole number ≥ 1.

    Example:
        >>> precision = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
        >>> [round(log_volume(precision, block).exp().item(), 6) for block in (1, 2)]
        [4.0, 3.0]
    """
    starts = range(0, precision.shape[0], positive_int("block", block))
    return torch.stack([torch.logdet(precision[i : i + block, i : i + block]) for i in starts]).sum()


def best_objective(
    x: Float[Tensor, "B D"],
    weight: Float[Tensor, "D d"],
    bias: Float[Tensor, "D"],
    noise: float,
    beta: float,
    block: int = 1,
) -> Float[Tensor, "B"]:
    """max_q L(q, p) of (2) in closed form, for x = Az + b + σε, z ~ N(0, I), over normal q with blocks of a size.

    The best mean m = Λ⁻¹Aᵀ(x − b)/(βσ²) is the same for every block size, and with the best Σ_b = Λ_bb⁻¹ what is left
    is log N(x; Am + b, σ²I) − β/2 ‖m‖² − β/2 Σ_b log\\|Λ_bb\\|.

    Args:
        x: observations.
        weight: A.
        bias: b.
        noise: σ > 0.
        beta: β > 0.
        block: size of Σ's blocks: 1 is mean-field, d full.

    Returns:
        The maximum for each sample, in nats.

    Raises:
        InputError: if β or σ is not positive, ``block`` is below 1, or x or b has not D numbers.

    Example:
        At β = 1 and full covariance it is log p(x) itself:

        >>> best_objective(torch.zeros(1, 1), torch.ones(1, 1), torch.zeros(1), noise=1.0, beta=1.0)
        tensor([-1.2655])
        >>> torch.distributions.Normal(0.0, 2.0**0.5).log_prob(torch.zeros(1))
        tensor([-1.2655])
    """
    precision = posterior_precision(weight, noise, beta)
    outputs = len(weight)
    if x.dim() != 2 or x.shape[1] != outputs or bias.shape != (outputs,):
        raise InputError(
            f"x has shape {tuple(x.shape)} and the bias {tuple(bias.shape)}; expected [B, {outputs}] and [{outputs}], "
            "as the weight has"
        )
    centred = x - bias
    mean = torch.linalg.solve(precision, (centred @ weight).mT / (beta * noise**2)).mT
    residual = centred - mean @ weight.mT
    log_p = -(residual / noise).square().sum(-1) / 2 - x.shape[1] * (math.log(2 * math.pi) / 2 + math.log(noise))
    return log_p - beta / 2 * (mean.square().sum(-1) + log_volume(precision, block))


def rotation_drop(
    precision: Float[Tensor, "d d"], rotation: Float[Tensor, "d d"], beta: float, block: int = 1
) -> Float[Tensor, ""]:
    """L(q*, p) − max_q L(q, p_r) for a linear Gaussian model whose latents are rotated, r(z) = Uz (Theorem 1).

    p_r decodes AU, so Λ becomes UᵀΛU, and β/2 (Σ_b log\\|(UᵀΛU)_bb\\| − Σ_b log\\|Λ_bb\\|) is lost per sample. If p is
    optimal for its family, Λ has no entries outside the blocks, and the drop is ≥ 0 for every U: zero always for a
    full covariance, and for mean-field only when U mixes no unequal entries of Λ's diagonal.

    Args:
        precision: Λ of the model p (see :func:`posterior_precision`).
        rotation: U, orthogonal.
        beta: β > 0.
        block: block size of the family: 1 is mean-field, d full.

    Raises:
        InputError: if β is not positive or ``block`` is below 1.

    Example:
        >>> from curvae.identifiability import plane_rotation
        >>> precision = torch.diag(torch.tensor([9.0, 3.0], dtype=torch.float64))
        >>> round(rotation_drop(precision, plane_rotation(45.0), beta=1.0).item(), 4)  # ½ log(36/27)
        0.1438
        >>> abs(rotation_drop(precision, plane_rotation(90.0), beta=1.0).item()) < 1e-12
        True
    """
    rotated = rotation.mT @ precision @ rotation
    return positive("beta", beta) / 2 * (log_volume(rotated, block) - log_volume(precision, block))


def stays_mean_field(
    rotation: Float[Tensor, "d d"],
    variances: Float[Tensor, "d"],
    normal: Bool[Tensor, "d"] | None = None,
    tolerance: float | None = None,
) -> bool:
    """Tell whether Uz still has independent entries when z has (§3.1; Darmois, Skitovich).

    Two entries of Uz are independent iff they are uncorrelated and every z_i that enters both is normal. So a
    mean-field family is closed under all rotations iff it is normal with equal variances; with unequal variances only
    signed permutations survive, and rotations within groups of equal variance.

    Args:
        rotation: U, orthogonal.
        variances: of the independent z_i.
        normal: which z_i are normal (default: all).
        tolerance: entries (of U and of correlations) up to this size count as zero; default: the square root of the
            rounding unit of U's type.

    Raises:
        InputError: if the variances are not d finite numbers > 0, or U is not finite.

    Example:
        >>> from curvae.identifiability import plane_rotation
        >>> turn, equal = plane_rotation(30.0), torch.ones(2, dtype=torch.float64)
        >>> stays_mean_field(turn, equal), stays_mean_field(turn, equal * torch.tensor([1.0, 2.0]))
        (True, False)
        >>> stays_mean_field(turn, equal, normal=torch.tensor([False, False]))
        False
    """
    if tolerance is None:
        tolerance = math.sqrt(torch.finfo(rotation.dtype).eps)
    if variances.shape != rotation.shape[:1] or not bool(((variances > 0) & variances.isfinite()).all()):
        raise InputError(f"variances are {shown(variances.tolist())}; expected {len(rotation)} finite numbers > 0")
    if not bool(rotation.isfinite().all()):  # NaN is above no tolerance
        raise InputError("the rotation U holds NaN or infinities; expected finite numbers")
    rotation = rotation.double()
    covariance = (rotation * variances) @ rotation.mT
    scale = torch.sqrt(torch.diagonal(covariance))
    off_diagonal = ~torch.eye(len(variances), dtype=torch.bool, device=rotation.device)
    if ((covariance / scale / scale[:, None]).abs() > tolerance)[off_diagonal].any():
        return False
    if normal is None:
        return True
    enters = (rotation.abs() > tolerance) & ~normal
    return bool((enters.sum(0) <= 1).all())
