"""Which adapter a folder or an object is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from torch import nn

from curvae._checks import a_kind, first_names, with_article
from curvae._extras import require
from curvae.adapters import makers
from curvae.adapters.adapted import Adapted
from curvae.autoencoder import Model
from curvae.errors import InputError
from curvae.files import open_regular

_HOW = "give it as FILE.py:FUNCTION with adapters.callables(encode=…, decode=…)"


def folder(path: str | Path) -> Adapted:
    """A model that a package has saved as configuration and safetensors. Pickles are never loaded.

    Args:
        path: a folder of diffusers (``config.json`` with ``_class_name``).

    Raises:
        InputError: no such folder, one that another package wrote, or weights in a pickle.

    Example:
        >>> folder("no/such/folder")
        Traceback (most recent call last):
        curvae.errors.InputError: no/such/folder is not a model folder ...
    """
    return makers.diffusers(path)


def open_diffusers(path: Path) -> nn.Module:
    """The model in a folder of diffusers, in eval mode on the CPU.

    Raises:
        InputError: as :func:`folder`.
    """
    name = _class_name(path)
    if not any(path.glob("*.safetensors")):
        raise InputError(f"{path} has no safetensors; weights in pickles are not loaded: save it again as safetensors")
    require("models of diffusers need", "diffusers", extra="adapters")
    import diffusers

    kind = getattr(diffusers, name, None) if name.startswith("Autoencoder") else None
    if kind is None:
        raise InputError(
            f"{path} holds {with_article(name)}, which is not an autoencoder of diffusers {diffusers.__version__}; "
            "expected AutoencoderKL, AutoencoderTiny, AutoencoderDC or another Autoencoder…"
        )
    talk = diffusers.utils.logging
    verbosity = talk.get_verbosity()
    talk.set_verbosity_error()  # of weights that do not fit it warns, at length
    try:
        model, found = kind.from_pretrained(
            str(path),
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=None,  # where accelerate is not there, diffusers would warn; None lets it choose
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # a damaged file: diffusers and safetensors have no common ancestor
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be opened as {with_article(name)}: {reason}") from error
    finally:
        talk.set_verbosity(verbosity)
    _check_weights(path, found)
    return cast(nn.Module, model.eval())


def _check_weights(path: Path, found: dict[str, list[Any]]) -> None:
    """Refuse what diffusers would replace by weights drawn at random, or leave out."""
    other = [name for name, *_ in found["mismatched_keys"]]
    kinds = {"missing": found["missing_keys"], "unknown": found["unexpected_keys"], "of another shape": other}
    wrong = [f"{first_names(sorted(names))} {kind}" for kind, names in kinds.items() if names]
    if wrong:
        raise InputError(f"{path} holds weights of another model than config.json says: {'; '.join(wrong)}")


def adapt(model: Any) -> Model:
    """A model as it is if it has curvae's names, or the adapter of the package that made it.

    Args:
        model: a :class:`~curvae.autoencoder.Model`, or an autoencoder of diffusers, pythae or scvi-tools.

    Raises:
        InputError: nothing of these.

    Example:
        >>> adapt(nn.Linear(2, 3))
        Traceback (most recent call last):
        curvae.errors.InputError: a Linear is not a model ...
    """
    maker = type(model).__module__.partition(".")[0]
    if maker in ("diffusers", "pythae", "scvi"):
        adapter: Any = getattr(makers, maker)
        return adapter(model)
    if isinstance(model, Model) or (
        hasattr(model, "encode") and hasattr(model, "decode") and hasattr(model, "latents")
    ):
        return model
    raise InputError(
        f"{a_kind(model)} is not a model that curvae knows; wrap it: adapters.callables(encode=…, decode=…), "
        'with encode=None for a decoder alone, or adapters.lightning(module, spread="log-variance")'
    )


def _class_name(path: Path) -> str:
    if not (path / "config.json").is_file():
        other = " (pythae keeps its weights in a pickle)" if (path / "model_config.json").is_file() else ""
        how = f"give {path / 'vae'}, the autoencoder of this pipeline" if (path / "vae").is_dir() else _HOW
        raise InputError(f"{path} is not a model folder: it has no config.json{other}; {how}")
    try:
        with open_regular(path / "config.json") as file:
            found = json.loads(file.read().decode())
        name = found.get("_class_name") if isinstance(found, dict) else None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path / 'config.json'} cannot be read: {error}") from error
    if not isinstance(name, str):
        raise InputError(f"{path / 'config.json'} is not diffusers' own: it has no _class_name; {_HOW}")
    return name
