"""The networks of a table: multilayer perceptrons between its features and its observation model."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import nn

from curvae._checks import positive_int, shown
from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.nn import Beside, MLPDecoder, MLPEncoder, linear_decoder
from curvae.nn.columns import Placed
from curvae.posteriors import Structure
from curvae.sklearn.table import Features, Table, counts_of, outputs_for, outputs_of

ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


class _Before(nn.Module):
    """A network of features and of a condition."""

    def __init__(self, features: Features, network: nn.Module) -> None:
        super().__init__()
        self.features, self.network = features, network

    def forward(self, x: Float[Tensor, "B C"], c: Float[Tensor, "B K"]) -> Float[Tensor, "B F"]:
        """The network's output."""
        return self.network(self.features(x), c)


def build_networks(
    table: Table,
    likelihood: Likelihood,
    latents: int,
    layers: Sequence[int],
    activation: str,
    structure: Structure | None,
    seed: int,
    conditions: int = 0,
) -> tuple[Autoencoder, Features]:
    """New networks for a table of training data, and what the encoder sees of it.

    What the observation model learns becomes a part of the model. ``layers`` are the sizes of the encoder's hidden
    layers, none for linear networks; the decoder's are the same, backwards. Both networks are told so many numbers of
    each sample as ``conditions`` says.

    Raises:
        InputError: a setting that the table does not allow, or that does not exist.
    """
    columns = table.values.shape[1]
    if latents > columns:
        raise InputError(f"n_components is {latents} but X has {columns} feature(s); expected at most as many")
    if activation not in ACTIVATIONS:
        raise InputError(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
    outputs = outputs_for(likelihood, columns)
    if not isinstance(layers, Integral | Sequence | np.ndarray):
        raise InputError(f"hidden_layer_sizes is {shown(layers)}; expected sizes, such as (128, 64), or () for none")
    # one alone, as scikit-learn's networks take it
    sizes: Sequence[Any] = [layers] if isinstance(layers, Integral) else layers
    hidden = [positive_int("a hidden layer's size", size) for size in sizes]
    between = ACTIVATIONS[activation]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        features = Features(table, counts_of(table, likelihood))
        width = features.out_features
        seen, codes = width + conditions, latents + conditions
        encoder = MLPEncoder((seen,), hidden, between) if hidden else nn.Identity()
        decoder = MLPDecoder(codes, (outputs,), hidden[::-1], between) if hidden else linear_decoder(codes, (outputs,))
        placed = Placed(decoder, outputs)
        placed.centre, placed.scale = outputs_of(table, likelihood, outputs)
        model = Autoencoder(
            _Before(features, Beside(encoder)) if conditions else nn.Sequential(features, encoder),
            Beside(placed) if conditions else placed,
            latents,
            structure,
            features=hidden[-1] if hidden else seen,
            head=True,
            condition="both" if conditions else None,
        )
    if isinstance(likelihood, nn.Module):  # so that its weights are the model's
        model.add_module("likelihood", likelihood)
    return model.to(table.x), features
