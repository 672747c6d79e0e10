"""curvae: the β-VAE without the noise."""

__version__ = "0.1.0"
