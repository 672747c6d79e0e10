"""A convolution to a single channel, as one matrix product on a CPU."""

from __future__ import annotations

import torch
from torch.nn import functional

from curvae._typing import Float, Tensor
from curvae.cpu.switch import Switch

TAPS = Switch()


def better_by_taps(x: Tensor, weight: Tensor, stride: tuple[int, ...]) -> bool:
    """Whether a CPU would leave most of its arithmetic idle; half precision would round what is added up."""
    if not TAPS.on or len(weight) > 1 or stride != (1, 1) or x.device.type != "cpu":
        return False
    return x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")


def by_taps(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "1 C kh kw"],
    bias: Float[Tensor, " 1"] | None,
    top: int,
    left: int,
) -> Float[Tensor, "B 1 H W"]:
    """Each of the kernel's taps as a channel of its own, one matrix product for all, then shift them and add up.

    Measured with ``python -m benchmarks cpu`` (``results/bench/cpu.json``): 20 % of a β-VAE step at full width.
    With two or more channels out it is no faster, so :class:`~curvae.nn.SameConv2d` uses it for one
    (:func:`better_by_taps`). Switch: ``TAPS``.

    Of stride 1, with ``top`` rows of zeros above the image and ``left`` columns before it; the output has the size of
    the input, which is not padded.

    Example:
        >>> x, weight = torch.randn(2, 3, 8, 8), torch.randn(1, 3, 3, 3)
        >>> expected = functional.conv2d(x, weight, padding=1)
        >>> torch.allclose(by_taps(x, weight, None, 1, 1), expected, atol=1e-5)
        True
    """
    (channels, high, wide), (height, width) = weight.shape[1:], x.shape[-2:]
    weights = weight.flip(2, 3).permute(0, 2, 3, 1).reshape(high * wide, channels, 1, 1)
    taps = functional.conv2d(x, weights).flatten(-2)
    whole = functional.fold(taps, (height + high - 1, width + wide - 1), (high, wide))
    top, left = high - 1 - top, wide - 1 - left
    y = whole[..., top : top + height, left : left + width]
    return y.contiguous() if bias is None else y + bias.view(-1, 1, 1)
