"""How primals and tangents lie in one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.func import jvp, vmap

from curvae._typing import Float, Int, Tensor


class Arrangement(NamedTuple):
    """Primals of all B data, in the order given, then tangents 1 … K of the m chosen ones.

    The other data have tangents of zero, which stay zero through every function that treats each sample by itself.

    Nodes of autograd's graph keep it, so nothing in it may belong to that graph: they would keep themselves, for ever.

    Attributes:
        data: B, primal rows.
        chosen: the m data that have tangents.
        directions: K, tangents of each of them.
        everyone: whether the chosen ones are all, in their order.
    """

    data: int
    chosen: Int[Tensor, " m"]
    directions: int
    everyone: bool = False

    @property
    def total(self) -> int:
        """B + K m."""
        return self.data + self.directions * self.chosen.shape[0]  # len() of a tensor goes through Python

    def join(self, primal: Float[Tensor, "B *S"], tangents: Float[Tensor, "K m *S"]) -> Float[Tensor, "R *S"]:
        """One tensor of primal and tangent rows."""
        return torch.cat([primal, tangents.flatten(0, 1).to(primal.dtype)])

    def split(self, rows: Float[Tensor, "R *S"]) -> tuple[Float[Tensor, "B *S"], Float[Tensor, "K m *S"]]:
        """Primal rows and tangent rows."""
        primal, tangents = self.halves(rows)
        return primal, tangents.unflatten(0, (self.directions, self.chosen.shape[0]))

    def halves(self, rows: Float[Tensor, "R *S"]) -> tuple[Float[Tensor, "B *S"], Float[Tensor, "n *S"]]:
        """Primal rows and all K m tangent rows, as views."""
        # one split, whose derivative is one concatenation; that of a slice is a tensor of zeros for each half
        primal, tangents = rows.split_with_sizes([self.data, self.directions * self.chosen.shape[0]])
        return primal, tangents

    def points(self, primal: Float[Tensor, "B *S"]) -> Float[Tensor, "m *S"]:
        """Where the tangents are taken."""
        return primal if self.everyone else primal.index_select(0, self.chosen)

    def along(self, points: Float[Tensor, "m *S"]) -> Float[Tensor, "n *S"]:
        """The same for each of the K m tangents."""
        if self.directions == 1:
            return points
        return points.expand(self.directions, *points.shape).flatten(0, 1)

    def add_at_points(self, total: Float[Tensor, "B *S"], parts: Float[Tensor, "n *S"]) -> None:
        """Add up what the K m tangents bring to the data that they belong to, in place."""
        if self.directions > 1:
            parts = parts.unflatten(0, (self.directions, -1)).sum(0)
        if self.everyone:
            total.add_(parts)
        else:
            total.index_add_(0, self.chosen, parts)

    def constant(self, primal: Float[Tensor, "N *S"]) -> Float[Tensor, "R *S"]:
        """Rows of something that does not depend on the latents: one value for each sample, or (N = 1) for all."""
        shape = primal.shape[1:]
        return torch.cat([primal.expand(self.data, *shape), primal.new_zeros(self.total - self.data, *shape)])

    def differentiate(
        self, at_all: Callable[..., Tensor], at_points: Callable[..., Tensor], *inputs: Float[Tensor, "R ..."]
    ) -> Float[Tensor, "R ..."]:
        """A function of each sample by itself, of all primals and of the chosen ones: value and derivatives."""
        primals, tangents = zip(*map(self.split, inputs), strict=True)
        points = tuple(map(self.points, primals))
        pushed = vmap(lambda *along: jvp(at_points, points, along)[1])(*tangents)
        return self.join(at_all(*primals), pushed)
