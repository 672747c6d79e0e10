"""Table 1, figure 4 and appendix G: are samples of β-VAE and GRAE≈ equally good, at every β, on 64 × 64 images?

Both models are trained into the cache of runs that all figures share; table 1 shows their samples side by side, figure
4 measures them by a Fréchet distance, from the prior and from a mixture fitted to the codes, with sharpness,
reconstruction error and objectives beside it.
"""

from curvae.experiments.faces.config import CONFIGS, Quality, Samples
from curvae.experiments.faces.reproduction import reproduce

__all__ = ["CONFIGS", "Quality", "Samples", "reproduce"]
