"""What a run of one's own was given as objects, which its folder can only name."""

from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch.utils import _pytree

from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.objectives import Terms
from curvae.posteriors import Structure
from curvae.runs.build import likelihood_of
from curvae.runs.config import RunConfig
from curvae.runs.fields import PYTHON
from curvae.runs.own import Build
from curvae.runs.parts import build_structure


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


def copied(model: Autoencoder) -> Autoencoder:
    """A deep copy, also of a model whose layers keep results with their graph.

    PyTorch copies no such tensors, and its older ``weight_norm`` and ``spectral_norm`` keep the last weight so.

    Example:
        >>> import torch
        >>> decoder = torch.nn.Linear(2, 5)
        >>> decoder.last = decoder(torch.zeros(1, 2))
        >>> copied(Autoencoder(torch.nn.Linear(5, 2), decoder, latents=2)).decoder.last.requires_grad
        False
    """
    kept = _pytree.tree_leaves([list(vars(part).values()) for part in model.modules()])
    results = [value for value in kept if isinstance(value, Tensor) and not value.is_leaf]
    return copy.deepcopy(model, {id(value): value.detach().clone() for value in results})


def noise_of(
    config: RunConfig, model: Autoencoder, objective: Callable[..., Terms] | None
) -> tuple[Likelihood, Structure | None]:
    """Observation model and covariance structure that a run is measured with.

    Those of its configuration; where that has no word for them, those of the objective that was handed over, or of the
    model's posterior. The structure is None where it was handed over with an objective that is not at hand now.

    Raises:
        InputError: neither says the observation model.

    Example:
        >>> from torch import nn
        >>> model = Autoencoder(nn.Linear(5, 2), nn.Linear(2, 5), latents=2)
        >>> noise_of(RunConfig(data="toy", likelihood="poisson"), model, None)
        (Poisson(), Diagonal())
    """
    structure = getattr(objective, "structure", None)
    if config.objective != PYTHON or not isinstance(structure, Structure):
        structure = model.structure if config.structure == PYTHON else build_structure(config.structure)
    if config.likelihood != PYTHON:
        return likelihood_of(config, model), structure
    own = dict(model.named_children()).get("likelihood", getattr(objective, "likelihood", None))
    if not isinstance(own, Likelihood):
        raise InputError(
            "the run's objective has no observation model that is known here, which measuring needs; give it an "
            "attribute likelihood, and hand it over: objective=…"
        )
    return own, structure


def known(structure: Structure | None) -> Structure:
    """A run's structure, for what needs it.

    Raises:
        InputError: it is not at hand.

    Example:
        >>> known(None)
        Traceback (most recent call last):
        curvae.errors.InputError: the run's covariance structure was handed to curvae.fit with its objective ...
    """
    if structure is None:
        raise InputError(
            "the run's covariance structure was handed to curvae.fit with its objective and has no name that a folder "
            "could keep; open the run in Python with Run.open(…, objective=…), or give encode a structure"
        )
    return structure
