"""What can go wrong in training although the input was fine."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line that says why and what is left on disk.

    Example:
        >>> raise TrainingError("the loss is nan at step 12")
        Traceback (most recent call last):
        curvae.training.errors.TrainingError: the loss is nan at step 12
    """
