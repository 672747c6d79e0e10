"""What the command line calls MODEL and ``--data``."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from curvae._checks import positive_int
from curvae._typing import Tensor
from curvae.adapters import adapt, folder
from curvae.autoencoder import Autoencoder, Model
from curvae.conditioned import AtOne
from curvae.data import Dataset, in_order, load_whole
from curvae.data.columns import check_names
from curvae.data.order import conditions_in_order
from curvae.errors import InputError
from curvae.inspection.budget import Budget, how_many
from curvae.likelihoods import Gaussian, Likelihood
from curvae.runs import Run, likelihood_of
from curvae.runs.builder import find_builder, own_code
from curvae.runs.source import reading_others

_FUNCTION = re.compile(r"(.+\.py|[A-Za-z_][\w.]*):([A-Za-z_]\w*)")
_PRIOR = re.compile(r"prior:([0-9]{1,6})")
_MODELS = (
    "expected a run folder of curvae, a folder of diffusers (config.json and safetensors), FILE.py:FUNCTION or "
    "package.module:function"
)


@dataclass(frozen=True)
class Opened:
    """A model with what its folder knows of it.

    Attributes:
        model: as ``curvae.inspect`` takes it.
        likelihood: of a run; None for the model's own.
        beta: of a run; None for the model's own.
        run: where the data can be had; None for foreign models.
        condition: of a conditional run, the one that its model is looked at, ``[1, C]``.
    """

    model: Model
    likelihood: Likelihood | None = None
    beta: float | None = None
    run: Run | None = None
    condition: Tensor | None = None

    def at(self, condition: Tensor | None) -> Opened:
        """A conditional run's model at one condition, of whose samples :func:`open_data` takes those.

        Raises:
            InputError: the model is conditional and no condition is given.
        """
        if not isinstance(self.model, Autoencoder) or self.model.condition is None:
            return self
        if condition is None:
            known = None if self.run is None else self.run.coding
            hint = "" if known is None else f": {known.told()}"
            raise InputError(f"the model is conditional; say with --condition-value at which one to look at it{hint}")
        like = next(self.model.parameters())
        return replace(self, model=AtOne(self.model, condition.to(like)), condition=condition)


def open_model(
    text: str, of_run: Callable[[Run], Autoencoder] = Run.model, likelihood: Likelihood | None = None
) -> Opened:
    """A run, a folder of diffusers, or what ``FILE.py:FUNCTION`` returns.

    Args:
        text: which.
        of_run: how the model of a run is had.
        likelihood: in place of the run's.

    Raises:
        InputError: none of these, or one that cannot be used.

    Example:
        >>> open_model("no/such/folder")
        Traceback (most recent call last):
        curvae.errors.InputError: 'no/such/folder' does not exist; expected a run folder of curvae ...
    """
    path = Path(text)
    if _FUNCTION.fullmatch(text) and not path.exists():
        return Opened(adapt(_made(text)), likelihood)
    if not path.is_dir():
        what = "does not exist" if not path.exists() else "is a file"
        named = f"; name its function, {text}:FUNCTION" if path.is_file() and path.suffix == ".py" else f"; {_MODELS}"
        raise InputError(f"{text!r} {what}{named}")
    if not _is_run(path):
        return Opened(folder(path), likelihood)
    run = Run.open(path)
    model = of_run(run)
    return Opened(model, likelihood or likelihood_of(run.config, model), run.config.beta, run)


def open_data(
    text: str | None,
    opened: Opened,
    size: int | None,
    generator: torch.Generator,
    samples: int | None = None,
    products: int = 64,
) -> Tensor:
    """Data for a model: a source of :func:`curvae.data.load`, ``prior:N`` decoded draws, or a run's held-out data.

    Of ``prior:N`` no more are decoded than :func:`curvae.inspect` looks at with ``samples`` and ``products``.

    Raises:
        InputError: no such source, none is given and the model is no run, or a size for what is not read from a source.
    """
    if size is not None and (text is None or _is_prior(text)):
        raise InputError("size is for images that --data reads; leave it out")
    if text is None:
        if opened.run is None:
            raise InputError("--data is missing; expected a data set, a path, or prior:N for N decoded prior draws")
        return _chosen(opened.run.dataset(), opened.condition, whole=False)
    if _is_prior(text):
        return decoded_draws(opened.model, _draws(text, opened.model, samples, products), generator, opened.likelihood)
    run = opened.run
    options: dict[str, Any] = {"absent": True} if run is None else reading_others(run.config, run.data, text)
    if run is not None and run.coding is not None:
        options["condition"] = run.coding
    found = load_whole(text, **(options | ({} if size is None else {"size": size})))
    if run is not None:
        check_names(run.data.get("columns"), found.columns, text)
    return _chosen(found, opened.condition, whole=found.split.get("kind") != "standard")


def _is_prior(text: str) -> bool:
    return text.startswith("prior:") and not Path(text).exists()


def _draws(text: str, model: Any, samples: int | None, products: int) -> int:
    """N, or fewer if fewer are looked at; refused before anything is decoded if the products will not do."""
    prior = _PRIOR.fullmatch(text)
    if prior is None:
        raise InputError(f"{text!r} is not prior:N with N from 1 to 999999")
    count, latents = positive_int("prior:N", int(prior[1])), model.latents
    if latents is None:  # decoded_draws refuses
        return count
    Budget.of(products, latents, bands=False)
    return min(count, how_many(samples, products, latents))


def _chosen(found: Dataset, condition: Tensor | None, whole: bool) -> Tensor:
    """The held-out samples, or all of them; of those with conditions the ones at this one."""
    x = in_order(found) if whole else found.test[:]
    if condition is None:
        return x
    c = conditions_in_order(found) if whole or found.conditions is None else found.conditions[1]
    assert c is not None  # of a conditional run
    chosen = x[(c == condition).all(1)]
    if not len(chosen):
        raise InputError(f"no sample of {found.name} that is looked at has this condition; expected one that some have")
    return chosen


@torch.no_grad()
def decoded_draws(
    model: Any, count: int, generator: torch.Generator | None, likelihood: Likelihood | None = None
) -> Tensor:
    """Expected observations at draws of the model's prior.

    Raises:
        InputError: the model does not say how many latents it has.
    """
    if model.latents is None:
        raise InputError("this model does not say how many latents it has: pass data, or latents=… to its adapter")
    shape = tuple(getattr(model, "shape", (model.latents,)))
    like = next(iter(model.parameters()), torch.empty(0)) if isinstance(model, torch.nn.Module) else torch.empty(0)
    draws = torch.randn(count, math.prod(shape), generator=generator, dtype=like.dtype, device=like.device)
    z = draws.unflatten(1, shape) * torch.as_tensor(getattr(model, "prior_std", 1.0)).to(like)
    if getattr(model, "of_codes", False):  # its data are codes
        return z
    own = likelihood or getattr(model, "likelihood", None) or Gaussian()
    if isinstance(model, torch.nn.Module):
        model.eval()
    return torch.cat([own.mean(model.decode(part)) for part in z.split(64)])


def _is_run(path: Path) -> bool:
    """Whether ``config.json`` is curvae's: another package's names a class."""
    try:
        document = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return (path / "model.safetensors").exists() or (path / "metrics.jsonl").exists()
    return not isinstance(document, dict) or "_class_name" not in document


def _made(name: str) -> Any:
    build = find_builder(name)
    parameters = signature(build).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty and "VAR" not in one.kind.name]
    if needed:
        raise InputError(
            f"{name} needs {', '.join(needed)}; expected a function without arguments that returns a model"
        )
    with own_code(name.rpartition(":")[0]), redirect_stdout(sys.stderr):  # standard output is the command's answer
        return build()
