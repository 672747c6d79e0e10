"""Models of diffusers, pythae, Lightning and scvi-tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from curvae import beta as betas
from curvae._checks import a_kind
from curvae._typing import Tensor
from curvae.adapters.adapted import Adapted
from curvae.errors import InputError
from curvae.likelihoods import Bernoulli

Spread = Literal["std", "variance", "log-variance"]
_AS_STD: dict[str, Callable[[Tensor], Tensor]] = {
    "std": lambda spread: spread,
    "variance": torch.sqrt,
    "log-variance": lambda spread: (0.5 * spread).exp(),
}
# it normalises its latents by itself and takes images in [0, 1]
_RAE = "AutoencoderRAE"


def diffusers(vae: nn.Module | str | Path, scaled: bool = True) -> Adapted:
    r"""An autoencoder of diffusers: ``AutoencoderKL``, ``AutoencoderTiny``, ``AutoencoderDC``, ``AutoencoderRAE``, ….

    Latents are as the diffusion model sees them, $(z-\text{shift})\cdot\text{scale}$ (and per channel where the
    configuration has ``latents_mean`` and ``latents_std``); ``prior_std`` is the maker's standard normal in these
    units. Images are in [−1, 1]; ``AutoencoderRAE`` takes [0, 1] and normalises by itself.

    Args:
        vae: the model, or a local folder with ``config.json`` and safetensors.
        scaled: False for the latents that the autoencoder itself was trained with.

    Raises:
        InputError: no such model or folder.

    Example:
        >>> diffusers("no/such/folder")
        Traceback (most recent call last):
        curvae.errors.InputError: no/such/folder is not a model folder ...
    """
    if isinstance(vae, str | Path):
        from curvae.adapters.folders import open_diffusers

        vae = open_diffusers(Path(vae))
    model: Any = vae
    if not all(hasattr(model, name) for name in ("config", "encode", "decode")):
        raise InputError(f"{a_kind(vae)} is not an autoencoder of diffusers; expected config, encode and decode")
    shift, scale = _affine(model) if scaled and type(model).__name__ != _RAE else (0.0, torch.tensor(1.0))

    def encode(x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        answer = model.encode(x)
        if hasattr(answer, "latent_dist"):
            q = answer.latent_dist
            return as_seen(q.mean), q.std * _like(scale, q.mean)
        latent = getattr(answer, "latents", None)
        return as_seen(answer.latent if latent is None else latent)

    def as_seen(z: Tensor) -> Tensor:
        fits = (z.shape[1], *[1] * (z.dim() - 2))
        for each in (shift, scale):
            if isinstance(each, Tensor) and each.dim() and each.shape != fits:
                raise InputError(
                    f"latents of shape {tuple(z.shape)} do not fit the configuration's latents_mean and latents_std, "
                    f"taken as {tuple(each.shape)}; scaled=False leaves them as they are"
                )
        return (z - _like(shift, z)) * _like(scale, z)

    return Adapted(
        encode,
        lambda z: model.decode(z / _like(scale, z) + _like(shift, z)).sample,
        model,
        convention="kl_scale: summed squares without the half, see curvae.beta.from_diffusers",
        prior_std=scale,
        pixels=(0.0, 1.0) if type(model).__name__ == _RAE else (-1.0, 1.0),
        channel_axis=0 if any(isinstance(each, Tensor) and each.dim() for each in (shift, scale)) else None,
    )


def pythae(model: nn.Module) -> Adapted:
    r"""A model of pythae: its posterior if its encoder gives ``log_covariance``, its decoder, its β converted (of
    release 0.1.2 and later, which have the ½ of the squares; see :func:`curvae.beta.from_pythae`).

    With ``reconstruction_loss="bce"`` the decoder's outputs are probabilities, and the observation model is
    :class:`~curvae.likelihoods.Bernoulli`.

    Args:
        model: ``pythae.models.VAE``, ``BetaVAE``, ``AE``, ….

    Raises:
        InputError: it has no encoder and decoder.

    Example:
        >>> pythae(nn.Linear(2, 3))
        Traceback (most recent call last):
        curvae.errors.InputError: a Linear is not a model of pythae; expected encoder, decoder and model_config
    """
    source: Any = model
    if not all(hasattr(source, name) for name in ("encoder", "decoder", "model_config")):
        raise InputError(f"{a_kind(model)} is not a model of pythae; expected encoder, decoder and model_config")
    loss = getattr(source.model_config, "reconstruction_loss", "mse")
    own = getattr(source, "beta", 1.0)

    def encode(x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        answer = source.encoder(x)
        spread = answer.get("log_covariance")
        return answer["embedding"] if spread is None else (answer["embedding"], (0.5 * spread).exp())

    return Adapted(
        encode,
        lambda z: source.decoder(z)["reconstruction"],
        model,
        latents=getattr(source, "latent_dim", None),
        beta=betas.from_pythae(own, loss) if loss in ("mse", "bce") and isinstance(own, int | float) else None,
        convention=f"pythae's β = {own:g} with {loss}: everything summed; see curvae.beta.from_pythae",
        pixels=(0.0, 1.0),
        likelihood=Bernoulli() if loss == "bce" else None,
    )


def lightning(
    module: nn.Module,
    spread: Spread,
    *,
    latents: Sequence[int] | int | None = None,
    beta: float | None = None,
    convention: str = "",
    pixels: tuple[float, float] | None = None,
) -> Adapted:
    r"""A module with ``encode`` and ``decode``, or with ``pl_bolts``' ``encoder``, ``fc_mu``, ``fc_var``, ``decoder``.

    Args:
        module: a ``LightningModule`` or any other.
        spread: what the second output of ``encode`` (or ``fc_var``) is; nobody can tell from its values.
        latents: L, needed to draw from the prior before anything was encoded.
        beta: its β in curvae's convention (:mod:`curvae.beta`).
        convention: which β the maker's number is, in words.
        pixels: the range that images are meant to have; default 0 to 1.

    Raises:
        InputError: it has neither pair of methods, another ``spread``, or (when called) an ``encode`` that gives no
            spread: one network for features, a distribution, a mean alone. Those go through :func:`callables`.

    Example:
        >>> class Own(nn.Module):
        ...     def encode(self, x): return x[:, :2], 0 * x[:, :2]
        ...     def decode(self, z): return torch.cat([z, z], 1)
        >>> lightning(Own(), spread="log-variance").posterior(torch.ones(1, 4)).covariance()
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    if spread not in _AS_STD:
        raise InputError(f"spread is {spread!r}; expected {', '.join(_AS_STD)}")
    source: Any = module
    if hasattr(source, "encode") and hasattr(source, "decode"):
        raw, decode = source.encode, source.decode
    elif all(hasattr(source, name) for name in ("encoder", "fc_mu", "fc_var", "decoder")):
        decode = source.decoder

        def raw(x: Tensor) -> tuple[Tensor, Tensor]:
            features = source.encoder(x)
            return source.fc_mu(features), source.fc_var(features)
    else:
        raise InputError(
            f"{a_kind(module)} has no encode and decode; say what they are with adapters.callables(encode=…, decode=…)"
        )

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        answer = raw(x)
        if not isinstance(answer, tuple | list) or len(answer) < 2:  # some have a network for features of this name
            raise InputError(
                f"encode of {a_kind(module)} returned {a_kind(answer)}, with no second output that could be the "
                f"{spread}; say what its mean and standard deviation are, such as "
                "adapters.callables(encode=lambda x: (mean, std), decode=…); a deterministic one gives the mean alone"
            )
        return answer[0], _AS_STD[spread](answer[1])

    return Adapted(encode, decode, module, latents=latents, beta=beta, convention=convention, pixels=pixels)


def scvi(model: Any, likelihood: Any = None) -> Adapted:
    r"""A trained ``scvi.model.SCVI``: counts → posterior of the cell state; ``decode`` gives the expected counts.

    The library size is held at the mean of 10⁴ counts and the batch at the first one, so that the decoder is a function
    of z alone. Give the negative binomial as ``likelihood`` where counts, not their expectation, are compared.

    Args:
        model: the model, or its ``module``.
        likelihood: observation model; default Gaussian with σ = 1 on expected counts.

    Raises:
        InputError: it has no ``inference`` and ``generative``.

    Example:
        >>> scvi(nn.Linear(2, 3))
        Traceback (most recent call last):
        curvae.errors.InputError: a Linear is not a model of scvi-tools; expected inference, generative and z_encoder
    """
    module: Any = getattr(model, "module", model)
    if not all(hasattr(module, name) for name in ("inference", "generative", "z_encoder")):
        raise InputError(f"{a_kind(model)} is not a model of scvi-tools; expected inference, generative and z_encoder")

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        q = module.inference(x=x, batch_index=x.new_zeros(len(x), 1))["qz"]
        return q.loc, q.scale

    def decode(z: Tensor) -> Tensor:
        library = torch.full((len(z), 1), 1e4, dtype=z.dtype, device=z.device).log()
        return module.generative(z=z, library=library, batch_index=z.new_zeros(len(z), 1))["px"].mean

    return Adapted(
        encode,
        decode,
        module,
        latents=getattr(module, "n_latent", None),
        convention="scvi-tools' kl_weight: everything summed; see curvae.beta.from_scvi",
        likelihood=likelihood,
    )


def _affine(model: Any) -> tuple[Tensor | float, Tensor]:
    """Shift and scale of the latents, numbers or one for each channel ``[C, 1, …]``."""
    config = model.config
    scale = torch.tensor(float(getattr(config, "scaling_factor", None) or 1.0))
    shift: Tensor | float = float(getattr(config, "shift_factor", None) or 0.0)
    mean, std = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    if std is not None:
        scale = scale / _channels(std, model)
    if mean is not None:
        shift = _channels(mean, model)
    return shift, scale


def _channels(values: Any, model: Any) -> Tensor:
    """``[C, 1, …]``; a configuration holds them as a list, nested or not. Kernels say how many axes latents have."""
    axes = max((weight.dim() for weight in model.parameters() if weight.dim() > 2), default=4) - 2
    return torch.as_tensor(values, dtype=torch.get_default_dtype()).flatten().view(-1, *[1] * axes)


def _like(value: Tensor | float, z: Tensor) -> Tensor | float:
    return value.to(z) if isinstance(value, torch.Tensor) else value
