"""The one exception that means: what the user gave cannot be used."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: a file, an argument or an array that cannot be used.

    The message is one line that tells what was given, what was expected and what to do. The command line prints it
    and exits with code 2; library callers can catch it as a ``ValueError``.

    Example:
        >>> raise InputError("beta is -1.0; expected a number > 0")
        Traceback (most recent call last):
        curvae.errors.InputError: beta is -1.0; expected a number > 0
    """
