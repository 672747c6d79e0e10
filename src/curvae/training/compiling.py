"""Compiled networks for training, where PyTorch can compile them."""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager

import torch
from torch import nn

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.curvature import Estimator
from curvae.forward.secants import is_batch_norm
from curvae.objectives import BetaVAE, Objective

_count = itertools.count()


def compile_networks(
    model: Autoencoder, objective: Objective, x: Float[Tensor, "B *D"], precision: AbstractContextManager[None]
) -> str | None:
    """Compile what an objective only calls: the encoder, and for the β-VAE and secants the decoder too.

    The other objectives push tangents through the decoder and step in at each of its layers, which compiled code would
    hide from them; so do secants where the decoder has batch normalisation, whose statistics they hold. One pass
    forwards and backwards makes the compiler show now whether it can; weights and running statistics are put back
    afterwards. State and names of the model, which is in train mode, stay what they are. ``x`` is a batch of the size
    that training will use, ``precision`` the context that it computes in.

    Returns:
        None, or in one line why nothing is compiled.
    """
    networks = [model.encoder, model.decoder] if _only_called(model.decoder, objective) else [model.encoder]
    z = torch.zeros(len(x), *model.shape, dtype=x.dtype, device=x.device, requires_grad=True)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with precision:
            outputs = [_compiled(network)(value) for network, value in zip(networks, (x, z), strict=False)]
        torch.stack([output.float().sum() for output in outputs]).sum().backward()
    except Exception as error:  # a compiler fails in any way, and what is wrong with the network itself comes up again
        uncompile(model)
        return f"the networks are not compiled ({type(error).__name__}: {_first_line(error)})"
    finally:
        model.load_state_dict(state)
        model.zero_grad()
    return None


def _only_called(decoder: nn.Module, objective: Objective) -> bool:
    if isinstance(objective, BetaVAE):
        return True
    estimator = getattr(objective, "estimator", None)  # a function of one's own has none
    if not isinstance(estimator, Estimator) or not estimator.forward_passes_only:
        return False
    return not any(is_batch_norm(layer) for layer in decoder.modules())


def uncompile(model: Autoencoder) -> None:
    """Undo it: what is compiled is bound to this very module, and a copy of it would call the original."""
    for network in (model.encoder, model.decoder):
        network._compiled_call_impl = None  # PyTorch has no public way back


def _compiled(network: nn.Module) -> nn.Module:
    # ``network.compile()`` leaves a bare layer or ``nn.Sequential`` eager: the compiler skips PyTorch's own code
    def call(*args: Tensor) -> Tensor:
        return network._call_impl(*args)

    # it keeps what it has seen by a code's place and name: under one name for all networks it would take the sizes of
    # weights for changing ones, reckon with symbols for minutes, and give up after the eighth
    call.__code__ = call.__code__.replace(co_name=f"call_{next(_count)}")
    network._compiled_call_impl = torch.compile(call)
    return network


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]
