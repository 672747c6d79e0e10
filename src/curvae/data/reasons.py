"""Complaints: other libraries', cut to fit into one line, and the one about memory."""

from __future__ import annotations

from curvae import memory
from curvae.errors import InputError

UNOBSERVED = (
    "train with masked: before the observation model, as in --likelihood masked:gaussian or masked:poisson, which "
    "leaves gaps out"
)
"""What to do where values are missing and cannot be filled in."""


def reason(error: BaseException) -> str:
    """What went wrong, in at most 120 characters on one line and, for the system's errors, without the path.

    Example:
        >>> reason(PermissionError(13, "Permission denied", "a.npy"))
        'Permission denied'
        >>> reason(EOFError())
        'EOFError'
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:120] or type(error).__name__


def check_size(size: int, what: str) -> None:
    """Refuse more bytes than the machine has memory, before anybody takes them on a header's word.

    Raises:
        InputError: there are not as many.

    Example:
        >>> check_size(2**60, "toy.npy")
        Traceback (most recent call last):
        curvae.errors.InputError: toy.npy needs 1.07e+09 GB of memory, more than this machine has (...); ...
    """
    if size > memory.total():
        raise InputError(
            f"{what} needs {size / 2**30:.3g} GB of memory, more than this machine has "
            f"({memory.total() / 2**30:.3g}); give fewer or smaller samples, or get the file again if it is damaged"
        )
