"""What can go wrong in training although the input was fine."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line that says why and what is left on disk.

    Example:
        >>> raise TrainingError("the loss is nan at step 12")
        Traceback (most recent call last):
        curvae.training.errors.TrainingError: the loss is nan at step 12
    """


class Stopped(TrainingError):
    """A signal ended training; ``signal`` is its name.

    Example:
        >>> Stopped("stopped by SIGINT", "SIGINT").signal
        'SIGINT'
    """

    def __init__(self, message: str, signal: str = "") -> None:
        super().__init__(message)
        self.signal = signal
