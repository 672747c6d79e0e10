"""The paper's networks for faces at width 1, counted by hand from its appendix D."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from curvae.nn import CelebADecoder, CelebAEncoder


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _on_meta(make: type[nn.Module], *arguments: int) -> nn.Module:
    """Without memory for weights: at the paper's width there are 93 million of them."""
    with torch.device("meta"):
        return make(*arguments)


def test_encoder_at_the_papers_width() -> None:
    # Conv c,5,s: 25·in·out + out; batch normalisation: 2·out
    channels = [3, 128, 256, 512, 1024, 1024]
    expected = sum(25 * a * b + b + 2 * b for a, b in pairwise(channels))
    assert expected == 43_436_032
    encoder = _on_meta(CelebAEncoder)
    assert _parameters(encoder) == expected
    assert encoder.out_features == 4 * 4 * 1024
    assert encoder(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 4 * 4 * 1024)
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.kernel_size[0], c.stride[0]) for c in convolutions] == [(5, 1), (5, 2), (5, 2), (5, 2), (5, 2)]
    names = [type(m).__name__ for m in encoder.layers]
    assert names == ["SameConv2d", "BatchNorm2d", "ELU"] * 5 + ["Flatten"]


def test_decoder_at_the_papers_width() -> None:
    first = 8 * 8 * 512
    expected = (128 + 1) * first + 2 * first  # fully connected, batch normalisation
    for a, b in ((512, 1024), (1024, 512), (512, 256)):
        expected += 25 * a * b + b + 2 * b
    expected += 25 * 256 * 128 + 128  # no batch normalisation after this one
    expected += 25 * 128 * 3 + 3
    decoder = _on_meta(CelebADecoder, 128)
    assert _parameters(decoder) == expected
    transposed = [m for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(c.kernel_size[0], c.stride[0]) for c in transposed] == [(5, 1), (5, 2), (5, 2), (5, 2)]
    last = decoder.layers[-2]
    assert (last.out_channels, last.kernel_size, last.stride) == (3, (5, 5), (1, 1))
    up = "SameConvTranspose2d"
    assert [type(m).__name__ for m in decoder.layers] == [
        *("Linear", "BatchNorm1d", "ELU", "Unflatten"),
        *([up, "BatchNorm2d", "ELU"] * 3),
        *(up, "ELU", "SameConv2d", "Sigmoid"),
    ]


def test_the_first_layer_is_the_one_whose_end_is_64_by_64() -> None:
    """Each convolution's size, in order: 8 × 8 and not the printed 16 × 16 is doubled three times to 64 × 64."""
    decoder = CelebADecoder(4, width=1 / 128).eval()
    sizes: list[int] = []
    for layer in decoder.layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[-1]))
    assert decoder(torch.zeros(1, 4)).shape == (1, 3, 64, 64)
    assert sizes == [8, 8, 16, 32, 64]


def test_every_pixel_reaches_the_features_and_every_latent_every_pixel() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    encoder = CelebAEncoder(width=1 / 128).double().eval()
    (gradient,) = torch.autograd.grad(encoder(image).sin().sum(), image)
    assert (gradient != 0).all()
    decoder = CelebADecoder(3, width=1 / 64).double().eval()
    jacobian = torch.func.jacfwd(decoder)(torch.randn(1, 3, dtype=torch.float64))
    assert (jacobian != 0).all()
