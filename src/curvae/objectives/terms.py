"""What an objective returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree

from curvae._checks import shown
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.errors import InputError


@dataclass(frozen=True, repr=False)
class Terms(OneLine):
    """Named parts of an objective for each sample of a batch, weights included, all minimised.

    Args:
        parts: ``[B]`` each; their sum is :attr:`total`.

    Raises:
        InputError: no parts, or one that is not a number for each sample. ``[B, D]`` would be averaged over D, too.

    Example:
        >>> terms = Terms({"nll": torch.ones(2), "kl": torch.tensor([1.0, 2.0])})
        >>> terms.total, terms["kl"]
        (tensor([2., 3.]), tensor([1., 2.]))
    """

    parts: Mapping[str, Float[Tensor, " B"]]

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError("an objective's Terms has no parts; expected one or more, such as {'nll': …}")
        expected = None
        for name, part in self.parts.items():
            found = tuple(part.shape) if isinstance(part, Tensor) else None
            if found is None or len(found) != 1 or found != (expected or found):
                what = shown(part) if found is None else f"of shape {found}"
                raise InputError(
                    f"an objective's part {name!r} is {what}; expected one number for each sample, "
                    f"{expected or '(B,)'}: sum over outputs and latents, and leave the mean over samples to Terms"
                )
            expected = found

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


def _restored(values: Iterable[Any], names: tuple[str, ...]) -> Terms:
    """Terms without a look at their parts, which may be placeholders, or stacked by ``torch.vmap``."""
    terms = object.__new__(Terms)
    object.__setattr__(terms, "parts", dict(zip(names, values, strict=True)))
    return terms


# the wrappers of torch.distributed look for tensors in what a module returns, torch.func for tensors to transform
_pytree.register_pytree_node(
    Terms,
    lambda terms: (list(terms.parts.values()), tuple(terms.parts)),
    _restored,
    serialized_type_name="curvae.objectives.Terms",
)
