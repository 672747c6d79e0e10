"""What a batch-normalised decoder's Jacobian means in train mode, and how one pass gets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.autograd.forward_ad as forward_ad
from torch.nn.functional import batch_norm, instance_norm
from torch.overrides import TorchFunctionMode

from curvae._part import of_each_process, own_part
from curvae._precision import at_least_float32
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.forward.linear import carries_tangent
from curvae.forward.normalisation import CALLED_OTHERWISE, PER_SAMPLE, UNKNOWN_WITH_STATISTICS, normalises_by_batch


class BatchStatistics(NamedTuple):
    """What one train-mode batch normalisation saw: mean and (biased) variance of each channel."""

    mean: Float[Tensor, " C"]
    variance: Float[Tensor, " C"]


class RunningStatistics(NamedTuple):
    """Where a batch normalisation keeps its running statistics, and how a batch moves them."""

    mean: Tensor | None
    variance: Tensor | None
    momentum: float
    values: int


class BatchNorm(NamedTuple):
    """What :func:`torch.nn.functional.batch_norm` takes besides its input."""

    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5

    @property
    def stored(self) -> BatchStatistics | None:
        """The statistics it normalises by, where these are not the batch's own."""
        if self.training or self.running_mean is None or self.running_var is None:
            return None
        return BatchStatistics(self.running_mean, self.running_var)


class FixedStatistics(TorchFunctionMode):
    r"""Inside this mode, batch normalisation is the affine map of the deployed decoder.

    In train mode ``batch_norm`` mixes the samples of a batch, so a derivative through it is not the Jacobian of any
    decoder that will ever be used. Here the batch's own statistics are taken from the primal values and *held fixed*
    while tangents pass: each sample gets the Jacobian of ``x ↦ w (x − mean)/√(var + ε) + b``. Gradients of parameters
    do flow through the statistics, as in ordinary training, so that the training loss is a true function of
    the parameters (see ``docs/design.md``).

    Layer, group and instance normalisation act on each sample by itself and keep their meaning; they are replaced too
    (:mod:`~curvae.forward.normalisation`), because PyTorch's gradients of their forward-mode derivatives are wrong.

    The mode intercepts the function, not the module, so it works for any callable, whether it calls
    ``torch.nn.functional`` or the operators below. Running statistics are not touched inside;
    :meth:`update_running` does that once, with the statistics a first pass has returned.

    Args:
        known: statistics that an earlier pass over the same batch saw, to be used again instead of this pass's own;
            the batch is then not counted a second time.
        derivatives: whether forward mode goes through; without, normalisation of each sample, and by stored
            statistics, is left to PyTorch.
    """

    def __init__(self, known: Sequence[BatchStatistics] | None = None, derivatives: bool = True) -> None:
        super().__init__()
        self._derivatives = derivatives
        self.seen: list[BatchStatistics] = []
        self._given = known
        self._known = None if known is None else iter(known)
        self._running: list[RunningStatistics] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace train- and eval-mode batch normalisation and the per-sample kinds; pass everything else on."""
        if func is batch_norm and (self._derivatives or _by_batch(args, kwargs or {})):
            return self._normalised(*args, **(kwargs or {}))
        # instance normalisation with running statistics in train mode is refused in there
        if func in PER_SAMPLE and (self._derivatives or (func is instance_norm and _moves(args, kwargs or {}))):
            return PER_SAMPLE[func](*args, **(kwargs or {}))
        if func in CALLED_OTHERWISE:
            with self:  # what it calls is one of those above
                return CALLED_OTHERWISE[func](*args, **(kwargs or {}))
        if func in UNKNOWN_WITH_STATISTICS and normalises_by_batch(args, kwargs or {}):
            raise InputError(
                f"the decoder calls {getattr(func, '__name__', func)}, whose derivative at the batch's statistics is "
                "not known; call torch.nn.functional.batch_norm"
            )
        if func is torch.Tensor.add_ and _is_counter(args[0]):
            # BatchNorm counts its batches in place, which functorch refuses inside a transform although the counter
            # has nothing to do with it
            with torch._C._DisableFuncTorch():
                return func(*args, **(kwargs or {})) if self._known is None else args[0]
        return func(*args, **(kwargs or {}))

    def affine(
        self, primal: Float[Tensor, "B C *S"], layer: BatchNorm
    ) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
        """Scale and shift of one ``batch_norm`` at these primal values, whose statistics are noted."""
        mean, variance = layer.stored or self._observe(primal, layer)
        return affine(mean, variance, layer.weight, layer.bias, layer.eps)

    def _normalised(self, input: Float[Tensor, "B C *S"], *args: Any, **options: Any) -> Float[Tensor, "B C *S"]:
        primal, tangent = forward_ad.unpack_dual(input)
        shape = (-1, *[1] * (input.dim() - 2))
        scale, shift = (vector.view(shape) for vector in self.affine(primal, BatchNorm(*args, **options)))
        # lifting them keeps primal and tangent of one type under autocast
        if tangent is None or carries_tangent(scale) or carries_tangent(shift):
            return torch.addcmul(shift, at_least_float32(input), scale)
        # PyTorch's rule for addcmul adds up zeros for the tangents of the other two
        return forward_ad.make_dual(
            torch.addcmul(shift, at_least_float32(primal), scale), at_least_float32(tangent) * scale
        )

    def _observe(self, x: Float[Tensor, "B C *S"], layer: BatchNorm) -> BatchStatistics:
        if self._known is not None:
            return next(self._known)
        statistics = batch_statistics(at_least_float32(x))
        self.note(x, statistics, layer)
        return statistics

    def note(self, x: Float[Tensor, "B C *S"], statistics: BatchStatistics, layer: BatchNorm) -> None:
        """Note what one layer saw in ``x``.

        Raises:
            InputError: a single value for each channel, which PyTorch's own layer refuses: its variance is 0.
        """
        part = own_part()
        values = x.numel() // x.shape[1] if part is None else part.of_all(x.numel() // x.shape[1])
        if values == 1:
            raise InputError(
                f"batch normalisation in train mode got one value for each channel (input {tuple(x.shape)}); "
                "use a larger batch (drop a last batch of one) or put the decoder into eval mode"
            )
        self.seen.append(statistics)
        self._running.append(RunningStatistics(layer.running_mean, layer.running_var, layer.momentum, values))

    def forget(self) -> None:
        """Start anew, after a pass that came to nothing."""
        self.seen.clear()
        self._running.clear()
        self._known = None if self._given is None else iter(self._given)

    @property
    def reuses(self) -> bool:
        """Whether it goes by statistics that an earlier pass saw."""
        return self._given is not None

    @torch.no_grad()
    def update_running(self, seen: list[BatchStatistics]) -> None:
        """Move the running statistics as one ordinary train-mode pass would have."""
        for running, batch in zip(self._running, seen, strict=True):
            if running.mean is not None:
                running.mean.lerp_(batch.mean.to(running.mean.dtype), running.momentum)
            if running.variance is not None:
                unbiased = batch.variance * (running.values / max(running.values - 1, 1))
                running.variance.lerp_(unbiased.to(running.variance.dtype), running.momentum)


def batch_statistics(x: Float[Tensor, "B C *S"]) -> BatchStatistics:
    """Mean and (biased) variance of each channel, over the whole batch where x is a part of it; differentiable."""
    variance, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
    part = own_part()
    if part is None:
        return BatchStatistics(mean, variance)
    own = torch.cat([mean.new_full((1,), part.count / part.size), mean, variance])
    weights, means, variances = of_each_process(own).split([1, len(mean), len(mean)], dim=1)
    mean = (weights * means).sum(0)
    # as squared distances from the mean of all: a difference of squares would lose the digits
    return BatchStatistics(mean, (weights * (variances + (means - mean).square())).sum(0))


def affine(
    mean: Float[Tensor, " C"], variance: Float[Tensor, " C"], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Scale and shift of a normalisation with given statistics."""
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias


class Counters(TorchFunctionMode):
    """Inside this mode batch normalisations count as ever, and what they have counted can be taken back."""

    def __init__(self) -> None:
        super().__init__()
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note the counters that go up."""
        if func is torch.Tensor.add_ and _is_counter(args[0]):
            with torch._C._DisableFuncTorch():
                self._before.append((args[0], args[0].clone()))
        return func(*args, **(kwargs or {}))

    def undo(self) -> None:
        """Count back."""
        with torch._C._DisableFuncTorch(), torch.no_grad():
            for counter, before in reversed(self._before):
                counter.copy_(before)


class Unmoved(Counters):
    """Inside this mode normalisations work as ever and leave their running statistics and counters as they were.

    For whatever only measures: it may meet a decoder in train mode, of which it has no more than a function.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Hide running statistics from what would move them."""
        options = dict(kwargs or {})
        if func in CALLED_OTHERWISE:
            with self:
                return CALLED_OTHERWISE[func](*args, **options)
        if func is batch_norm:
            given = _named(_BATCH_NORM, args, options)
            if given.get("training"):
                given.update(running_mean=None, running_var=None)
            args, options = (given.pop("input"),), given
        elif func is instance_norm:
            given = _named(INSTANCE_NORM, args, options)
            if given.get("use_input_stats", True):
                given.update(running_mean=None, running_var=None)
            args, options = (given.pop("input"),), given
        return super().__torch_function__(func, types, args, options)

    def __exit__(self, *error: Any) -> None:
        """Count back."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self.undo()


_BATCH_NORM = ("input", *BatchNorm._fields)
INSTANCE_NORM = ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")


def _named(names: Sequence[str], args: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict(zip(names, args, strict=False)), **options}


def _by_batch(args: Sequence[Any], options: Mapping[str, Any]) -> bool:
    """Whether a call of ``batch_norm`` normalises by the batch's statistics."""
    given = _named(_BATCH_NORM, args, options)
    del given["input"]
    return BatchNorm(**given).stored is None


def _moves(args: Sequence[Any], options: Mapping[str, Any]) -> bool:
    """Whether a call of ``instance_norm`` moves running statistics."""
    given = _named(INSTANCE_NORM, args, options)
    return given.get("running_mean") is not None and given.get("use_input_stats", True)


def unmoved(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """``fn`` at the same values, with running statistics and counters that stay where they are.

    Example:
        >>> norm = torch.nn.BatchNorm1d(2)
        >>> unmoved(norm)(torch.randn(5, 2)).shape, norm.num_batches_tracked
        (torch.Size([5, 2]), tensor(0))
    """

    def measured(z: Tensor) -> Tensor:
        with Unmoved():
            return fn(z)

    return measured


def _is_counter(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and tensor.dtype == torch.int64 and tensor.dim() == 0
