"""A training that starts from what another run has learned."""

from __future__ import annotations

from pathlib import Path

from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.errors import InputError
from curvae.runs.config import RunConfig
from curvae.runs.export import check_tensors, exported_weights, model_document
from curvae.runs.fields import PYTHON
from curvae.runs.run import Run

# what the other run must have; a head for Σ and a noise that is learned may be new
_NEEDED = ("encoder.", "decoder.", "mean_head.")


def start_from(folder: Path, model: Autoencoder, config: RunConfig) -> list[str]:
    """Give a new model the weights of a finished run, and start its training there.

    Encoder, decoder and the head of the mean are taken; the head for Σ with the same structure alone, and the noise
    that an observation model learns with the same one alone. No code is run, whatever model the other run has, whose
    folder need hold the two exported files alone.

    Returns:
        The names of the model's parts that keep their initial weights.

    Raises:
        InputError: the run is not finished, a file is damaged, or its networks are other ones.
    """
    if not (folder / "model.json").is_file():
        raise InputError(f"init_from is {folder}, which holds no finished model; expected the folder of a finished run")
    other, _, sha256 = model_document(folder)
    found, own = exported_weights(folder, sha256), model.state_dict()
    unlike = [
        prefix
        for prefix, differ in (
            ("factor_head.", other.structure != config.structure or other.structure == PYTHON),
            ("likelihood.", other.likelihood != config.likelihood),
        )
        if differ
    ]
    taken = {
        name: _in_precision_of(value, found[name])
        for name, value in own.items()
        if name in found and not name.startswith(tuple(unlike))
    }
    wanted = {name: value for name, value in own.items() if name in taken or name.startswith(_NEEDED)}
    beyond = {name: value for name, value in found.items() if name not in own and name.startswith(_NEEDED)}
    try:
        check_tensors(taken | beyond, wanted)
    except InputError as error:
        raise InputError(
            f"init_from is {folder}, whose networks are other ones: {error}; train with its network, width and "
            "latents, on data of its shape"
        ) from None
    model.load_state_dict(own | taken)
    return sorted({name.partition(".")[0] for name in own.keys() - taken.keys()})


def _in_precision_of(own: Tensor, found: Tensor) -> Tensor:
    """Another precision will do, another kind of numbers will not."""
    return found.to(own.dtype) if own.is_floating_point() and found.is_floating_point() else found


def told_otherwise(folder: Path, dataset: Dataset) -> list[str]:
    """Remarks if a run's networks have seen other columns, or were told other conditions, than those that go on."""
    if not (folder / "config.json").is_file():
        return []
    run, found = Run.open(folder), []
    columns = list(run.data.get("columns") or ())
    if columns and dataset.columns and columns != list(dataset.columns):
        pairs = zip(columns, dataset.columns, strict=False)
        old, new = next((pair for pair in pairs if pair[0] != pair[1]), ("fewer columns", "more"))
        found.append(f"{folder} was trained on other columns, or in another order: it had {old!r} where {new!r} is now")
    if run.coding is not None and dataset.coding is not None and run.coding != dataset.coding:
        found.append(f"{folder} was told {run.coding.told()}, and its weights are now told {dataset.coding.told()}")
    return found
