"""Other libraries' complaints, cut to fit into one line."""

from __future__ import annotations


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
