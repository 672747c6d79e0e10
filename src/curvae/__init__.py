"""curvae: the β-VAE without the noise.

PyTorch is imported with the first name that needs it, so that ``curvae --help`` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curvae import adapters, beta, curvature, likelihoods, objectives, plot, posteriors, sklearn
    from curvae.autoencoder import Autoencoder
    from curvae.inspection import inspect
    from curvae.objectives import regulariser
    from curvae.runs.export import load_model as load
    from curvae.training.fit import fit

__all__ = [
    "Autoencoder",
    "adapters",
    "beta",
    "curvature",
    "fit",
    "inspect",
    "likelihoods",
    "load",
    "objectives",
    "plot",
    "posteriors",
    "regulariser",
    "sklearn",
]
__version__ = "0.2.0"

_NAMES = {
    "Autoencoder": ("curvae.autoencoder", "Autoencoder"),
    "fit": ("curvae.training.fit", "fit"),
    "inspect": ("curvae.inspection", "inspect"),
    "load": ("curvae.runs.export", "load_model"),
    "regulariser": ("curvae.objectives", "regulariser"),
}
_ROOMS = ("adapters", "beta", "curvature", "likelihoods", "objectives", "plot", "posteriors", "sklearn")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"curvae.{name}")
    if name in _NAMES:
        module, attribute = _NAMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'curvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
