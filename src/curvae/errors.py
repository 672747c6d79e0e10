"""The exceptions of curvae; ``InputError`` is the one that means: what the user gave cannot be used."""

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


class MissingExtraError(InputError, ImportError):
    """A part of curvae was asked for whose packages come with an extra that is not installed.

    Example:
        >>> issubclass(MissingExtraError, ImportError)
        True
    """


class IndefiniteError(ArithmeticError):
    """A closed form needs a positive definite matrix and did not get one.

    The exact Hessian of a log-likelihood in the latents need not be negative definite, and then the optimal covariance
    (9) and the objective (10) do not exist. Nothing is clamped; the message gives the offending eigenvalue.

    Example:
        >>> issubclass(IndefiniteError, ArithmeticError)
        True
    """


class DerivativeError(InputError, RuntimeError):
    """A derivative was asked for that a value does not have; PyTorch raises a ``RuntimeError`` for its like.

    Example:
        >>> issubclass(DerivativeError, RuntimeError)
        True
    """


class UnsavedError(RuntimeError):
    """What was measured could not be written; ``content`` has it as text, so that it is not lost.

    The command line prints the content on stdout, the message on stderr, and exits with code 1.

    Example:
        >>> UnsavedError("runs/fig2 cannot be written: No space left on device", "{}").content
        '{}'
    """

    def __init__(self, message: str, content: str) -> None:
        super().__init__(message)
        self.content = content
