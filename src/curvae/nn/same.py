"""Convolutions with "same" padding at any stride: the output has ⌈input / stride⌉ pixels a side."""

from __future__ import annotations

from torch import nn
from torch.nn.functional import pad

from curvae._typing import Float, Tensor
from curvae.cpu.taps import better_by_taps, by_taps


class SameConv2d(nn.Conv2d):
    """``nn.Conv2d`` with "same" padding, also where the stride is not 1 (PyTorch offers it for stride 1 only).

    An odd total padding puts the extra row and column after the image.

    Example:
        >>> import torch
        >>> SameConv2d(1, 2, kernel_size=4, stride=2)(torch.zeros(1, 1, 7, 7)).shape
        torch.Size([1, 2, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Pad, then convolve."""
        before_h, after_h = self._padding(x.shape[-2])
        before_w, after_w = self._padding(x.shape[-1])
        if better_by_taps(x, self.weight, self.stride):
            return by_taps(x, self.weight, self.bias, before_h, before_w)
        if (before_h, before_w) == (after_h, after_w):  # the convolution pads by itself, without a copy
            return nn.functional.conv2d(x, self.weight, self.bias, self.stride, (before_h, before_w))
        return super().forward(pad(x, (before_w, after_w, before_h, after_h)))

    def _padding(self, size: int) -> tuple[int, int]:
        stride, kernel = self.stride[0], self.kernel_size[0]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


class SameConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` with "same" padding: the output has input × stride pixels a side.

    Without its bias it is the adjoint of :class:`SameConv2d` with the same weight.

    Example:
        >>> import torch
        >>> SameConvTranspose2d(1, 2, kernel_size=4, stride=1)(torch.zeros(1, 1, 7, 7)).shape
        torch.Size([1, 2, 7, 7])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        # full size is (n − 1)·stride + kernel: crop kernel − stride, the odd one after the image, as SameConv2d pads
        crop = kernel_size - stride
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=max(crop, 0) // 2,
            output_padding=max(-crop, 0),
        )
        self.trim = max(crop, 0) % 2

    def forward(self, x: Float[Tensor, "B C H W"], output_size: list[int] | None = None) -> Float[Tensor, "B C2 H2 W2"]:
        """Convolve, then crop what padding alone cannot."""
        y = super().forward(x, output_size)
        return y[..., : -self.trim, : -self.trim] if self.trim else y
