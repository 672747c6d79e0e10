"""How the products that may be made are spent."""

from __future__ import annotations

from dataclasses import dataclass

from curvae._checks import positive_int
from curvae.curvature.measuring import FEWEST
from curvae.errors import InputError

_FEWEST, _WITH_BANDS = 24, 32
_LARGEST_EXACT = 64
_SAMPLES, _SAMPLES_OF_MANY = 64, 8
_BANDS, _DRAWS = 4, 4
# of what is left after bands and draws, for the spectrum and the log-determinant
_SHARE = 2 / 3


def how_many(samples: int | None, products: int, latents: int) -> int:
    """Of the data that are looked at: as asked, or by what one of them costs.

    Raises:
        InputError: not a whole number >= 1.

    Example:
        >>> how_many(None, 64, latents=5), how_many(None, 64, latents=4096), how_many(3, 64, latents=5)
        (64, 8, 3)
    """
    exact = latents <= min(positive_int("products", products), _LARGEST_EXACT)
    return (_SAMPLES if exact else _SAMPLES_OF_MANY) if samples is None else positive_int("samples", samples)


@dataclass(frozen=True)
class Budget:
    """Products for each sample, a product being one forward- or one reverse-mode pass with one tangent.

    Attributes:
        exact: all d columns, from which everything follows.
        columns: d, or how many are drawn.
        pairs: products v ↦ Mv for the spectrum and the log-determinant, two products each.
        bands: of spatial frequency, one product each.
        draws: of latent noise, one product each where not all columns are there.

    Example:
        >>> Budget.of(64, latents=5, bands=False).products, Budget.of(64, latents=4096, bands=True).products
        (5, 64)
    """

    exact: bool
    columns: int
    pairs: int
    bands: int
    draws: int

    @classmethod
    def of(cls, products: int, latents: int, bands: bool) -> Budget:
        """Spend at most ``products``.

        Raises:
            InputError: fewer than 24 where d is more than that.
        """
        positive_int("products", products)
        if latents <= min(products, _LARGEST_EXACT):
            return cls(True, latents, 0, 0, _DRAWS)
        if products < _FEWEST:
            raise InputError(f"products is {products} for {latents} latents; expected at least {min(latents, _FEWEST)}")
        waves = _BANDS if bands and products >= _WITH_BANDS else 0
        left = products - _DRAWS - waves
        pairs = max(int(_SHARE * left) // 2, FEWEST)
        return cls(False, min(left - 2 * pairs, latents), pairs, waves, _DRAWS)

    @property
    def log_det(self) -> int:
        """Products that the log-determinant may take."""
        return self.columns if self.exact else 2 * self.pairs

    @property
    def products(self) -> int:
        """All of them."""
        return self.columns if self.exact else self.columns + self.bands + self.draws + self.log_det
