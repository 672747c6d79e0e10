"""The paper's networks at width 1, counted by hand from its appendix D."""

from __future__ import annotations

from itertools import pairwise

import pytest
from torch import nn

from curvae.nn import MNISTDecoder, MNISTEncoder


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_encoder_at_the_papers_width() -> None:
    # Conv c,4,s: 16·in·out + out; batch normalisation: 2·out
    channels = [1, 64, 128, 256, 512, 512]
    expected = sum(16 * a * b + b + 2 * b for a, b in pairwise(channels))
    assert expected == 6_952_256
    encoder = MNISTEncoder()
    assert _parameters(encoder) == expected
    assert encoder.out_features == 4 * 4 * 512
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.kernel_size[0], c.stride[0]) for c in convolutions] == [(4, 1), (4, 2), (4, 2), (4, 2), (4, 1)]
    assert sum(isinstance(m, nn.ELU) for m in encoder.modules()) == 5


@pytest.mark.parametrize("latents", [12, 20])
def test_decoder_at_the_papers_width(latents: int) -> None:
    first = 7 * 7 * 256
    expected = (latents + 1) * first + 2 * first  # fully connected, batch normalisation
    for a, b in ((256, 512), (512, 256), (256, 128)):
        expected += 16 * a * b + b + 2 * b
    expected += 16 * 128 * 64 + 64  # no batch normalisation after this one
    expected += 16 * 64 * 1 + 1
    decoder = MNISTDecoder(latents)
    assert _parameters(decoder) == expected
    transposed = [m for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(c.kernel_size[0], c.stride[0]) for c in transposed] == [(4, 1), (4, 1), (4, 2), (4, 2)]
    names = [type(m).__name__ for m in decoder.layers]
    normalised_elu = ["BatchNorm2d", "ELU"]
    up = "SameConvTranspose2d"
    assert names == [
        *("Linear", "BatchNorm1d", "ELU", "Unflatten"),
        *(up, *normalised_elu, up, *normalised_elu, up, *normalised_elu),
        *(up, "ELU", "SameConv2d", "Sigmoid"),
    ]
