"""What an objective returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree

from curvae._repr import OneLine
from curvae._typing import Float, Tensor


@dataclass(frozen=True, repr=False)
class Terms(OneLine):
    """Named parts of an objective for each sample of a batch, weights included, all minimised.

    Args:
        parts: ``[B]`` each; their sum is :attr:`total`.

    Example:
        >>> terms = Terms({"nll": torch.ones(2), "kl": torch.tensor([1.0, 2.0])})
        >>> terms.total, terms["kl"]
        (tensor([2., 3.]), tensor([1., 2.]))
    """

    parts: Mapping[str, Float[Tensor, " B"]]

    def _told(self) -> dict[str, Any]:
        return {"parts": self.parts, "data": len(next(iter(self.parts.values()), ()))}

    @property
    def total(self) -> Float[Tensor, " B"]:
        """The objective's value for each sample."""
        return torch.stack(list(self.parts.values())).sum(0)

    def __getitem__(self, name: str) -> Float[Tensor, " B"]:
        return self.parts[name]

    def mean(self) -> Float[Tensor, ""]:
        """The batch's mean: what training minimises."""
        return self.total.mean()


# the wrappers of torch.distributed look for tensors in what a module returns, torch.func for tensors to transform
_pytree.register_pytree_node(
    Terms,
    lambda terms: (list(terms.parts.values()), tuple(terms.parts)),
    lambda values, names: Terms(dict(zip(names, values, strict=True))),
    serialized_type_name="curvae.objectives.Terms",
)
