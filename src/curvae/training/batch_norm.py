"""Batch-norm statistics estimated anew, for the weights as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from curvae._transforms import uncompiled
from curvae._typing import Tensor
from curvae.data import Batches, Samples
from curvae.data.paired import Paired
from curvae.forward.whole_batch import whole_batch
from curvae.training.module import Training, own_seed
from curvae.training.noise import step_generator

SAMPLES = 10_240
"""Training samples that a finished model's statistics are taken over: a mean is then good to 1 % of a deviation."""


@dataclass(frozen=True)
class PreciseBatchNorm:
    """Estimates the running statistics of a model's batch normalisations from training data ("precise batch norm").

    A running mean is of the last twenty batches or so, each seen with the weights of its own step. The codes drift as
    the weights change, and the decoder's first normalisation lags behind; a decoder trained without noise does not bear
    that (``docs/log.md``). Here all batches pass through the weights as they are, in train mode and through the
    objective itself, so that the decoder meets the codes that it is trained on, noisy or not. Weights, optimiser and
    random state stay as they are, and so do normalisations that are frozen in eval mode. The first batches of the run's
    seed are taken, and the noise of its first step.

    Source: Wu & Johnson, *Rethinking "Batch" in BatchNorm*, 2021, arXiv 2105.07576.
    """

    data: Tensor | Samples | Paired
    batch_size: int
    seed: int

    @torch.no_grad()
    def __call__(self, module: Training, samples: int = SAMPLES) -> int:
        """Estimate the statistics of a model in train mode over so many samples, at least a batch and at most all.

        Returns:
            How many samples were used; 0 for a model without running statistics.
        """
        # torch.optim.swa_utils.update_bn would thaw what is frozen
        layers = [
            layer
            for layer in module.model.modules()
            if isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.training
        ]
        if not layers:
            return 0
        momenta = [layer.momentum for layer in layers]
        count = max(1, min(samples, len(self.data)) // self.batch_size)
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over all batches
        try:
            self._pass(module, count)
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
        return count * self.batch_size

    def _pass(self, module: Training, count: int) -> None:
        generator = step_generator(self.seed, 0, module.device)
        # what the generator does not steer, such as dropout, draws from a copy of the global state
        with torch.random.fork_rng(), uncompiled():
            part = module.part
            torch.manual_seed(own_seed(self.seed, part))
            rows = None if part is None else part.rows
            for batch in Batches(self.data, self.batch_size, self.seed, steps=count, rows=rows):
                with whole_batch(part):
                    module.evaluated(batch.to(module.device, module.dtype_of_weights), generator, module.step)
