"""Images side by side, for the commands that write a .png."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Shaped

    from curvae._typing import UInt8

SHOWN = 10_000
"""Images in a grid at most: 100 a side."""


def grid(images: Shaped[np.ndarray, "N C H W"], gap: int = 2, columns: int | None = None) -> UInt8[np.ndarray, "..."]:
    """Images side by side, row after row, with white pixels between them: ``[H', W']`` or ``[H', W', 3]``.

    Images are uint8 or in [0, 1] (values beyond are cut off), C = 1 or 3; without ``columns`` as near to a square as
    they go.

    Example:
        >>> import numpy as np
        >>> grid(np.zeros((3, 1, 4, 4))).shape, grid(np.zeros((3, 1, 4, 4)), columns=3).shape
        ((10, 10), (4, 16))
    """
    import numpy as np

    from curvae.data import cut_off

    count, channels, height, width = images.shape
    columns = int(np.ceil(np.sqrt(count))) if columns is None else columns
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    pixels = cut_off(images).numpy().transpose(0, 2, 3, 1)
    for index, picture in enumerate(pixels):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas[..., 0] if channels == 1 else canvas


def above_each_other(
    upper: Shaped[np.ndarray, "N C H W"], lower: Shaped[np.ndarray, "N C H W"]
) -> tuple[Shaped[np.ndarray, "M C H W"], int]:
    """Two sets of images for one grid: in each pair of rows the upper ones and, below them, the lower ones.

    Returns:
        The images, with white ones at the end of the last rows, and how many are in a row.

    Example:
        >>> import numpy as np
        >>> above_each_other(np.zeros((5, 1, 2, 2)), np.ones((5, 1, 2, 2)))[0].shape
        (16, 1, 2, 2)
    """
    import numpy as np

    columns = min(len(upper), int(np.ceil(np.sqrt(2 * len(upper)))))
    missing = -len(upper) % columns
    padded = [np.pad(one, ((0, missing), *[(0, 0)] * 3), constant_values=1) for one in (upper, lower)]
    bands = [one.reshape(-1, columns, *upper.shape[1:]) for one in padded]
    return np.stack(bands, axis=1).reshape(-1, *upper.shape[1:]), columns
