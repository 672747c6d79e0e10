"""§3.2 as evidence: do latents stand for the factors of known data, and is it the mean-field Σ that does it?

β-VAE and GRAE with diagonal, block and full structure on drawn data whose factors are known, against β, with an
ordinary autoencoder, and with data whose principal directions do not lie along the factors, as controls.
"""

from curvae.experiments.disentanglement.config import CONFIGS, Disentanglement
from curvae.experiments.disentanglement.reproduction import reproduce

__all__ = ["CONFIGS", "Disentanglement", "reproduce"]
