"""What a run of one's own was given as objects, which its folder can only name."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curvae.data import Dataset
from curvae.likelihoods import Gaussian, Likelihood
from curvae.objectives import Terms
from curvae.posteriors import Full, Structure
from curvae.runs.own import Build


class Temporary:
    """A folder that is removed with this object, or with the process.

    Example:
        >>> folder = Temporary()
        >>> path = folder.path
        >>> del folder
        >>> path.exists()
        False
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="curvae-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Handed:
    """Objects in place of what a configuration names by text; None where the text says it all.

    Attributes:
        model: a model, or the function that makes it.
        data: the data.
        objective: what is minimised.
        temporary: the run's folder, where nobody chose one; it lives as long as this.
    """

    model: Build | None = None
    data: Dataset | None = None
    objective: Callable[..., Terms] | None = None
    temporary: Temporary | None = None


def noise_of(objective: Callable[..., Terms]) -> tuple[Likelihood, Structure]:
    """Observation model and covariance structure of an objective of one's own: its attributes, if it has them.

    Example:
        >>> noise_of(lambda model, x, generator=None: Terms({}))
        (Gaussian(sigma=1), Full())
    """
    likelihood, structure = getattr(objective, "likelihood", None), getattr(objective, "structure", None)
    return (
        likelihood if isinstance(likelihood, Likelihood) else Gaussian(),
        structure if isinstance(structure, Structure) else Full(),
    )
