"""What a model's outputs are drawn as: one set of figures, for images and for vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from curvae.report.pictures import Picture
from curvae.report.subjects import ShownRun

Outputs = Sequence[tuple[ShownRun, Float[np.ndarray, "B *D"]]]
"""Data-shaped values of each run, as many for every run."""


@dataclass(frozen=True)
class Captioned:
    """A picture with what it is; ``subject`` is the run that it shows, None if it shows the data or all runs."""

    caption: str
    picture: Picture
    subject: ShownRun | None = None


@dataclass(frozen=True)
class Amounts:
    """How much is shown: examples, samples, latents and ways between pairs, and the longest side of an image."""

    examples: int
    samples: int
    latents: int
    side: int = 96
    pairs: int = 2


class Drawing(ABC):
    """A way to show data-shaped values."""

    @abstractmethod
    def rebuilt(self, originals: Float[np.ndarray, "B *D"], outputs: Outputs) -> list[Captioned]:
        """Originals and what each run makes of them."""

    @abstractmethod
    def sampled(self, outputs: Outputs, originals: Float[np.ndarray, "N *D"]) -> list[Captioned]:
        """A figure of samples for each run; ``originals`` are there to compare."""

    @abstractmethod
    def traversed(self, row: Float[np.ndarray, "V *D"], alt: str) -> Picture:
        """What one latent does, from its lowest value to its highest."""

    @abstractmethod
    def thumbnails(self, data: Float[np.ndarray, "B *D"]) -> list[Picture | None]:
        """Each sample by itself, small; None where that says nothing."""
