"""The Lightning module: one step is one batch, one noise, one update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from lightning.pytorch import LightningModule

from curvae._part import Part
from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.data import Batch
from curvae.errors import DerivativeError, IndefiniteError
from curvae.forward.whole_batch import whole_batch
from curvae.nn import MatrixWeightGradients
from curvae.objectives import Objective, Terms
from curvae.training.average import WeightAverage
from curvae.training.devices import Group
from curvae.training.errors import TrainingError
from curvae.training.noise import step_generator


class Training(LightningModule):
    """A model, an objective and an optimiser.

    Optimisation is "manual" in Lightning's sense: its automatic loop wraps the step in closures that cost more than
    a small network's step, and checks the loss only after the weights are changed.

    Args:
        model: what is trained, on its device already.
        objective: what is minimised.
        optimizer: of the model's parameters.
        seed: of the noise.
        bf16: run the networks under bfloat16 autocast (the objectives keep their algebra in full precision).
        step: number of steps already done.
        cure: what to advise where training diverges.
        rate: the learning rate of a step, by the number of steps done before it; default the optimiser's own.
        warming: the objective of a step, by the number of steps done before it, while β rises; default ``objective``.
        pieces: into how many batches the samples of a step are split, whose gradients are averaged.
        clip: largest norm of the gradient.
        average: of the weights, which is then the model that is measured and kept.
        group: the processes that share each batch, where there are several.
        part: what this one has of each.
        seeded: seed PyTorch's global generator for each step, for networks that draw from it (dropout).

    Attributes:
        step: number of steps done.
        terms: of the last step.
        compiled: whether networks of the model are compiled.
    """

    def __init__(
        self,
        model: Autoencoder,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        seed: int,
        bf16: bool = False,
        step: int = 0,
        cure: str = "lower --lr or raise --beta",
        rate: Callable[[int], float] | None = None,
        warming: Callable[[int], Objective] | None = None,
        pieces: int = 1,
        clip: float | None = None,
        average: WeightAverage | None = None,
        seeded: bool = False,
        group: Group | None = None,
        part: Part | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.objective, self.optimizer = model, objective, optimizer
        self.seed, self.bf16, self.step, self.cure = seed, bf16, step, cure
        self.rate, self.warming, self.pieces, self.clip, self.average = rate, warming, pieces, clip, average
        self.seeded, self.group, self.part = seeded, group, part
        self.dtype_of_weights = next(model.parameters()).dtype
        self.terms: Terms | None = None
        self.compiled = False

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser, as it was given."""
        return self.optimizer

    def training_step(self, batch: Float[Tensor, "B *D"] | Batch, batch_idx: int) -> None:
        """One update from one batch."""
        generator = step_generator(self.seed, self.step, self.device)
        if self.seeded:
            # this also seeds every GPU; the loop gives the state back
            torch.manual_seed(own_seed(generator.initial_seed(), self.part))
        self.optimizer.zero_grad()
        typed = batch.to(self.dtype_of_weights)
        pieces = typed.chunk(self.pieces) if self.pieces > 1 else (typed,)
        terms = joined([self._descended(piece, generator) for piece in pieces])
        self.terms = terms if self.group is None else self._shared(terms, self.group)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        if self.rate is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(self.step)
        self.optimizer.step()
        self.step += 1
        if self.average is not None:
            self.average.update(self.model, self.step)

    def _descended(self, piece: Float[Tensor, "b *D"] | Batch, generator: torch.Generator) -> Terms:
        """The terms of some of a step's samples, after their share of the gradient was added."""
        objective = None if self.warming is None else self.warming(self.step)
        with whole_batch(self.part):
            terms = self.evaluated(piece, generator, self.step + 1, objective)
        loss = terms.mean() if self.part is None else terms.total.sum() / self.part.size
        if self.part is None and self.device.type == "cpu":
            # a GPU would have to be waited for: there the recorder checks now and then
            self.check(loss, self.step + 1)
        with _existing(self.step + 1):
            self.manual_backward(loss if self.pieces == 1 else loss / self.pieces)
        return terms

    def _shared(self, terms: Terms, group: Group) -> Terms:
        """The means of a step's terms over the samples of all processes, whose gradients each gets the sum of."""
        assert self.part is not None
        sums = torch.stack([part.detach().sum() for part in terms.parts.values()])
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        means = group.add_gradients(weights, sums) / (self.part.size * self.pieces)
        shared = Terms(dict(zip(terms.parts, means.split(1), strict=True)))
        if self.device.type == "cpu":
            self.check(shared.mean(), self.step + 1)
        return shared

    def deployed(self) -> AbstractContextManager[None]:
        """With the weights that are measured and kept: the average where there is one."""
        return nullcontext() if self.average is None else self.average.applied(self.model)

    def evaluated(
        self,
        batch: Float[Tensor, "B *D"] | Batch,
        generator: torch.Generator,
        step: int,
        objective: Objective | None = None,
    ) -> Terms:
        """The objective of one batch, in the run's precision.

        Raises:
            TrainingError: at this step it has no value.
        """
        try:
            with self.precision(), _existing(step):
                return (objective or self.objective)(*at_its_conditions(self.model, batch), generator)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            raise TrainingError(
                f"the penalty cannot be computed at step {step}: the decoder's derivatives are not finite; {self.cure}"
            ) from None

    def total(self) -> float:
        """The last step's objective, averaged over its batch."""
        assert self.terms is not None
        return float(self.terms.mean().detach())

    def check(self, loss: Tensor, step: int) -> None:
        """Refuse to go on from a loss that is not finite.

        Raises:
            TrainingError: it is not.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {value} at step {step}; {self.cure}")

    @contextmanager
    def precision(self) -> Iterator[None]:
        """The context in which the objective is computed."""
        # the compiler would stop at every convolution that the mode looks at
        faster = MatrixWeightGradients() if self.device.type == "cpu" and not self.compiled else nullcontext()
        with torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext(), faster:
            yield


@contextmanager
def _existing(step: int) -> Iterator[None]:
    try:
        yield
    except (IndefiniteError, DerivativeError) as error:
        raise TrainingError(f"the objective does not exist at step {step}: {error}") from None


def own_seed(seed: int, part: Part | None) -> int:
    """A seed for what a network draws by itself, another one for each process.

    Example:
        >>> own_seed(6, None), own_seed(6, Part.of(8, 1, 2))
        (6, 7)
    """
    return seed if part is None else seed ^ part.process


def at_its_conditions(model: Autoencoder, batch: Tensor | Batch) -> tuple[Model, Tensor]:
    """A model and a batch as an objective takes them."""
    return (model.given(batch.c), batch.x) if isinstance(batch, Batch) else (model, batch)


def joined(chunks: Sequence[Terms]) -> Terms:
    """The terms of several batches as of one.

    Example:
        >>> joined([Terms({"nll": torch.ones(2)}), Terms({"nll": torch.zeros(1)})])["nll"]
        tensor([1., 1., 0.])
    """
    if len(chunks) == 1:
        return chunks[0]
    return Terms({name: torch.cat([chunk.parts[name].detach() for chunk in chunks]) for name in chunks[0].parts})
