"""A stand-in for a GPU: a second device, whose tensors are kept on the CPU.

An operation on tensors of both devices is refused, and so is a generator of the other one. What makes the program wait
for the device (reading a value, a copy from or to it, a mask as an index) is noted and, while a CUDA graph would be
recorded, refused.

PyTorch keeps a device for the life of a process, so whoever imports this needs one of his own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

NAME = "far"
_aten = torch.ops.aten
_READS = {
    _aten._local_scalar_dense.default, _aten.nonzero.default, _aten.equal.default, _aten.masked_select.default
}  # fmt: skip
_INDEXES = {
    _aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default
}  # fmt: skip
_BOTH = {_aten._to_copy.default, _aten.copy_.default, *_INDEXES}  # indices may lie on the CPU


class Accelerator(TorchDispatchMode):
    """Inside it ``device="far"`` exists.

    Attributes:
        waits: what has made the program wait for the device, in order.
        recording: as if a CUDA graph was being recorded.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.Generator = _Generator  # type: ignore[misc]
        self.waits: list[str] = []
        self.recording = False
        self._factories = _Factories()
        _device.current = self
        _device.register()

    def __enter__(self) -> Accelerator:
        self._factories.__enter__()
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._factories.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, dict(kwargs or {}))

    def wait(self, what: str) -> None:
        """Note it, or refuse it."""
        if self.recording:
            raise RuntimeError(f"operation not permitted when stream is capturing: {what}")
        self.waits.append(what)

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """An operation, on the CPU."""
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        far = any(isinstance(each, Far) for each in tensors)
        device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        goes_far = far if device is None else device.type == NAME
        self._check(func, tensors, args, kwargs, goes_far)
        if device is not None:
            kwargs["device"] = "cpu"
        out = func(*tree_map(_near, args), **tree_map(_near, kwargs))
        if func is _aten.copy_.default:
            return args[0]
        if not goes_far:
            return out
        out = tree_map(_wrapped, out)
        return return_and_correct_aliasing(func, args, kwargs, out) if far else out

    def _check(self, func: Any, tensors: list[torch.Tensor], args: Any, kwargs: dict[str, Any], goes_far: bool) -> None:
        far = [each for each in tensors if isinstance(each, Far)]
        near = [each for each in tensors if not isinstance(each, Far) and each.dim()]
        if far and near and func not in _BOTH:
            raise RuntimeError(f"{func}: Expected all tensors to be on the same device, but found {NAME}:0 and cpu")
        generator = kwargs.get("generator")
        if generator is not None and goes_far and generator._cdata not in _device.generators:
            raise RuntimeError(f"{func}: Expected a '{NAME}' device type for generator but found 'cpu'")
        moved = func is _aten._to_copy.default and bool(far) != goes_far
        moved |= func is _aten.copy_.default and isinstance(args[0], Far) != isinstance(args[1], Far)
        # a mask is searched for its positions, and an index of the CPU is moved
        masked = func in _INDEXES and any(
            at is not None and (at.dtype == torch.bool or not isinstance(at, Far)) for at in args[1]
        )
        if moved or (far and (func in _READS or masked)):
            self.wait(str(func))


_generator = torch.Generator


class _AnyGenerator(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _generator)


class _Generator(metaclass=_AnyGenerator):
    """Makes PyTorch's generators, of which those of the second device are remembered."""

    def __new__(cls, device: Any = "cpu") -> torch.Generator:  # type: ignore[misc]
        if torch.device(device).type != NAME:
            return _generator(device)
        made = _generator()
        _device.generators.add(made._cdata)
        return made


class _Factories(TorchFunctionMode):
    """``torch.tensor`` copies past the modes of dispatch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and device is not None and torch.device(device).type == NAME:
            return func(*args, **{**kwargs, "device": "cpu"}).to(NAME)
        return func(*args, **kwargs)


class Far(torch.Tensor):
    """A tensor of the second device."""

    near: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: type[Far], near: torch.Tensor) -> Far:
        given = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, near.size(), device=torch.device(NAME, 0), **given)  # type: ignore

    def __init__(self, near: torch.Tensor) -> None:
        self.near = near

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _device.now().run(func, args, dict(kwargs or {}))

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"{self.near!r} on {NAME}"

    def tolist(self) -> Any:
        """Which PyTorch refuses for subclasses."""
        _device.now().wait("tolist")
        return self.near.tolist()


def _near(value: Any) -> Any:
    return value.near if isinstance(value, Far) else value


def _wrapped(value: Any) -> Any:
    if not isinstance(value, torch.Tensor) or isinstance(value, Far):
        return value
    # a tangent that is zero has no memory, which a wrapper would hide
    return Far(torch.zeros(value.shape, dtype=value.dtype) if value._is_zerotensor() else value)


class _Device:
    """What PyTorch asks a device for, once a process."""

    current: Accelerator | None = None
    generators: ClassVar[set[int]] = set()
    registered = False

    def now(self) -> Accelerator:
        assert self.current is not None
        return self.current

    def register(self) -> None:
        if not self.registered:
            backend_registration._setup_privateuseone_for_python_backend(NAME, self)
            self.registered = True

    def get_rng_state(self, device: object = None) -> torch.Tensor:
        self._state()
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device: object = None) -> None:
        self._state()
        torch.set_rng_state(state)

    def _state(self) -> None:
        if self.now().recording:
            raise RuntimeError("Cannot call CUDAGeneratorImpl::current_seed during CUDA graph capture")

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers = {"is_available": True, "is_initialized": True, "_is_in_bad_fork": False, "device_count": 1}
        if name.startswith("__") or name == "_lazy_call":
            raise AttributeError(name)
        return lambda *_, **__: answers.get(name, 0)


_device = _Device()
