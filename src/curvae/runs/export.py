"""A finished model on disk: weights as safetensors, how to build it as JSON. Nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch.nn.parameter import is_lazy

from curvae._checks import first_names
from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.errors import InputError
from curvae.files import read_regular, write_atomic
from curvae.runs.build import build_model
from curvae.runs.config import RunConfig
from curvae.runs.documents import read_document, write_document
from curvae.runs.own import Build
from curvae.runs.own_run import rebuilt
from curvae.runs.schema import anything, count, digest, listing, mapping

_FORMAT = "curvae-model"


def save_model(model: Autoencoder, config: RunConfig, shape: tuple[int, ...], folder: Path) -> None:
    """Write ``model.safetensors`` and then ``model.json``, which names its digest.

    Args:
        model: built from the same configuration and shape.
        config: the run's configuration.
        shape: of one sample.
        folder: where to.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        # tied weights stand under each of their names: safetensors takes no two tensors of one memory
        storage = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    # not safetensors' own writer, whose errors say less: a full disk is an OSError here
    weights = save(tensors)
    write_atomic(folder / "model.safetensors", lambda temporary: temporary.write_bytes(weights))
    sha256 = hashlib.sha256(weights).hexdigest()
    write_document(folder / "model.json", _FORMAT, {"config": config.to_json(), "shape": list(shape), "sha256": sha256})


def load_model(path: Path | str, model: Build | None = None, trust: bool = False) -> Autoencoder:
    """A ready model from a run folder (or any folder with the two exported files).

    No code is run because a file names it: a model of one's own is made by the function that the caller hands over.

    Args:
        path: the folder.
        model: of a run with a model of one's own: the function that made it, or such a model, which is given the
            weights.
        trust: run the code that the folder names, in place of ``model``: for folders of one's own.

    Returns:
        The autoencoder in eval mode, on the CPU.

    Raises:
        InputError: a file is missing, damaged, foreign, or does not fit the other; or the model is one of a person's
            own, and neither ``model`` nor ``trust`` is given.

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
    config, shape, sha256 = model_document(folder)
    path, tensors = folder / "model.safetensors", exported_weights(folder, sha256)
    own = rebuilt(config, shape, model, trust, folder, tensors) if config.model or model is not None else None
    try:
        if own is None:
            # compared with a model without memory first: one of another size may be larger than this machine
            with torch.device("meta"):
                check_tensors(tensors, build_model(config, shape).state_dict())
        found = build_model(config, shape) if own is None else own
        check_tensors(tensors, found.state_dict())
        found.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, OverflowError, MemoryError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        if own is not None and "likelihood." in reason:
            reason += (
                "; the run's objective brought an observation model with weights: let the function that makes the "
                "model set model.likelihood to one like it"
            )
        which = "model.json describes" if own is None else "was named or handed over"
        raise InputError(f"{path} does not fit the model that {which}: {reason}") from error
    return found.eval()


def exported_weights(folder: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors in ``model.safetensors``, if they are those of the digest that :func:`model_document` gives.

    Raises:
        InputError: a file is missing or damaged.
    """
    path = folder / "model.safetensors"
    weights = read_regular(path)
    if weights is None:
        raise InputError(f"{path} does not exist; restore it or train again")
    if hashlib.sha256(weights).hexdigest() != sha256:
        raise InputError(f"{path} is damaged: its digest is not the one in model.json; restore it or train again")
    try:
        return load(weights)
    except (SafetensorError, RuntimeError, OverflowError, MemoryError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error


def model_document(folder: Path) -> tuple[RunConfig, tuple[int, ...], str]:
    """What ``model.json`` says: the configuration, the shape of one sample, and the digest of the weights.

    Raises:
        InputError: it is missing, damaged or foreign.
    """
    needed = {"config": mapping(anything), "shape": listing(count, at_least=1), "sha256": digest}
    document = read_document(folder / "model.json", _FORMAT, needed)
    return RunConfig.from_json(document["config"]), tuple(document["shape"]), document["sha256"]


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """See that tensors from a file are those of a model: names, types, shapes, and finite values.

    Raises:
        InputError: they are not; the message names the first that is not.

    Example:
        >>> check_tensors({"w": torch.ones(2)}, {"w": torch.zeros(3)})
        Traceback (most recent call last):
        curvae.errors.InputError: w is float32 [2]; expected float32 [3]
    """
    strangers, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    if strangers or missing:
        raise InputError(f"{first_names(missing)} missing and {first_names(strangers)} unknown")
    for name, wanted in expected.items():
        tensor = found[name]
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
            raise InputError(f"{name} is not a plain tensor")
        # a lazy layer of a model that was just built has the type alone
        if tensor.dtype != wanted.dtype or not (is_lazy(wanted) or tensor.shape == wanted.shape):
            raise InputError(f"{name} is {_kind(tensor)}; expected {_kind(wanted)}")
        if not bool(tensor.isfinite().all()):
            raise InputError(f"{name} has values that are not finite")


def _kind(tensor: Tensor) -> str:
    shape = "of any shape" if is_lazy(tensor) else list(tensor.shape)
    return f"{str(tensor.dtype).removeprefix('torch.')} {shape}"
