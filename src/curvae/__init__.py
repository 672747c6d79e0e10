"""curvae: the β-VAE without the noise."""

from curvae import curvature, likelihoods, objectives, posteriors
from curvae.autoencoder import Autoencoder

__all__ = ["Autoencoder", "curvature", "likelihoods", "objectives", "posteriors"]
__version__ = "0.1.0"
