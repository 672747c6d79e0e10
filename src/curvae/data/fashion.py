"""Fashion-MNIST from Debian's package ``dataset-fashion-mnist``."""

from __future__ import annotations

from pathlib import Path

from curvae.data import idx
from curvae.data.split import Halves, Split
from curvae.errors import InputError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_DIGESTS = (
    # of the unpacked IDX files, as published: train, test
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
)


def load(folder: Path = DEBIAN) -> Halves:
    """All of Fashion-MNIST: 60,000 training and 10,000 test images.

    Args:
        folder: where its IDX files are. (Users with their own copy give its folder to ``curvae.data.load``.)

    Returns:
        ``[N, 1, 28, 28]`` halves.

    Raises:
        InputError: the files are missing or are not Fashion-MNIST.
    """
    if idx.find(folder, "train") is None or idx.find(folder, "test") is None:
        raise InputError(
            f"fashion-mnist is not in {str(folder)!r}; run: apt-get install dataset-fashion-mnist, "
            "or give the folder of your own copy instead of the name"
        )
    halves = idx.load_folder(folder, Split())
    if (idx.idx_digest(halves.train[:, 0]), idx.idx_digest(halves.test[:, 0])) != _DIGESTS:
        raise InputError(f"{str(folder)!r} does not hold Fashion-MNIST (sha256 differs); get its files again")
    return halves
