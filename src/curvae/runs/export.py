"""A finished model on disk: weights as safetensors, how to build it as JSON. Nothing is unpickled."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from curvae.autoencoder import Autoencoder
from curvae.errors import InputError
from curvae.files import write_atomic
from curvae.runs.build import build_model
from curvae.runs.config import RunConfig
from curvae.runs.documents import read_document, write_document

_FORMAT = "curvae-model"


def save_model(model: Autoencoder, config: RunConfig, shape: tuple[int, ...], folder: Path) -> None:
    """Write ``model.safetensors`` and then ``model.json``, which names its digest.

    Args:
        model: built by :func:`curvae.runs.build.build_model` from the same configuration and shape.
        config: the run's configuration.
        shape: of one datum.
        folder: where to.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    path = folder / "model.safetensors"
    write_atomic(path, lambda temporary: save_file(tensors, temporary))
    write_document(
        folder / "model.json",
        _FORMAT,
        {"config": config.to_json(), "shape": list(shape), "sha256": _digest(path)},
    )


def load_model(path: Path | str) -> Autoencoder:
    """A ready model from a run folder (or any folder with the two exported files).

    Args:
        path: the folder.

    Returns:
        The autoencoder in eval mode, on the CPU.

    Raises:
        InputError: a file is missing, damaged, foreign, or does not fit the other.

    Example:
        >>> import tempfile, torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> config = RunConfig(data="mnist", network="linear", latents=2)
        >>> model = build_model(config, (4,))
        >>> save_model(model, config, (4,), folder)
        >>> again = load_model(folder)
        >>> x = torch.rand(3, 4)
        >>> torch.equal(again.reconstruct(x), model.eval().reconstruct(x))
        True
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected a run folder that curvae train wrote")
    document = read_document(folder / "model.json", _FORMAT, ("config", "shape", "sha256"))
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"{weights} does not exist; restore it or train again")
    if _digest(weights) != document["sha256"]:
        raise InputError(f"{weights} is damaged: its digest is not the one in model.json; restore it or train again")
    model = build_model(RunConfig.from_json(document["config"]), tuple(document["shape"]))
    _fill(model, weights)
    return model.eval()


def _fill(model: Autoencoder, weights: Path) -> None:
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{weights} does not fit the model that model.json describes: {reason[:200]}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
