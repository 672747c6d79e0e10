"""How the products that may be made are spent."""

from __future__ import annotations

from dataclasses import dataclass

from curvae._checks import positive_int
from curvae.errors import InputError

_FEWEST = 16
_LARGEST_EXACT = 64
_BANDS, _DRAWS, _PROBES = 4, 4, 2


@dataclass(frozen=True)
class Budget:
    """Products for each sample, a product being one forward- or one reverse-mode pass with one tangent.

    Attributes:
        exact: all d columns, from which everything follows.
        columns: d, or how many are drawn.
        probes: of Lanczos.
        depth: of Lanczos.
        bands: of spatial frequency, one product each.
        draws: of latent noise, one product each.

    Example:
        >>> Budget.of(64, latents=5, bands=False).products, Budget.of(64, latents=4096, bands=True).products
        (5, 64)
    """

    exact: bool
    columns: int
    probes: int
    depth: int
    bands: int
    draws: int

    @classmethod
    def of(cls, products: int, latents: int, bands: bool) -> Budget:
        """Spend at most ``products``.

        Raises:
            InputError: fewer than 16 where d is more than that.
        """
        positive_int("products", products)
        if latents <= min(products, _LARGEST_EXACT):
            return cls(True, latents, 0, 0, 0, 0)
        if products < _FEWEST:
            raise InputError(f"products is {products} for {latents} latents; expected at least {min(latents, _FEWEST)}")
        waves = _BANDS if bands and products >= 2 * _FEWEST else 0
        left = products - _DRAWS - waves
        depth = min((left // (2 * _PROBES) + 1) // 2, latents)
        columns = min(left - _PROBES * (2 * depth - 1), latents)
        return cls(False, columns, _PROBES, depth, waves, _DRAWS)

    @property
    def log_det(self) -> int:
        """Products that the log-determinant takes."""
        return self.columns if self.exact else self.probes * (2 * self.depth - 1)

    @property
    def products(self) -> int:
        """All of them."""
        return self.columns if self.exact else self.columns + self.bands + self.draws + self.log_det
