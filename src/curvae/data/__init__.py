"""Data: one call from a name or a path to a training and a test tensor, and batches that a resumed run sees again."""

from curvae.data.batches import Batches
from curvae.data.dataset import Dataset, as_float
from curvae.data.loading import NAMES, absolute, is_name, load, title

__all__ = ["NAMES", "Batches", "Dataset", "absolute", "as_float", "is_name", "load", "title"]
