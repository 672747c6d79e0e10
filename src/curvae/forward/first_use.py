"""A look at each decoder when it is used for the first time: does it do what the formulas assume of it?"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch.func import jvp
from torch.nn.parameter import is_lazy

from curvae._part import own_part
from curvae._precision import full_precision
from curvae._transforms import in_transform, recording, uncompiled
from curvae._typing import Bool, Float, Tensor
from curvae.errors import InputError
from curvae.forward.compiled import layers_of
from curvae.forward.hidden import MIXES, OFF, Hidden, Probe
from curvae.forward.identity import identity
from curvae.forward.kernels import differentiable, hooked
from curvae.forward.linear import LinearLayers
from curvae.forward.noise import Noise
from curvae.forward.statistics import FixedStatistics, unmoved

Map = Callable[[Tensor], Tensor]

_CAUSES = (
    "part of it runs under no_grad or is detached, or a custom autograd.Function has a wrong derivative of its own; "
    f"let plain layers do it{OFF}"
)
# relative: rounding, TF32 included, stays far below, and the faults that are looked for far above
_TOLERANCE = 0.1
_LEAK = 1e-3
# differences that agree to the tolerance are right to a little more than that
_MISSED = 0.25
_STEPS = (1e-2, 1e-3)

_checking: ContextVar[bool] = ContextVar("checking", default=True)
_known: dict[Hashable, weakref.ref[Any]] = {}


@contextmanager
def unchecked() -> Iterator[None]:
    """Inside this context no decoder is looked at (:func:`check_first_use`); it holds for the calling thread.

    For a decoder that the check refuses or cannot afford, and that is known to be right.

    Example:
        >>> from curvae.curvature import jacobian
        >>> mixing = lambda z: z - z.mean(0)  # its "Jacobian" adds up what data do to each other
        >>> with unchecked():
        ...     jacobian(mixing, torch.zeros(2, 1)).squeeze(-1)
        tensor([[0.],
                [0.]])
    """
    token = _checking.set(False)
    try:
        yield
    finally:
        _checking.reset(token)


def checked() -> bool:
    """Whether decoders are looked at here.

    Example:
        >>> checked()
        True
    """
    return _checking.get()


def check_first_use(fn: Map, z: Float[Tensor, "B *L"]) -> None:
    r"""Refuse a decoder that acts on several data together or whose derivatives PyTorch gets wrong.

    Run at the first pass of each decoder, in each of its modes; later passes cost nothing. With $v$ and $u$ random in
    half of the data and zero in the others, at a random point near ``z`` and at this batch's statistics:

    - no normalisation and no TorchScript hides from :class:`~curvae.curvature.FixedStatistics`;
    - $Jv$ and $J^\top u$ vanish in the other data;
    - $Jv$ is the same in forward mode, in reverse mode and (roughly) by differences;
    - so are the gradients of $u^\top Jv$ for the weights, in forward mode and in reverse mode twice.

    The last two need recorded gradients. Buffers, such as running statistics, and random numbers stay as they are. It
    costs about as much as a handful of training steps, once. A decoder that draws random numbers is examined for the
    first alone, and so is one that cannot be run this way: it fails in the pass itself, if it does.

    Raises:
        InputError: it does not do what is assumed.
    """
    # in a part of a batch it would ask other processes, which may have nothing to look at
    if own_part() or not _checking.get() or in_transform() or torch.compiler.is_compiling() or not ordinary(z):
        return
    owner, key = identity(fn)
    key = (key, len(z) > 1, torch.is_grad_enabled())
    found = _known.get(key)
    if owner is None or (found is not None and found() is owner):
        return
    _known[key] = weakref.ref(owner, lambda _: _known.pop(key, None))
    try:
        with full_precision(z), uncompiled(), buffers_kept(fn):
            _Examination(fn, z.detach()).run()
    except InputError:
        del _known[key]
        raise
    except Exception:  # of any kind: what cannot be run this way is left to the pass itself
        return


@contextmanager
def buffers_kept(fn: Map) -> Iterator[None]:
    """What a decoder's passes in this context do to its buffers, as those of spectral normalisation do, is undone.

    Example:
        >>> decoder = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(2, 3))
        >>> before = [buffer.clone() for buffer in decoder.buffers()]
        >>> with buffers_kept(decoder):
        ...     _ = decoder(torch.zeros(1, 2))
        >>> all(map(torch.equal, decoder.buffers(), before))
        True
    """
    held = [
        (layer, name, buffer)
        for layer in layers_of(fn)
        for name, buffer in layer.named_buffers(recurse=False)
        # a lazy one has no values yet, a sparse or quantised one none to compare
        if not (is_lazy(buffer) or buffer.layout is not torch.strided or buffer.is_meta or buffer.is_quantized)
    ]
    values = [buffer.detach().clone() for *_, buffer in held]
    try:
        yield
    finally:
        for (layer, name, buffer), value in zip(held, values, strict=True):
            layer._buffers[name] = buffer
            # what has not changed is not written to: autograd may have kept it
            if not bool(((buffer == value) | (buffer.isnan() & value.isnan())).all()):
                with torch.no_grad():
                    buffer.copy_(value)


class _Examination:
    """One decoder at one batch."""

    def __init__(self, fn: Map, z: Float[Tensor, "B *L"]) -> None:
        self.fn = unmoved(fn)
        self._generator = torch.Generator().manual_seed(0)
        size = z.square().mean().sqrt()
        self.size = torch.where(size > 0, size, 1.0)
        # beside z, where a decoder may have a kink: a layer of rectified linear units has one at 0
        self.z = z + 0.01 * self.size * self._draw(z)
        self.chosen: Bool[Tensor, " B"] = torch.zeros(len(z), dtype=torch.bool)
        self.chosen[torch.randperm(len(z), generator=self._generator)[: (len(z) + 1) // 2]] = True
        self.chosen = self.chosen.to(z.device)
        self.statistics = FixedStatistics()

    def run(self) -> None:
        """All that can be found out."""
        noise = Noise(self.z.device)
        eta = self._watched()
        if noise.drawn():
            noise.rewind()
            return
        with torch.no_grad():
            again = self._at(self.z)
        if len(eta) != len(self.z) or not torch.allclose(again, eta, rtol=1e-5, atol=1e-6 * float(eta.abs().max())):
            return  # it draws from a generator of its own, or changes from call to call
        v = self.size * self._masked(self._draw(self.z))
        if torch.is_grad_enabled():
            self._with_gradients(self._masked(self._draw(eta)), v)
        else:
            self._in_forward_mode(self.z, v)

    def _draw(self, like: Float[Tensor, "B *S"]) -> Float[Tensor, "B *S"]:
        return torch.randn(like.shape, generator=self._generator).to(like)

    def _watched(self) -> Float[Tensor, "B *D"]:
        with torch.no_grad(), self.statistics, differentiable(), Hidden():  # type: ignore[no-untyped-call]
            return self.fn(self.z.as_subclass(Probe)).as_subclass(torch.Tensor).detach()

    def _at(self, point: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
        with FixedStatistics(known=self.statistics.seen), LinearLayers(), differentiable():
            return self.fn(point)

    def _masked(self, values: Float[Tensor, "B *S"]) -> Float[Tensor, "B *S"]:
        return values * self.chosen.view(-1, *[1] * (values.dim() - 1))

    def _in_forward_mode(self, point: Float[Tensor, "B *L"], v: Float[Tensor, "B *L"]) -> Float[Tensor, "B *D"]:
        """$Jv$, found to agree with differences."""
        pushed: Tensor = jvp(self._at, (point,), (v,))[1]
        self._check_rows(pushed)
        with torch.no_grad():
            far, near = ((self._at(self.z + h * v) - self._at(self.z - h * v)) / (2 * h) for h in _STEPS)
            rounding = torch.finfo(self.z.dtype).eps * float(self._at(self.z).norm()) / min(_STEPS)
            size, error = float(near.norm()), float((near - pushed).norm())
            # differences that agree with each other, are no rounding, and say something else
            sure = float((far - near).norm()) <= _TOLERANCE * size and size > 10 * rounding
        if sure and error > _MISSED * size:
            raise InputError(
                f"the decoder's derivative along a direction has size {float(pushed.detach().norm()):.3g} in forward "
                f"mode and {size:.3g} by differences: {_CAUSES}"
            )
        return pushed

    def _check_rows(self, values: Float[Tensor, "B *S"]) -> None:
        if self.chosen.all():
            return
        leaked = float(values.detach()[~self.chosen].norm())
        if leaked > _LEAK * float(values.detach().norm()):
            raise InputError(MIXES)

    def _with_gradients(self, u: Float[Tensor, "B *D"], v: Float[Tensor, "B *L"]) -> None:
        point, weights = self.z.clone().requires_grad_(), u.clone().requires_grad_()
        pushed, eta = self._in_forward_mode(point, v), self._at(point)
        leaves = [leaf for leaf in leaves_of(eta) if leaf is not point]
        pulled = _gradients((eta * weights).sum(), [point])[0]
        self._check_rows(pulled)
        reverse = (pulled * v).sum()
        back = _gradients(reverse, [weights])[0]  # Jv, by reverse mode twice
        beside = (self.z + 1e-3 * self.size * self._draw(self.z)).requires_grad_()
        # an output that nothing moves has derivatives that are rounding
        rounding = 100 * torch.finfo(eta.dtype).eps * float(eta.detach().norm())
        size = _differ(
            "derivatives along a direction", pushed, back, lambda: jvp(self._at, (beside,), (v,))[1], rounding
        )
        if size <= rounding:
            return
        # below the floor it is the rounding of gradients that are zero
        floor = 1e-3 * size / (1 + float(torch.stack([leaf.detach().norm() for leaf in (point, *leaves)]).norm()))
        _differ(
            "gradients of the Jacobian",
            _joined((u * pushed).sum(), [point, *leaves]),
            _joined(reverse, [point, *leaves]),
            lambda: _joined((u * jvp(self._at, (beside,), (v,))[1]).sum(), [beside, *leaves]),
            floor,
        )


def _differ(what: str, forward: Tensor, reverse: Tensor, beside: Callable[[], Tensor], floor: float = 0.0) -> float:
    """The larger of two norms where the two agree, as far as they do so with those of a point nearby."""
    forward, reverse = forward.detach(), reverse.detach()
    ahead, back, error = float(forward.norm()), float(reverse.norm()), float((forward - reverse).norm())
    apart = max(ahead, back) > floor and error > _TOLERANCE * max(ahead, back)
    if apart and error > float((beside().detach() - forward).norm()):  # no ill-conditioned map, which rounding moves
        raise InputError(
            f"the decoder's {what} have size {ahead:.3g} in forward mode and {back:.3g} in reverse mode, and not the "
            f"same: {_CAUSES}"
        )
    return max(ahead, back)


def ordinary(z: Tensor) -> bool:
    """Whether a batch can be looked at: not while a graph is traced or recorded.

    What is saved for backward under a caller's hooks must be saved by every call: his checkpoint counts.
    """
    traced = torch._C._get_tracing_state() is not None
    watched = torch._C._len_torch_dispatch_stack() > 0  # somebody counts operations, or tensors are fake
    kept = traced or watched or hooked() or recording(z.device)
    return z.dim() >= 2 and 0 not in z.shape and z.is_floating_point() and not kept


def leaves_of(output: Tensor) -> list[Tensor]:
    """What a result's gradient would be accumulated in."""
    found, seen, nodes = [], set(), [output.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        nodes.extend(inner for inner, _ in node.next_functions)
    return found


def _joined(value: Float[Tensor, ""], leaves: list[Tensor]) -> Float[Tensor, " P"]:
    return torch.cat([gradient.flatten() for gradient in _gradients(value, leaves)])


def _gradients(value: Float[Tensor, ""], leaves: list[Tensor]) -> list[Tensor]:
    """Differentiable, zeros where there is none; the graph, which may be a caller's, is kept."""
    if not value.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return list(
        torch.autograd.grad(
            value, leaves, create_graph=True, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    )
