"""Data: one call from a name or a path to a training and a test tensor, and batches that a resumed run sees again."""

from curvae.data.batches import Batches
from curvae.data.coding import Coding
from curvae.data.convert import as_samples
from curvae.data.dataset import Dataset
from curvae.data.given import as_dataset
from curvae.data.loading import load, load_whole
from curvae.data.names import NAMES, absolute, is_name, title
from curvae.data.order import in_order
from curvae.data.paired import Batch
from curvae.data.pixels import as_bytes, as_float, as_images, cut_off
from curvae.data.samples import Samples

__all__ = [
    "NAMES",
    "Batch",
    "Batches",
    "Coding",
    "Dataset",
    "Samples",
    "absolute",
    "as_bytes",
    "as_dataset",
    "as_float",
    "as_images",
    "as_samples",
    "cut_off",
    "in_order",
    "is_name",
    "load",
    "load_whole",
    "title",
]
