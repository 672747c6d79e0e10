"""Figures 2, 3 and 7 and appendices E and F, and training with GRAE against the β-VAE, on MNIST.

A sweep trains β-VAEs, autoencoders and GRAEs into one cache folder that all figures share; each figure measures the
runs it needs on held-out images and writes numbers with intervals, pictures and a table.
"""

from curvae.experiments.mnist.config import CONFIGS, Comparison, Curves, HeatMaps, Setting
from curvae.experiments.mnist.reproduction import reproduce

__all__ = ["CONFIGS", "Comparison", "Curves", "HeatMaps", "Setting", "reproduce"]
