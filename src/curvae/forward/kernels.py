"""Which of PyTorch's kernels a decoder runs on while it is differentiated: those that have the derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from curvae._typing import Float, Tensor
from curvae.forward.checkpoints import without_checkpoints


@contextmanager
def differentiable() -> Iterator[None]:
    """Inside this context attention, recurrent layers and a few functions have derivatives of every order and mode.

    Of PyTorch's attention kernels only the plain one has a forward-mode derivative and a second one. Checkpointed
    layers are not recomputed. Every path that differentiates a decoder runs it in here.
    """
    with sdpa_kernel(SDPBackend.MATH), PlainKernels(), without_checkpoints():
        yield


@contextmanager
def without_hooks() -> Iterator[None]:
    """Inside this context a layer that hooks into what autograd saves raises a ``RuntimeError``.

    What it packs away has no tangents when it is unpacked. Where the caller himself hooks in (his objective is under
    a checkpoint, say), nothing is changed.
    """
    disabled = torch.autograd.graph.disable_saved_tensors_hooks("a layer hooks into saved tensors")
    with nullcontext() if hooked() else disabled:
        yield


def hooked() -> bool:
    """Whether somebody hooks into what autograd saves, as a checkpoint does."""
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(""):
            return False
    except RuntimeError:  # PyTorch's answer to the question
        return True


class PlainKernels(TorchFunctionMode):
    """Inside this mode functions that lack derivatives, or have wrong ones, are spelled out in ones that have them."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Spell out what is in the table, run recurrent layers on PyTorch's own kernels; pass everything else on."""
        options = dict(kwargs or {})
        if func in _RECURRENT:  # oneDNN's and cuDNN's kernels have one backward pass and nothing else
            with _disabled(torch.backends.mkldnn), _disabled(torch.backends.cudnn):
                return func(*args, **options)
        if options.get("out") is not None:  # into a buffer, which has no derivative (spectral normalisation does so)
            return func(*args, **options)
        if func in _MASKING:
            return _in_order(func, *args, **options)
        return SPELLED_OUT.get(func, func)(*args, **options)


@contextmanager
def _disabled(backend: Any) -> Iterator[None]:
    # not the backend's own `flags`, which also resets how it rounds
    before, backend.enabled = backend.enabled, False
    try:
        yield
    finally:
        backend.enabled = before


_RECURRENT = frozenset({torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu})

_MASKING = frozenset(
    {
        *(functional.dropout, torch.dropout, torch.dropout_),
        *(functional.alpha_dropout, torch.alpha_dropout, torch.alpha_dropout_),
    }
)


def _in_order(func: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Tensor:
    """A dropout whose mask is that of the same noise in every pass.

    PyTorch draws it in the order in which the input lies in memory, or inside a transform in that of its axes.
    """
    ordered = input.contiguous()
    output = func(ordered, *args, **options)
    return input.copy_(output) if output is ordered is not input else output


def glu(input: Float[Tensor, "*S"], dim: int = -1) -> Float[Tensor, "*T"]:
    """``torch.nn.functional.glu``."""
    values, gates = input.chunk(2, dim)
    return values * gates.sigmoid()


def hardsigmoid(input: Float[Tensor, "*S"], inplace: bool = False) -> Float[Tensor, "*S"]:  # noqa: ARG001
    """``torch.nn.functional.hardsigmoid``, never in place."""
    return (input / 6 + 0.5).clamp(0, 1)


def cdist(
    x1: Float[Tensor, "*B P M"],
    x2: Float[Tensor, "*C R M"],
    p: float = 2.0,
    compute_mode: str | None = None,  # noqa: ARG001
) -> Float[Tensor, "*E P R"]:
    """``torch.cdist``; a distance of zero has the derivative zero."""
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def pdist(input: Float[Tensor, "N M"], p: float = 2.0) -> Float[Tensor, " P"]:
    """``torch.nn.functional.pdist``."""
    first, second = torch.triu_indices(len(input), len(input), 1, device=input.device)
    return vector_norm(input[first] - input[second], p, -1)


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, **options: Any) -> Tensor:
    """``torch.linalg.vector_norm``; a norm of zero has the derivative zero."""
    options = {name: option for name, option in options.items() if option is not None}  # a type or a place for it
    if not 1 < ord < math.inf or options:
        return torch.linalg.vector_norm(x, ord, dim, keepdim, **options)
    size = x.abs() if x.is_complex() or ord != 2 else x
    return root(size.pow(ord).sum(dim, keepdim), float(ord))


def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, **options: Any) -> Tensor:
    """``torch.norm``."""
    if p not in ("fro", 2, None):
        return torch.norm(input, p, dim, keepdim, **options)
    return vector_norm(input, 2.0, dim, keepdim, **options)


def normalize(input: Tensor, p: Any = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Tensor:  # noqa: ARG001
    """``torch.nn.functional.normalize``."""
    return input / vector_norm(input, p, dim, True).clamp(min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """``torch.nn.functional.cosine_similarity``."""
    return (normalize(x1, 2.0, dim, eps) * normalize(x2, 2.0, dim, eps)).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: Any = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """``torch.nn.functional.pairwise_distance``."""
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


def std(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """``torch.std``."""
    return root(torch.var(input, *args, **options))


def std_mean(input: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """``torch.std_mean``."""
    variance, mean = torch.var_mean(input, *args, **options)
    return root(variance), mean


def root(powers: Tensor, order: float = 2.0) -> Tensor:
    """Of numbers ≥ 0; the root of zero has the derivative zero.

    Example:
        >>> root(torch.tensor([9.0, 0.0, torch.nan]))
        tensor([3., 0., nan])
    """
    positive = powers != 0  # NaN stays NaN
    return torch.where(positive, powers, 1.0).pow(1 / order) * positive


def solve(A: Float[Tensor, "*B n n"], B: Tensor, *, left: bool = True) -> Tensor:
    """``torch.linalg.solve``."""
    inverse = torch.linalg.inv(A)
    if B.dim() == 1 or (A.dim() - 1 == B.dim() and B.shape == A.shape[:-1]):
        return (inverse @ B.unsqueeze(-1)).squeeze(-1) if left else (B.unsqueeze(-2) @ inverse).squeeze(-2)
    return inverse @ B if left else B @ inverse


def slogdet(A: Float[Tensor, "*B n n"]) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B"]]:
    """``torch.linalg.slogdet``."""
    sign = torch.linalg.slogdet(A.detach())[0]
    return sign, torch.linalg.qr(A)[1].diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


def det(A: Float[Tensor, "*B n n"]) -> Float[Tensor, "*B"]:
    """``torch.linalg.det`` of regular matrices."""
    sign, logarithm = slogdet(A)
    return sign * logarithm.exp()


def logdet(A: Float[Tensor, "*B n n"]) -> Float[Tensor, "*B"]:
    """``torch.logdet``."""
    sign, logarithm = slogdet(A)
    return torch.where(sign > 0, logarithm, torch.nan)


# PyTorch's forward-mode rules for solve and det take their factorisation for a constant when the result is
# differentiated once more: the Jacobian is right, every gradient of it silently wrong (measured with PyTorch 2.13)
_FACTORISING: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((torch.linalg.solve,), solve),
    **dict.fromkeys((torch.linalg.slogdet, torch.slogdet, torch.Tensor.slogdet), slogdet),
    **dict.fromkeys((torch.linalg.det, torch.det, torch.Tensor.det), det),
    **dict.fromkeys((torch.logdet, torch.Tensor.logdet), logdet),
}

# their second forward-mode derivative writes in place into what the backward pass needs
_NORMS: dict[Any, Callable[..., Any]] = {
    torch.linalg.vector_norm: vector_norm,
    functional.normalize: normalize,
    **dict.fromkeys((torch.norm, torch.Tensor.norm), norm),
    **dict.fromkeys((torch.cosine_similarity, functional.cosine_similarity), cosine_similarity),
    **dict.fromkeys((torch.pairwise_distance, functional.pairwise_distance), pairwise_distance),
    **dict.fromkeys((torch.std, torch.Tensor.std), std),
    torch.std_mean: std_mean,
}

SPELLED_OUT: Mapping[Callable[..., Any], Callable[..., Any]] = {
    functional.glu: glu,
    functional.hardsigmoid: hardsigmoid,
    torch.cdist: cdist,
    torch.pdist: pdist,
    functional.pdist: pdist,
    **_FACTORISING,
    **_NORMS,
}
"""PyTorch's functions with derivatives that are missing or wrong, and the same in others that have them."""
