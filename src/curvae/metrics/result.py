"""The numbers of an evaluation, with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A mean over samples, with its standard error; None for that of a single sample, of which nothing is known.

    Example:
        >>> import torch
        >>> Estimate.of(torch.tensor([1.0, 2.0, 3.0]))
        Estimate(mean=2.0, se=0.5773502691896258)
    """

    mean: float
    se: float | None

    @classmethod
    def of(cls, values: Float[Tensor, " N"]) -> Estimate:
        """From one value per sample."""
        values = values.double()
        se = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None
        return cls(float(values.mean()), se)


@dataclass(frozen=True, eq=False, repr=False)
class Examples(OneLine):
    r"""Matrices of a few samples, for pictures.

    Attributes:
        x: the data ``[n, *D]``.
        precision: $\Sigma^{-1}_{z\mid x}$, ``[n, d, d]``.
        implied: $I+\tfrac1\beta M$, ``[n, d, d]``.
    """

    x: Float[np.ndarray, "n *D"]
    precision: Float[np.ndarray, "n d d"]
    implied: Float[np.ndarray, "n d d"]


@dataclass(frozen=True, repr=False)
class Evaluation(OneLine):
    r"""What :func:`evaluate` measured. All objectives are minimised ones, per sample, summed over outputs and latents.

    Attributes:
        data: number of samples.
        beta: β of all objectives here.
        structure: the covariance structure, as text.
        own_posterior: whether $\Sigma$ is the model's; else it is the optimum (11) of the structure.
        beta_vae: objective (2), its expectation by sampling.
        taylor: objective (7).
        grae: objective (12), which is (13) for Gaussian observations, in the closed form of the structure.
        grae_full: the same with the full structure.
        reconstruction: first term of (12), the nll of the reconstruction from the mean.
        mse: squared error of the reconstruction, averaged over the outputs; of classes, of their probabilities; of
            what was observed, where values may be missing.
        penalty_exact: $\tfrac\beta2\sum_i\log(1+\tfrac1\beta M_{ii})$, the right side of (14).
        penalty_sampled: its estimate from sampled columns.
        penalty_difference: sampled less exact, per sample.
        penalty_relative_difference: the difference of the two means over the exact one.
        alignment: $\|\Sigma^{-1}-(I+\tfrac1\beta M)\|_F/\|I+\tfrac1\beta M\|_F$.
        alignment_structure: the same against the optimum of the structure in place of $I+\tfrac1\beta M$.
        alignment_correlation: correlation of the entries off the diagonal; None where those of one side do not vary.
        gap: (7) less (13) with the full structure, by the closed formula (:func:`~curvae.metrics.gap`).
        gap_error: largest difference of that from the two objectives themselves, relative to their size.
        examples: matrices of the first few samples, where they are known.
    """

    data: int
    beta: float
    structure: str
    own_posterior: bool
    beta_vae: Estimate
    taylor: Estimate
    grae: Estimate
    grae_full: Estimate
    reconstruction: Estimate
    mse: Estimate
    penalty_exact: Estimate
    penalty_sampled: Estimate
    penalty_difference: Estimate
    penalty_relative_difference: float
    alignment: Estimate
    alignment_structure: Estimate
    alignment_correlation: float | None
    gap: Estimate
    gap_error: float
    examples: Examples | None = field(default=None, compare=False, repr=False)

    def _told(self) -> dict[str, Any]:
        means = {name: round(getattr(self, name).mean, 4) for name in ("beta_vae", "taylor", "grae")}
        return {"data": self.data, "beta": self.beta, "structure": self.structure, **means}

    def to_json(self) -> dict[str, Any]:
        """All numbers as a JSON-ready object; ``{"mean", "se"}`` for the estimates."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "examples"}
        return {name: asdict(value) if isinstance(value, Estimate) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], examples: Examples | None = None) -> Evaluation:
        """Read back what :meth:`to_json` wrote.

        Raises:
            InputError: a value is missing or of the wrong kind.
        """
        # curvae 0.1 called it the energy
        values = {"reconstruction" if name == "energy" else name: value for name, value in values.items()}
        try:
            read: dict[str, Any] = {
                f.name: Estimate(float(values[f.name]["mean"]), _error(values[f.name]["se"]))
                if f.type == "Estimate"
                else values[f.name]
                for f in fields(cls)
                if f.name != "examples"
            }
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the evaluation is damaged at {error}; run curvae evaluate again") from error
        return cls(**read, examples=examples)


def _error(value: Any) -> float | None:
    return None if value is None else float(value)
