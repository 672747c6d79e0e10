"""Passes that share their noise, and what may not draw while a CUDA graph is recorded."""

import pytest
import torch
from torch import nn

from curvae.errors import DerivativeError
from curvae.forward import noise

ATTENTION = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.3, batch_first=True)
X = torch.randn(2, 5, 16, requires_grad=True)


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0.5), nn.AlphaDropout(0.5), nn.RReLU(), ATTENTION, nn.LSTM(16, 16, 2, dropout=0.5)],
    ids=lambda layer: type(layer).__name__,
)
def test_what_draws_nothing_may_be_recorded(layer: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "recording", lambda device: True)
    again = noise.Noise(torch.device("cpu")).again
    with again():
        layer.eval()(X)
    with again(), pytest.raises(DerivativeError, match="eval mode, or choose an estimator of one pass"):
        layer.train()(X)


def test_operations_of_a_gpu_that_draw_in_training_alone() -> None:
    attention = torch.ops.aten._scaled_dot_product_efficient_attention.default
    assert not noise._draws(attention, (X, X, X, None, False), {})
    assert noise._draws(attention, (X, X, X, None, False, 0.5), {})
    for train in (False, True):
        recurrent = (X, [], 0, None, X, None, 2, 16, 0, 2, False, 0.5, train)
        assert noise._draws(torch.ops.aten._cudnn_rnn.default, recurrent, {}) == train
