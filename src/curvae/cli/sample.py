"""``curvae sample``."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from curvae.cli.group import writing
from curvae.cli.own import Code, ModelOption, TrustOption
from curvae.cli.places import check_file, path
from curvae.terminal import console, one_line

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Shaped

    from curvae._typing import UInt8
    from curvae.autoencoder import Autoencoder
    from curvae.metrics import Mixture
    from curvae.runs import Run

_FORMATS = (".png", ".npy", ".npz")
# pictures in a grid: 100 a side
_SHOWN = 10_000
# for each number of a sample: its chunk, the whole and what is written are in memory together, in float64 at most
_BYTES = 32


def sample(
    run: Annotated[Path, Argument(help="A finished run folder.", metavar="RUN", parser=path)],
    n: Annotated[int, Option("-n", help="Number of samples.")] = 64,
    out: Annotated[Path, Option(help="A .png grid, or the values as .npy or .npz.", parser=path)] = Path("samples.png"),
    source: Annotated[
        str, Option("--from", help="prior, or mixture:K fitted to the codes of the training data.")
    ] = "prior",
    seed: Annotated[int, Option(help="Of the draws.")] = 0,
    model: ModelOption = None,
    trust: TrustOption = False,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Decode draws from the prior, or from a mixture of K normal distributions fitted to the codes after training."""
    from curvae.errors import InputError
    from curvae.runs import Run

    check_file("--out", out, _FORMATS)
    if n < 1:
        raise InputError(f"-n is {n}; expected a whole number >= 1")
    components = _components(source)
    opened = Run.open(run)
    shape = tuple(opened.data["shape"])
    if out.suffix.lower() == ".png" and not (len(shape) == 3 and shape[0] in (1, 3)):
        raise InputError(f"the samples of {run} have shape {shape} and are no images; use --out with .npy or .npz")
    _check_number(n, shape, out)
    code = Code.of(model, trust)
    code.check([opened])
    with code.errors():
        values = _draw(opened, code.model(opened), n, components, seed)
    with writing("--out", out):
        _write(values, out)
    if as_json:
        told = {"run": str(run), "out": str(out), "n": n, "shape": list(shape), "from": source, "seed": seed}
        typer.echo(json.dumps(told))
    else:
        typer.echo(f"{n} samples in {out}", err=True)


def _check_number(n: int, shape: tuple[int, ...], out: Path) -> None:
    """Refuse more samples than can be shown or held."""
    from curvae import memory
    from curvae.errors import InputError

    if out.suffix.lower() == ".png" and n > _SHOWN:
        raise InputError(f"-n is {n}; a .png shows at most {_SHOWN} samples, .npy and .npz take more")
    if n > (most := memory.total() / (_BYTES * math.prod(shape))):
        raise InputError(f"-n is {n}; expected at most {most:.0f}, which is what fits in the memory of this machine")


def _components(source: str) -> int | None:
    """Of the mixture to draw from; None for the prior."""
    from curvae.errors import InputError

    kind, _, number = source.partition(":")
    if source == "prior":
        return None
    # len before int: Python refuses thousands of digits
    if kind != "mixture" or not (number.isascii() and number.isdigit() and len(number) < 20) or int(number) < 1:
        raise InputError(f"--from is {source!r}; expected prior or mixture:K with a whole number K >= 1")
    return int(number)


def _draw(run: Run, model: Autoencoder, n: int, components: int | None, seed: int) -> Any:
    import torch

    from curvae.runs import likelihood_of
    from curvae.runs.device import generator

    likelihood = likelihood_of(run.config, model)
    draws = generator(seed, torch.device("cpu"))
    sizes = [min(256, n - done) for done in range(0, n, 256)]
    with torch.no_grad():
        if components is None:
            chunks = (model.sample(size, draws) for size in sizes)
        else:
            latents = _mixture(run, model, components, seed).sample(n, draws).to(next(model.parameters()).dtype)
            chunks = (model.decode(z) for z in latents.split(sizes))
        return torch.cat([likelihood.mean(eta) for eta in chunks]).numpy()


def _mixture(run: Run, model: Autoencoder, components: int, seed: int) -> Mixture:
    """Fitted to the codes of the run's training data."""
    from curvae.metrics import codes, fit_mixture

    data = run.dataset().train
    with console().status(f"fitting a mixture to {len(data)} codes"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        # scikit-learn takes seeds of 32 bits
        found = fit_mixture(codes(model, data), components, seed % 2**32)
    for warning in caught:  # that the fit did not converge, say
        typer.echo("note: " + one_line(str(warning.message)), err=True)
    return found


def _write(values: Any, out: Path) -> None:
    import numpy as np

    from curvae.files import write_atomic

    suffix = out.suffix.lower()
    if suffix == ".npy":
        write_atomic(out, lambda path: np.save(path, values))
    elif suffix == ".npz":
        write_atomic(out, lambda path: np.savez_compressed(path, samples=values))
    else:
        from PIL import Image

        picture = Image.fromarray(grid(values))
        write_atomic(out, lambda path: picture.save(path, format="png"))


def grid(images: Shaped[np.ndarray, "N C H W"], gap: int = 2) -> UInt8[np.ndarray, "..."]:
    """Images side by side, as near to a square as they go.

    Args:
        images: ``[N, C, H, W]``, uint8 or in [0, 1] (values beyond are cut off), C = 1 or 3.
        gap: white pixels between them.

    Returns:
        ``[H', W']`` or ``[H', W', 3]`` uint8.

    Example:
        >>> import numpy as np
        >>> grid(np.zeros((3, 1, 4, 4))).shape
        (10, 10)
    """
    import numpy as np

    from curvae.data import cut_off

    count, channels, height, width = images.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    pixels = cut_off(images).numpy().transpose(0, 2, 3, 1)
    for index, picture in enumerate(pixels):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas[..., 0] if channels == 1 else canvas
