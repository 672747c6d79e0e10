r"""β as other code bases count it, converted to curvae's.

In curvae β stands in (2): the negative log-likelihood **summed** over the outputs, for Gaussian observations
$\tfrac12\|x-g\|^2$, plus β times the KL divergence **summed** over the latents. Others take means, leave the ½ out or
scale the pixels, so the same objective goes by numbers that differ by up to 10⁶. Every function here takes a maker's
weight and returns the β with which curvae's objective is the maker's, up to a constant factor. The table with the
sources is in ``docs/beta.md``.
"""

from __future__ import annotations

import math

from curvae._checks import positive, positive_int, shown
from curvae.errors import InputError

_BYTE = 255


def from_pythae(beta: float, reconstruction_loss: str = "mse", halved: bool = True) -> float:
    r"""pythae's ``BetaVAE`` and ``VAE`` (β = 1): $\tfrac12\sum(x-g)^2+\beta\,\mathrm{KL}$; for ``"bce"`` the entropy.

    Args:
        beta: ``model_config.beta``.
        reconstruction_loss: ``model_config.reconstruction_loss``.
        halved: whether ``loss_function`` has the ½, as in release 0.1.2; earlier sources have none.

    Raises:
        InputError: β is not > 0, or another loss.

    Example:
        >>> from_pythae(1.0), from_pythae(1.0, halved=False), from_pythae(1.0, "bce")
        (1.0, 0.5, 1.0)
    """
    weights = {"mse": 1.0 if halved else 0.5, "bce": 1.0}
    return positive("beta", beta) * _of(weights, "reconstruction_loss", reconstruction_loss)


def from_diffusers(kl_scale: float, rec_loss: str = "l2") -> float:
    r"""diffusers' ``train_autoencoderkl.py``: $\sum(x-g)^2+w\,\mathrm{KL}$, or $\sum|x-g|$ for ``"l1"``.

    Its perceptual and adversarial terms are left out: with them the effective β of the decoder is another one. For
    ``"l1"`` the β belongs to :class:`~curvae.likelihoods.Laplace` with scale 1.

    Args:
        kl_scale: ``--kl_scale``.
        rec_loss: ``--rec_loss``.

    Raises:
        InputError: the weight is not > 0, or another loss.

    Example:
        >>> from_diffusers(1e-6)
        5e-07
    """
    return positive("kl_scale", kl_scale) * _of({"l2": 0.5, "l1": 1.0}, "rec_loss", rec_loss)


def from_latent_diffusion(kl_weight: float, logvar: float = 0.0) -> float:
    r"""CompVis' ``LPIPSWithDiscriminator``: $\sum|x-g|/e^{s}+w\,\mathrm{KL}$ with a learned or fixed $s$ = ``logvar``.

    The β belongs to :class:`~curvae.likelihoods.Laplace` with scale 1; perceptual and adversarial terms are left out.

    Args:
        kl_weight: ``kl_weight`` of the configuration.
        logvar: ``loss.logvar`` of the checkpoint, ``logvar_init`` where it was not learned.

    Raises:
        InputError: the weight is not > 0, or ``logvar`` is not the logarithm of a number.

    Example:
        >>> from_latent_diffusion(1e-6)
        1e-06
    """
    try:
        scale = math.exp(logvar)
    except (OverflowError, RuntimeError, TypeError, ValueError):
        scale = math.nan
    if not 0 < scale < math.inf:
        raise InputError(f"logvar is {shown(logvar)}; expected the logarithm of a scale, at most 700 in size")
    return positive("kl_weight", kl_weight) * scale


def from_pytorch_vae(beta: float, outputs: int, kld_weight: float = 1.0) -> float:
    r"""AntixK's PyTorch-VAE: mean of $(x-g)^2$ over the outputs $+\,\beta w\,\mathrm{KL}$ summed over the latents.

    Args:
        beta: of ``BetaVAE``; 1 for ``VanillaVAE``.
        outputs: D.
        kld_weight: ``kld_weight`` (``M_N``) of the configuration.

    Raises:
        InputError: an argument that is not > 0.

    Example:
        >>> round(from_pytorch_vae(1.0, outputs=3 * 64 * 64, kld_weight=0.00025), 6)
        1.536
    """
    return from_mean_squares(positive("beta", beta) * positive("kld_weight", kld_weight), outputs)


def from_lightning_bolts(kl_coeff: float, outputs: int, latents: int) -> float:
    r"""``pl_bolts``' ``VAE``: mean of $(x-g)^2$ over the outputs $+\,w$ times the **mean** of the KL over the latents.

    Args:
        kl_coeff: ``kl_coeff``.
        outputs: D.
        latents: d.

    Raises:
        InputError: an argument that is not > 0.

    Example:
        >>> round(from_lightning_bolts(0.1, outputs=3 * 32 * 32, latents=256), 6)
        0.6
    """
    return from_mean_squares(kl_coeff, outputs) / positive_int("latents", latents)


def from_disentanglement_lib(beta: float, loss: str = "bernoulli_loss") -> float:
    r"""``disentanglement_lib``: ``bernoulli_loss`` is summed; ``l2_loss`` is $\sum(x-g)^2$ with no ½.

    Args:
        beta: ``vae.beta``.
        loss: ``reconstruction_loss.loss_fn``.

    Raises:
        InputError: β is not > 0, or another loss.

    Example:
        >>> from_disentanglement_lib(4.0), from_disentanglement_lib(4.0, "l2_loss")
        (4.0, 2.0)
    """
    return positive("beta", beta) * _of({"bernoulli_loss": 1.0, "l2_loss": 0.5}, "loss", loss)


def from_disentangling_vae(beta: float, distribution: str = "bernoulli") -> float:
    r"""``disvae``: for ``"gaussian"`` the squares are of $255\,(x-g)$, summed and divided by 255.

    Args:
        beta: ``--betaH-B``, or γ of ``betaB`` (Burgess et al. 2018) while the KL is above its capacity.
        distribution: ``--rec-dist``; for ``"laplace"`` the β belongs to scale 1.

    Raises:
        InputError: β is not > 0, or another distribution.

    Example:
        >>> from_disentangling_vae(4.0), from_disentangling_vae(510.0, "gaussian")
        (4.0, 1.0)
    """
    weights = {"bernoulli": 1.0, "laplace": 1.0, "gaussian": 0.5 / _BYTE}
    return positive("beta", beta) * _of(weights, "distribution", distribution)


def from_beta_vae_pytorch(beta: float, decoder_dist: str = "gaussian") -> float:
    r"""1Konny's Beta-VAE: summed, with no ½ for ``"gaussian"``. γ of its objective B counts the same.

    Args:
        beta: ``--beta``, or ``--gamma``.
        decoder_dist: by data set: ``"bernoulli"`` for dSprites.

    Raises:
        InputError: β is not > 0, or another distribution.

    Example:
        >>> from_beta_vae_pytorch(10.0)
        5.0
    """
    return positive("beta", beta) * _of({"gaussian": 0.5, "bernoulli": 1.0}, "decoder_dist", decoder_dist)


def from_keras(weight: float = 1.0, channels: int = 1) -> float:
    r"""The example of keras.io: ``binary_crossentropy`` takes the **mean over the channels**, the rest is summed.

    Args:
        weight: of ``kl_loss``; the example has 1.
        channels: of the images.

    Raises:
        InputError: an argument that is not > 0.

    Example:
        >>> from_keras(), from_keras(channels=3)
        (1.0, 3.0)
    """
    return positive("weight", weight) * positive_int("channels", channels)


def from_pytorch_examples(weight: float = 1.0) -> float:
    r"""PyTorch's example: cross-entropy and KL both summed, so the weight is β.

    Args:
        weight: of ``KLD``; the example has 1.

    Raises:
        InputError: the weight is not > 0.

    Example:
        >>> from_pytorch_examples()
        1.0
    """
    return positive("weight", weight)


def from_scvi(kl_weight: float = 1.0) -> float:
    r"""scvi-tools: negative log-likelihood summed over genes, KL summed over latents; the weight after warm-up is β.

    Args:
        kl_weight: ``max_kl_weight`` of the training plan.

    Raises:
        InputError: the weight is not > 0.

    Example:
        >>> from_scvi()
        1.0
    """
    return positive("kl_weight", kl_weight)


def from_mean_squares(weight: float, outputs: int) -> float:
    r"""Mean of $(x-g)^2$ over the D outputs plus a weight times the KL summed over the latents: $\beta=wD/2$.

    What ``vaexede`` and many scripts of one's own have (``mse_loss`` with its default reduction).

    Args:
        weight: of the KL.
        outputs: D.

    Raises:
        InputError: an argument that is not > 0.

    Example:
        >>> from_mean_squares(1e-5, outputs=2471)   # vaexede's model with 5 latents
        0.012355...
    """
    return positive("weight", weight) * positive_int("outputs", outputs) / 2


def from_normalised(beta_norm: float, outputs: int, latents: int) -> float:
    r"""Higgins et al. 2017 report $\beta_{norm}=\beta d/D$.

    Args:
        beta_norm: β_norm.
        outputs: D, N in their notation.
        latents: d, M in their notation.

    Raises:
        InputError: an argument that is not > 0.

    Example:
        >>> from_normalised(0.5, outputs=100, latents=10)
        5.0
    """
    return positive("beta_norm", beta_norm) * positive_int("outputs", outputs) / positive_int("latents", latents)


def from_decoder_variance(variance: float, beta: float = 1.0) -> float:
    r"""An ELBO whose decoder is $\mathcal N(g,vI)$ with fixed $v$ (Kingma & Welling 2014): $\beta v$ for unit variance.

    Args:
        variance: v.
        beta: weight of the KL beside it.

    Raises:
        InputError: an argument that is not > 0.

    Example:
        >>> from_decoder_variance(0.01)
        0.01
    """
    return positive("beta", beta) * positive("variance", variance)


def _of(factors: dict[str, float], name: str, choice: str) -> float:
    if choice not in factors:
        raise InputError(f"{name} is {choice!r}; expected {' or '.join(factors)}")
    return factors[choice]
