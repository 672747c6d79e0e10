"""Training that has run away is told from training that is under way."""

from __future__ import annotations

from curvae.objectives import Terms
from curvae.training.errors import TrainingError

# times the objective's size at the first step: no training that learns anything gets there, and one that runs away
# does so within a few steps
_FACTOR = 1e3
# lines of metrics in a row: a spike that passes is no divergence
_PATIENCE = 5


class Watch:
    """Compares the objective with its size at the first step.

    The size is the sum of the absolute values of its parts, since parts of opposite signs may cancel; 1 if it is less.
    None stands for it before the first step.

    Example:
        >>> watch = Watch(start=20.0)
        >>> watch.ran_away(3e4), watch.ran_away(1e3)
        (True, False)
    """

    def __init__(self, start: float | None = None) -> None:
        self.start = start
        self._lines = 0

    def begin(self, terms: Terms) -> None:
        """Take the size from the first step's terms, if it is not known."""
        if self.start is None:
            self.start = sum(abs(float(part.detach().mean())) for part in terms.parts.values())

    def ran_away(self, total: float) -> bool:
        """Whether the objective's value is beyond what training passes through."""
        return self.start is not None and total > _FACTOR * max(self.start, 1.0)

    def look(self, total: float, step: int) -> None:
        """Look at the value of a line of metrics.

        Raises:
            TrainingError: it and those before it are beyond.
        """
        self._lines = self._lines + 1 if self.ran_away(total) else 0
        if self._lines >= _PATIENCE:
            self.check(total, step)

    def check(self, total: float, step: int) -> None:
        """Refuse to end with such a value.

        Raises:
            TrainingError: it is beyond.
        """
        if self.ran_away(total):
            raise TrainingError(
                f"training has diverged: the objective is {total:.3g} at step {step} and was about {self.start:.3g} at "
                "the first; lower --lr"
            )
