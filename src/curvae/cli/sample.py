"""``curvae sample``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from curvae.cli.group import writing

if TYPE_CHECKING:
    import numpy as np

    from curvae._typing import Float, UInt8
    from curvae.runs import Run

_FORMATS = (".png", ".npy", ".npz")


def sample(
    run: Annotated[Path, Argument(help="A finished run folder.", metavar="RUN")],
    n: Annotated[int, Option("-n", help="Number of samples.")] = 64,
    out: Annotated[Path, Option(help="A .png grid, or the values as .npy or .npz.")] = Path("samples.png"),
    seed: Annotated[int, Option(help="Of the draws.")] = 0,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Decode draws from the prior."""
    from curvae.errors import InputError
    from curvae.runs import Run

    if out.suffix.lower() not in _FORMATS:
        raise InputError(f"--out is {out}; expected a name that ends in {', '.join(_FORMATS)}")
    if out.is_dir():
        raise InputError(f"--out is {out}, a folder; expected a file")
    if n < 1:
        raise InputError(f"-n is {n}; expected a whole number >= 1")
    opened = Run.open(run)
    shape = tuple(opened.data["shape"])
    if out.suffix.lower() == ".png" and not (len(shape) == 3 and shape[0] in (1, 3)):
        raise InputError(f"the samples of {run} have shape {shape} and are no images; use --out with .npy or .npz")
    with writing(out):
        _write(_draw(opened, n, seed), out)
    if as_json:
        typer.echo(json.dumps({"run": str(run), "out": str(out), "n": n, "shape": list(shape), "seed": seed}))
    else:
        typer.echo(f"{n} samples in {out}", err=True)


def _draw(run: Run, n: int, seed: int) -> Any:
    import torch

    from curvae.runs import build_likelihood
    from curvae.runs.device import generator

    model, likelihood = run.model(), build_likelihood(run.config.likelihood)
    draws = generator(seed, torch.device("cpu"))
    with torch.no_grad():
        chunks = [likelihood.mean(model.sample(min(256, n - done), draws)) for done in range(0, n, 256)]
    return torch.cat(chunks).numpy()


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


def grid(images: Float[np.ndarray, "N C H W"], gap: int = 2) -> UInt8[np.ndarray, "..."]:
    """Images side by side, as near to a square as they go.

    Args:
        images: ``[N, C, H, W]`` in [0, 1] (clipped), C = 1 or 3.
        gap: white pixels between them.

    Returns:
        ``[H', W']`` or ``[H', W', 3]`` uint8.

    Example:
        >>> import numpy as np
        >>> grid(np.zeros((3, 1, 4, 4))).shape
        (10, 10)
    """
    import numpy as np

    count, channels, height, width = images.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    pixels = (images.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    for index, picture in enumerate(pixels):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas[..., 0] if channels == 1 else canvas
