"""A model and its objective as one module, for whatever wraps modules."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from curvae._checks import a_kind
from curvae._part import own_part
from curvae._precision import half_weights
from curvae._repr import line
from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.conditioned import Conditioned
from curvae.errors import InputError
from curvae.forward.identity import parts
from curvae.forward.looks import rarely
from curvae.objectives.objective import Objective
from curvae.objectives.terms import Terms

M = TypeVar("M", bound=nn.Module)


class Loss(nn.Module, Generic[M]):
    r"""A model and its objective in one module, whose forward pass is the whole loss: what to wrap.

    DistributedDataParallel, FSDP, accelerate, Fabric and ``torch.compile`` act on a module's ``forward``. An objective
    calls ``encode``, ``posterior`` and ``decode`` of its model instead, which would go past the wrapper: gradients that
    are not synchronised, networks in float32 under mixed precision. Wrap this in the model's place:

    .. code-block:: python

        loss = DistributedDataParallel(Loss(model, objective))       # or accelerator.prepare(Loss(model, objective))
        loss(x, generator).mean().backward()

    Each process sees its own part of the batch, so the batch's statistics (batch normalisation, ``Shared``
    structures) are those of the part; everything else averages to the value and gradients of the whole batch. Give
    each process a generator of its own seed.

    Args:
        model: what is trained, with ``encode``, ``decode`` and, for some objectives, ``posterior``.
        objective: what is minimised, e.g. :class:`~curvae.objectives.GRAE`. One that is a module, or whose
            observation model is one (:class:`~curvae.likelihoods.LearnedGaussian`), has its weights here too.

    Example:
        >>> from curvae import Autoencoder
        >>> from curvae.objectives import GRAE
        >>> loss = Loss(Autoencoder(nn.Linear(3, 2), nn.Linear(2, 3), latents=2), GRAE(beta=0.2))
        >>> loss(torch.randn(5, 3)).mean().backward()
        >>> sorted(loss(torch.randn(5, 3)).parts)
        ['nll', 'penalty', 'prior']
    """

    def __init__(self, model: M, objective: Objective) -> None:
        super().__init__()
        _check_wrapper(model)
        self.model = model
        self.objective = objective
        likelihood = getattr(objective, "likelihood", None)
        if isinstance(likelihood, nn.Module):  # no part of the objective's state, which is no module
            self.likelihood = likelihood

    def __repr__(self) -> str:
        return line(type(self).__name__, repr(self.model), repr(self.objective))

    def forward(self, x: Tensor, generator: torch.Generator | None = None, condition: Tensor | None = None) -> Terms:
        """The objective's terms for a batch ``x`` ``[B, *D]``, of a conditional model with a ``condition`` ``[B, *C]``.

        Raises:
            InputError: a condition for a model that takes none, or none for one that does.
        """
        model = self.model if condition is None else cast(Autoencoder, self.model).given(condition)
        return self.objective(cast(Model, model), x, generator)


# under these names wrappers keep what they wrap: DataParallel, DDP and DeepSpeed; FSDP; torch.compile; Fabric
_WRAPPED = ("module", "_fsdp_wrapped_module", "_orig_mod", "_forward_module")

_ADVICE = "wrap the whole loss, objectives.Loss(model, objective), and call that"


def check_model(model: Any) -> None:
    """Refuse what is no model, does not do what its wrapper promises, or has weights of too few digits.

    Raises:
        InputError: for what has no ``decode``, a wrapper, what a live wrapper wraps, a network whose ``forward``
            accelerate has patched, or weights in half precision.
    """
    if isinstance(model, Conditioned):
        model = model.model
    if isinstance(model, nn.Module):
        _check_wrapper(model)
    if not hasattr(model, "decode"):
        raise InputError(
            f"the model is {a_kind(model)}; expected curvae.Autoencoder(encoder, decoder, latents=…) over "
            "your modules, or anything with its methods encode, posterior and decode"
        )
    if not isinstance(model, nn.Module):
        return
    dtype = half_weights(model)
    if dtype is not None:
        raise InputError(
            f"the model's weights are {dtype}, too coarse for an objective; call .float() and use torch.autocast"
        )
    if torch.is_grad_enabled() and _unsynchronised(model):
        raise InputError(
            f"this {type(model).__name__} is inside a DistributedDataParallel whose forward() is not running, so its "
            f"gradients would not be synchronised; {_ADVICE}"
        )


def check_decoder(decoder: Callable[..., Any]) -> None:
    """Refuse a decoder whose gradients nobody would synchronise, or whose weights carry too few digits.

    Raises:
        InputError: it is, or is in, a DistributedDataParallel whose ``forward`` is not running, or all weights of one
            of its modules are in half precision.
    """
    modules = [part for part in parts(decoder) if isinstance(part, nn.Module)]
    for module in modules:
        dtype = half_weights(module)
        if dtype is not None and all(weight.dtype == dtype for weight in module.parameters()):
            raise InputError(f"the decoder's weights are {dtype}, too coarse; call .float() and use torch.autocast")
    if torch.is_grad_enabled() and any(map(_unsynchronised, modules)):
        raise InputError(
            "the decoder is inside a DistributedDataParallel whose forward() is not running, so its gradients would "
            "not be synchronised; call the regulariser inside the forward() of the module that is wrapped"
        )


def _check_wrapper(model: nn.Module) -> None:
    name = type(model).__name__
    if isinstance(model, AveragedModel):
        raise InputError(f"the model is wrapped ({name}), which has the averaged one as .module; give that")
    # fully_shard changes the class in place; while its forward pass runs, the weights are whole
    sharded = type(next(model.parameters(), None)).__name__ == "DTensor"
    sharded = sharded and any(kind.__name__ == "FSDPModule" for kind in type(model).__mro__)
    if sharded or (any(inside in model._modules for inside in _WRAPPED) and not hasattr(type(model), "decode")):
        raise InputError(f"the model is wrapped ({name}), and an objective goes past its wrapper; {_ADVICE}")
    if "_original_forward" in model.__dict__:
        raise InputError(f"accelerate has prepared this {name}, and an objective goes past its forward(); {_ADVICE}")


def _unsynchronised(model: nn.Module) -> bool:
    """Whether a DistributedDataParallel holds the model and is not the one that calls."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    if own_part() is not None:  # whoever parts a batch sees to the gradients
        return False
    # a backward pass recomputes what was checkpointed after the wrapper's forward pass
    if DistributedDataParallel._active_ddp_module is not None or torch._C._current_graph_task_id() != -1:
        return False
    if not rarely(model):  # the search below reads every object that there is
        return False
    # nothing on the model or its weights tells of the wrapper
    # its metaclass answers isinstance and issubclass by a search that takes seconds for so many
    wrappers = [found for found in gc.get_objects() if DistributedDataParallel in type(found).__mro__]
    return any(part is model for wrapper in wrappers if not wrapper._use_python_reducer for part in wrapper.modules())
