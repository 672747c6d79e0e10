"""Autoencoders of other packages as a :class:`~curvae.autoencoder.Model`; each says which β its maker means.

Nothing of another package is imported before a folder of its is opened: an adapter takes an object and asks it what
every version of that package has.
"""

from curvae.adapters.adapted import Adapted, callables
from curvae.adapters.folders import adapt, folder
from curvae.adapters.makers import diffusers, lightning, pythae, scvi

__all__ = ["Adapted", "adapt", "callables", "diffusers", "folder", "lightning", "pythae", "scvi"]
