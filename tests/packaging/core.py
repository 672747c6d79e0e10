"""What the core does alone, and what it says about the rest. Run where only the core is installed, or behind a wall.

``make package`` runs it in an environment that holds the wheel and nothing else; ``test_core.py`` runs
``python core.py --wall``, which finds no packages but those of the core.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from pathlib import Path

CORE = {"curvae", "torch", "numpy", "scipy", "jaxtyping", "safetensors"}
# what these five need in their turn
NEEDED = {"filelock", "fsspec", "functorch", "jinja2", "markupsafe", "mpmath", "networkx", "packaging", "setuptools"}
NEEDED |= {"sympy", "torchgen", "triton", "typeguard", "typing_extensions", "wadler_lindig"}

CLI = 'run: pip install "curvae[cli]"'


class Wall(PathFinder):
    """Finds the core and the standard library; everything else is as if it were not installed."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        root = name.partition(".")[0]
        known = root in CORE or root in NEEDED or root in sys.stdlib_module_names or root.startswith("_")
        return super().find_spec(name, path, target) if known else None


def raise_wall() -> None:
    """From here on, in this process."""
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Wall]


def compute() -> None:
    """Objectives with gradients, geometry, identifiability, and a model on disk."""
    import numpy as np
    import torch
    from torch import nn

    import curvae
    from curvae import Autoencoder, curvature, geometry, identifiability, likelihoods, objectives, posteriors
    from curvae.data import load
    from curvae.metrics import evaluate  # noqa: F401
    from curvae.runs import RunConfig, build_model, save_model
    from curvae.unamortised import Unamortised  # noqa: F401

    x, encoder, decoder = torch.rand(8, 6), nn.Linear(6, 5), nn.Sequential(nn.Linear(2, 5), nn.ELU(), nn.Linear(5, 6))
    for objective in (
        objectives.BetaVAE(beta=0.2, likelihood=likelihoods.Gaussian()),
        objectives.GRAE(beta=0.2, structure=posteriors.Full(), estimator=curvature.Exact()),
        objectives.GRAE(beta=0.2, structure=posteriors.Diagonal(), estimator=curvature.Columns(1)),
    ):
        vae = isinstance(objective, objectives.BetaVAE)
        model = Autoencoder(encoder, decoder, latents=2, structure=posteriors.Diagonal() if vae else None)
        objective(model, x).total.mean().backward()
    assert all(weight.grad is not None for weight in decoder.parameters())
    assert geometry.__all__
    assert identifiability.__all__
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(data="toy.npy", network="linear", latents=2)
        save_model(build_model(config, (6,)), config, (6,), Path(folder))
        assert curvae.load(folder).reconstruct(x).shape == x.shape
        np.save(Path(folder) / "toy.npy", x.numpy())
        assert load(Path(folder) / "toy.npy").shape == (6,)


def refusals() -> dict[str, Callable[[], object]]:
    """What needs an extra, and the end of the line that says so."""
    import torch

    from curvae.data import load
    from curvae.metrics import fit_mixture
    from curvae.metrics.frechet import between, statistics  # noqa: F401

    class Pixels(torch.nn.Flatten):
        num_features = 4

    rooms = ("curvae.cli", "curvae.training", "curvae.report", "curvae.reproduce.fig2")
    entries = {name: lambda name=name: importlib.import_module(name) for name in rooms}
    return entries | {
        "a mixture": lambda: fit_mixture(torch.randn(50, 2), components=2),
        "a Fréchet distance": lambda: statistics(Pixels(), [torch.rand(4, 1, 2, 2)]),
        "a folder of images": lambda: load(Path(__file__).parent),
    }


def main() -> None:
    """All of it; an ``AssertionError`` or any other traceback is a fault of the core."""
    import curvae  # noqa: F401

    assert "torch" not in sys.modules, "curvae imports PyTorch before it is asked for anything"
    compute()
    for name, enter in refusals().items():
        line = ""
        try:
            enter()
        except ImportError as error:
            line = str(error)
        assert line.endswith(CLI), (name, line)
        assert "\n" not in line
    strangers = {name.partition(".")[0] for name in sys.modules} & {"lightning", "matplotlib", "PIL", "rich", "typer"}
    assert not strangers, strangers
    print("the core computes; what needs an extra says so")


if __name__ == "__main__":
    if "--wall" in sys.argv:
        raise_wall()
    main()
