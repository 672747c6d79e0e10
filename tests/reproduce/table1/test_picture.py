"""Table 1: every sample where it belongs, in its own pixels, and the same z for all models."""

import numpy as np
import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.reproduce.sweep.faces import CHALLENGER, REFERENCE
from curvae.reproduce.table1 import picture as grids
from curvae.reproduce.table1.picture import draw, sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_every_sample_is_in_the_picture_once_and_on_its_side(channels: int) -> None:
    betas, shades = (0.1, 0.5, 1.0), iter(np.linspace(0.05, 0.95, 42))
    found = {
        (name, beta): torch.stack([torch.full((channels, 8, 8), float(next(shades))) for _ in range(7)])
        for name in (REFERENCE, CHALLENGER)
        for beta in betas
    }
    pixels = np.asarray(sheet(found, betas))
    middle = grids._LEFT + 6 * (8 + grids._GAP) + grids._MIDDLE // 2
    tops = []
    for (name, _), images in found.items():
        for image in images:
            value = round(float(image[0, 0, 0]) * 255)
            rows, columns = np.nonzero((pixels == value).all(-1)[grids._TOP :, grids._LEFT :])
            assert len(rows) == 64
            left = columns.min() + grids._LEFT
            assert (left < middle) == (name == REFERENCE)
            tops.append(rows.min())
    # bands of β lie below each other, in both halves at the same height
    assert tops[:21] == tops[21:]
    assert tops[0] < tops[7] < tops[14]


def test_models_decode_the_same_z() -> None:
    one, other = (Autoencoder(nn.Linear(4, 3), nn.Unflatten(1, (3, 1, 1)), latents=3) for _ in range(2))
    assert torch.equal(draw(one, 5), draw(other, 5))
    assert torch.equal(draw(one, 5)[:2], draw(other, 2))
    assert not torch.equal(draw(one, 5), draw(one, 5, seed=1))


def test_values_beyond_the_range_are_cut_off() -> None:
    found = {(name, 1.0): torch.full((1, 3, 8, 8), value) for name, value in ((REFERENCE, 9.0), (CHALLENGER, -9.0))}
    pixels = np.asarray(sheet(found, (1.0,)))
    top = grids._TOP
    assert (pixels[top : top + 8, grids._LEFT : grids._LEFT + 8] == 255).all()
    right = grids._LEFT + 8 + grids._MIDDLE
    assert (pixels[top : top + 8, right : right + 8] == 0).all()
