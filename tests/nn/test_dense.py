"""Perceptrons and linear maps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.curvature import jacobian
from curvae.errors import InputError
from curvae.nn import MLPDecoder, MLPEncoder, linear_decoder, linear_encoder

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("shape", [(6,), (1, 4, 4), (3, 2, 5)])
def test_perceptrons_map_between_data_and_latents(seed: int, shape: tuple[int, ...]) -> None:
    encoder = MLPEncoder(shape, hidden=(7, 5), activation=nn.Tanh)
    decoder = MLPDecoder(3, shape, hidden=(5, 7), activation=nn.Tanh, output=nn.Sigmoid())
    x = torch.randn(2, *shape)
    (w1, b1), (w2, b2) = ((m.weight, m.bias) for m in encoder.modules() if isinstance(m, nn.Linear))
    features = torch.tanh(torch.tanh(x.flatten(1) @ w1.T + b1) @ w2.T + b2)
    torch.testing.assert_close(encoder(x), features)
    assert encoder.out_features == 5
    (w1, b1), (w2, b2), (w3, b3) = ((m.weight, m.bias) for m in decoder.modules() if isinstance(m, nn.Linear))
    z = torch.randn(2, 3)
    flat = torch.tanh(torch.tanh(z @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    torch.testing.assert_close(decoder(z), flat.sigmoid().reshape(2, *shape))


def test_linear_maps_are_affine(seed: int) -> None:
    encoder, decoder = linear_encoder((2, 3), 4), linear_decoder(4, (2, 3))
    model = Autoencoder(encoder, decoder, latents=4)
    assert isinstance(model.mean_head, nn.Identity)
    x, z = torch.randn(2, 2, 2, 3), torch.randn(2, 5, 4)
    torch.testing.assert_close(encoder(0.3 * x[0] + 0.7 * x[1]), 0.3 * encoder(x[0]) + 0.7 * encoder(x[1]))
    torch.testing.assert_close(jacobian(decoder, z[0]), jacobian(decoder, z[1]))
    torch.testing.assert_close(jacobian(decoder, z[0])[0].flatten(0, 1), decoder[0].weight)


def test_bad_latents() -> None:
    for build in (lambda: MLPDecoder(0, (2,)), lambda: linear_encoder((2,), 0), lambda: linear_decoder(-1, (2,))):
        with pytest.raises(InputError, match="latents is"):
            build()
