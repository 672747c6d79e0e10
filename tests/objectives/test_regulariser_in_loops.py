"""The penalty inside what training scripts do: wrappers, checkpoints, averages, Lightning's loop."""

from __future__ import annotations

from collections.abc import Callable

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from curvae import regulariser
from curvae.curvature import Columns, Estimator, Exact, Fraction, Secants, Signs, Trace
from curvae.errors import InputError

BETA = 0.3
ESTIMATORS: list[Estimator] = [
    Exact(),
    Fraction(Columns(1), 0.5),
    Fraction(Secants(1), 0.5),
    Fraction(Trace(Signs(1), step=0.1), 0.5),
]


def _decoder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 9), nn.SiLU(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 6))


class Script(nn.Module):
    """Somebody's autoencoder, whose forward is the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 4), _decoder()

    def forward(self, x: Tensor) -> Tensor:
        penalty, reconstruction = regulariser(self.decoder, self.encoder(x), BETA, estimator=Exact(), output=True)
        return (x - reconstruction).square().mean() + 2 * penalty.mean() / 6


@pytest.mark.usefixtures("group")
def test_inside_ddp_and_refused_beside_it() -> None:
    script, x = Script(), torch.randn(5, 6)
    expected = torch.autograd.grad(script(x), list(script.parameters())[:-1])
    wrapped = DistributedDataParallel(script)
    wrapped(x).backward()
    torch.testing.assert_close([p.grad for p in list(script.parameters())[:-1]], list(expected))
    decoders: list[Callable[[Tensor], Tensor]] = [script.decoder, lambda z: script.decoder(z)]
    for decoder in decoders:
        with pytest.raises(InputError, match=r"^the decoder is inside a DistributedDataParallel whose forward"):
            regulariser(decoder, torch.randn(5, 4), BETA)
    with torch.no_grad():
        regulariser(script.decoder, torch.randn(5, 4), BETA)  # nothing to synchronise


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_checkpointed_layers(estimator: Estimator) -> None:
    decoder, z = _decoder(), torch.randn(6, 4)

    def saving(point: Tensor) -> Tensor:
        return decoder[3:](checkpoint(decoder[:3], point, use_reentrant=False))

    found = [
        torch.autograd.grad(
            regulariser(each, z, BETA, estimator=estimator, generator=torch.Generator().manual_seed(1)).mean(),
            list(decoder.parameters())[:-1],
            allow_unused=True,
        )
        for each in (saving, decoder)
    ]
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_a_checkpoint_around_the_penalty(estimator: Estimator) -> None:
    decoder, z = _decoder(), torch.randn(6, 4)

    def penalty(point: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return regulariser(decoder, point, BETA, estimator=estimator, generator=generator).mean()

    found = [
        torch.autograd.grad(value, list(decoder.parameters())[:-1])
        for value in (checkpoint(penalty, z, use_reentrant=False), penalty(z))
    ]
    torch.testing.assert_close(found[0], found[1])


def test_averaged_weights_follow_the_trained_ones() -> None:
    script, x = Script(), torch.randn(5, 6)
    average = AveragedModel(script, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    optimiser = torch.optim.SGD(script.parameters(), 0.1)
    average.update_parameters(script)
    before = [p.detach().clone() for p in script.parameters()]
    script(x).backward()
    optimiser.step()
    average.update_parameters(script)
    middle = [(a + b.detach()) / 2 for a, b in zip(before, script.parameters(), strict=True)]
    torch.testing.assert_close(list(average.parameters()), middle)
    assert average(x) != script(x)


class Lit(lightning.LightningModule):
    """The recipe of docs/regulariser.md: a training step with two lines more, at every second batch."""

    def __init__(self) -> None:
        super().__init__()
        self.script, self.dtypes = Script(), set()

    def training_step(self, x: Tensor, index: int) -> Tensor:
        decoder, z = self.script.decoder, self.script.encoder(x)
        self.dtypes.add(z.dtype)
        if index % 2:
            return (x - decoder(z)).square().mean()
        penalty, reconstruction = regulariser(decoder, z, BETA, estimator=Columns(1), output=True)
        return (x - reconstruction).square().mean() + 2 * 2 * penalty.mean() / 6

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_lightning_accumulates_and_casts(precision: str) -> None:
    module = Lit()
    before = [p.detach().clone() for p in module.parameters()]
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        precision=precision,
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(torch.randn(16, 6), batch_size=4))
    assert trainer.global_step == 2
    assert module.dtypes == {torch.float32 if precision == "32-true" else torch.bfloat16}
    assert all(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
