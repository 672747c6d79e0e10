"""Table 1 as a picture: samples of both models side by side, from the same z, one band for each β."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import torch
from jaxtyping import Float, Shaped
from PIL import Image, ImageDraw, ImageFont

from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import cut_off
from curvae.reproduce.sweep.faces import CHALLENGER, REFERENCE

_GAP, _MIDDLE, _TOP, _LEFT = 2, 14, 22, 62
# of samples in a row of one model
_COLUMNS = 6


@torch.no_grad()
def draw(model: Autoencoder, count: int, seed: int = 0) -> Float[Tensor, "count C H W"]:
    """Decoded draws of the prior that depend on the seed and d alone, so that models share them; on the CPU."""
    like = next(model.parameters())
    z = torch.randn(count, model.latents, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return model.decode(z.to(like)).float().cpu()


def sheet(found: Mapping[tuple[str, float], Shaped[Tensor, "N C H W"]], betas: Sequence[float]) -> Image.Image:
    """The table: as many samples of each model at each β, uint8 or in [0, 1] (values beyond are cut off)."""
    first = found[REFERENCE, betas[0]]
    count, (height, width) = len(first), first.shape[-2:]
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    block_width, block_height = columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP
    size = (_LEFT + 2 * block_width + _MIDDLE, _TOP + len(betas) * (block_height + 3 * _GAP))
    canvas = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(canvas), _font()
    for side, name in enumerate((REFERENCE, CHALLENGER)):
        left = _LEFT + side * (block_width + _MIDDLE)
        pen.text((left + block_width // 2, _TOP // 2), name, "black", font, anchor="mm")
        for band, beta in enumerate(betas):
            top = _TOP + band * (block_height + 3 * _GAP)
            pixels = cut_off(found[name, beta]).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
            for place, image in enumerate(pixels):
                row, column = divmod(place, columns)
                canvas.paste(Image.fromarray(image), (left + column * (width + _GAP), top + row * (height + _GAP)))
            if side == 0:
                pen.text((_LEFT // 2, top + block_height // 2), f"β = {beta:g}", "black", font, anchor="mm")
    return canvas


def _font() -> ImageFont.FreeTypeFont:
    """One with Greek letters, which the plotting library brings along."""
    return ImageFont.truetype(matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf", 12)
