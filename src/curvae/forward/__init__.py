"""Pushing tangents through a decoder: forward mode over PyTorch's modules, with batch statistics held fixed."""

from curvae.forward.first_use import unchecked
from curvae.forward.pushforward import columns, jacobian, pushforward
from curvae.forward.statistics import FixedStatistics

__all__ = ["FixedStatistics", "columns", "jacobian", "pushforward", "unchecked"]
