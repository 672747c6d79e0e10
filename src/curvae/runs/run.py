"""A training run: its folder, and what is done with its model."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from curvae._checks import positive_int
from curvae.data import Batch
from curvae.errors import InputError
from curvae.metrics import Evaluation, codes, evaluate, fit_mixture
from curvae.posteriors import Structure
from curvae.runs.conditions import at_conditions
from curvae.runs.device import choose_device, generator
from curvae.runs.folder import Folder
from curvae.runs.handed import noise_of
from curvae.runs.posteriors import Codes, Posteriors
from curvae.runs.trained import Trained


@dataclass(frozen=True, repr=False)
class Run(Folder):
    """One training run on disk.

    ==========================  ==========================================================
    ``config.json``             the configuration, the data's digest and split, versions
    ``metrics.jsonl``           one line per logged step
    ``checkpoints/last.ckpt``   all that training needs to go on
    ``model.safetensors``,      the finished model
    ``model.json``
    ``evaluation.json``,        what ``curvae evaluate`` measured
    ``evaluation.npz``
    ``logs/``                   what the run's ``logger`` wrote
    ==========================  ==========================================================

    Attributes:
        path: the folder.
        config: what was asked for.
        data: what the data was: ``digest``, ``split``, ``shape``, the sizes ``train`` and ``test``, and ``white``, the
            stored number that means 1 (``Dataset.white``), of coded conditions the coding, ``condition``, and of a
            table the names of its columns, ``columns``.
        environment: versions, device and commit at the start.
        history: what was changed when training went on: for each time ``step`` (steps done by then), ``date``, the
            changed values ``from`` and ``to``, and the ``environment`` since.
        handed: model, data and objective that were handed over as objects, for what is not named by text.
    """

    def _told(self) -> dict[str, Any]:
        config = self.config
        done = "finished" if self.finished else "not finished"
        return {
            "path": str(self.path), "data": config.data, "objective": config.objective, "beta": config.beta,
            "latents": config.latents, "steps": config.steps, "state": done,
        }  # fmt: skip

    def _repr_html_(self) -> str:
        rows = self._told().items()
        cells = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows)
        return f"<table><caption>curvae run</caption>{cells}</table>"

    def evaluate(
        self,
        *,
        limit: int = 5000,
        samples: int = 8,
        columns: int = 1,
        batch_size: int = 100,
        seed: int = 0,
        device: str = "auto",
    ) -> Evaluation:
        """Measure the finished model on held-out data, and keep what was found in the folder.

        Args:
            limit: at most so many of them, the first ones.
            samples: draws for each in objective (2).
            columns: sampled columns for each.
            batch_size: samples at a time.
            seed: of the draws.
            device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

        Raises:
            InputError: as :meth:`model` and :func:`curvae.metrics.evaluate`, or the folder cannot be written.
        """
        where = choose_device(device)
        model = self.model().to(where)
        likelihood, structure = self.noise(model)
        at, x = at_conditions(model, self.dataset(), min(positive_int("limit", limit), self.data["test"]))
        found = evaluate(
            at,
            x,
            self.config.beta,
            likelihood,
            structure,
            generator=generator(seed, where),
            samples=samples,
            columns=columns,
            batch_size=batch_size,
        )
        try:
            self.save_evaluation(found, {"likelihood": repr(likelihood)})
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror or error}") from error
        return found

    def report(self, out: Path | str = "report.html") -> Path:
        """Write one HTML page about the run, with what :meth:`evaluate` measured if it was called.

        Args:
            out: the page; replaced if it exists.

        Raises:
            InputError: as ``curvae report``.
        """
        # the page is made in a package above this one, which needs more packages
        import_module("curvae.report").write_report([self], Path(out))
        return Path(out)

    def trained(self, device: str = "cpu") -> Trained:
        """The trained model with all that it takes to use it on data, opened once.

        Args:
            device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

        Raises:
            InputError: as :meth:`model`.
        """
        model = self.model().to(choose_device(device))
        shape, white = tuple(self.data["shape"]), self.data.get("white")
        likelihood, structure = noise_of(self.config, model, self.handed.objective)
        columns = self.data.get("columns")
        return Trained(model, likelihood, structure, self.config.beta, shape, white, self.coding, columns)

    def encode(
        self,
        x: Any,
        *,
        condition: Any = None,
        covariance: bool = False,
        structure: Structure | None = None,
        batch_size: int = 256,
    ) -> Codes | Posteriors:
        """Means and standard deviations of the latents; see :meth:`Trained.encode`."""
        options: Any = {"covariance": covariance, "structure": structure, "batch_size": batch_size}
        return self.trained().encode(x, condition=condition, **options)

    def reconstruct(self, x: Any, *, condition: Any = None) -> Any:
        """Expected observations at the codes of ``x``; see :meth:`Trained.reconstruct`."""
        return self.trained().reconstruct(x, condition=condition)

    def interpolate(self, a: Any, b: Any, steps: int = 9, *, condition: Any = None, geodesic: bool = False) -> Any:
        """Ways between pairs of samples, straight or as the decoder sees them; see :meth:`Trained.interpolate`."""
        return self.trained().interpolate(a, b, steps, condition=condition, geodesic=geodesic)

    def traverse(self, x: Any = None, **options: Any) -> Any:
        """One latent moves at a time; see :meth:`Trained.traverse` for the options."""
        return self.trained().traverse(x, **options)

    def sample(self, n: int, *, condition: Any = None, seed: int = 0, mixture: int | None = None) -> Any:
        """Decoded draws of the prior, ``[n, *D]``; see :meth:`Trained.sample`.

        Args:
            n: how many.
            condition: of each, or one for all; default the classes in turn, or for other conditions those of the run's
                held-out samples in turn.
            seed: of the draws, and of the fit.
            mixture: draw from so many normal distributions fitted to the codes of the training data instead.
        """
        trained = self.trained()
        positive_int("n", n)
        if trained.model.condition is not None and condition is None:
            condition = None if self.coding is None else self.coding.cycle(n)
            if condition is None:
                found = self.dataset().half(test=True)[:n]
                assert isinstance(found, Batch)  # of a conditional model
                known = found.c
                condition = known.repeat(-(-n // len(known)), *[1] * (known.dim() - 1))[:n]
        if mixture is None:
            return trained.sample(n, condition=condition, seed=seed)
        generator(seed, torch.device("cpu"))  # refuses a seed before the work; scikit-learn takes those of 32 bits
        known_codes = codes(*at_conditions(trained.model, self.dataset(), test=False)).flatten(1)
        density = fit_mixture(known_codes, mixture, seed % 2**32)
        return trained.sample(n, condition=condition, seed=seed, density=density)
