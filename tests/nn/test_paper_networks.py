"""What the paper's networks for digits and for faces have in common."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curvae.errors import InputError
from curvae.nn import CelebADecoder, CelebAEncoder, MNISTDecoder, MNISTEncoder

pytestmark = pytest.mark.parametrize(
    ("encoder", "decoder", "shape", "width"),
    [(MNISTEncoder, MNISTDecoder, (1, 28, 28), 1 / 32), (CelebAEncoder, CelebADecoder, (3, 64, 64), 1 / 64)],
)


def test_outputs(encoder: type[nn.Module], decoder: type[nn.Module], shape: tuple[int, ...], width: float) -> None:
    decode = decoder(5, width=width)
    z = torch.randn(3, 5)
    image = decode(z)
    assert image.shape == (3, *shape)
    assert ((image > 0) & (image < 1)).all()
    logits = decoder(5, width=width, sigmoid=False)
    logits.load_state_dict(decode.state_dict())
    torch.testing.assert_close(logits(z).sigmoid(), image)
    assert encoder(width=width)(image).shape == (3, 16 * 16)
    assert encoder(width=1e-6)(image).shape == (3, 16)  # never without channels


@pytest.mark.usefixtures("as_shipped", "shape", "width")
def test_bad_arguments(encoder: type[nn.Module], decoder: type[nn.Module]) -> None:
    for width in (0, -1.0, float("nan"), "1"):
        with pytest.raises(InputError, match="width is"):
            encoder(width)
        with pytest.raises(InputError, match="width is"):
            decoder(2, width)
    for latents in (0, -3, 1.5, None, True):
        with pytest.raises(InputError, match="latents is"):
            decoder(latents)
