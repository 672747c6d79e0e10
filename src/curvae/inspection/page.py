"""An inspection as a page that needs no network and no other file, and as rows of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

import curvae
from curvae.files import write_atomic
from curvae.inspection.result import Group, Inspection
from curvae.report.charts import Axis, Line, chart, common_axis
from curvae.report.pictures import Picture

_SHIPPED, _IMPLIED = "#4477aa", "#ee6677"
_DRAWN = {"shipped": "shipped (blue points)", "implied": "implied (red line)"}


def write_page(found: Inspection, name: str, out: Path) -> None:
    """Write the page.

    Args:
        found: what it shows.
        name: of the model.
        out: the file, written whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    environment = Environment(loader=PackageLoader("curvae.report"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("inspection.html").render(
        name=name,
        version=curvae.__version__,
        found=found,
        rows=rows(found),
        figures=figures(found),
        advice=[(each.what, shown(each.value), each.reason) for each in found.advice],
    )
    write_atomic(out, lambda temporary: temporary.write_text(page, encoding="utf-8", errors="backslashreplace"))


def rows(found: Inspection) -> list[tuple[str, str, str]]:
    """Name, value and a note of the main numbers; those that are not known are left out."""
    hat, det = found.beta_hat, found.log_det
    spread, sure = "", list[str]()
    if hat is not None:
        spread = f"quartiles {_pair(hat.quartiles)}, 95 % {_pair(hat.interval)}"
    if det is not None:
        within = f"95 % ± {det.error:.2g} for these samples" if det.error else ""
        sure = [_se(det.standard_error), within, f"{det.products} products", det.method]
    made: list[tuple[str, str, str] | None] = [
        ("latents", " × ".join(map(str, found.latents)), f"{found.outputs} outputs, {found.likelihood}"),
        _maybe("β of the maker", found.maker_beta, "summed convention"),
        _maybe("β̂", None if hat is None else hat.median, spread),
        _constancy(found),
        _maybe("correlation of log variances", found.log_variance_correlation, "posterior and Σ*"),
        ("|cos| of Jacobian columns", shown(found.column_cosine), _se(found.column_cosine_se)),
        ("tr M", shown(found.trace), _se(found.trace_se)),
        _maybe("log|I + M/β|", None if det is None else det.value, ", ".join(filter(None, sure))),
        _maybe("effective dimension", found.effective_dimension, f"of {math.prod(found.latents)}"),
        _maybe("Hadamard gap", found.hadamard_gap, _se(found.hadamard_gap_se)),
        ("largest eigenvalue of M", shown(found.largest), ""),
        (
            "decode error under noise",
            ", ".join(f"{level.std:g}: {level.measured:.3g}" for level in found.noise[::3]),
            "measured, summed over outputs",
        ),
        _maybe("condition of M", found.condition, "median over samples"),
        (
            "linear up to noise",
            "beyond the levels" if found.radius is None else shown(found.radius),
            "second order ± 10 %",
        ),
        (
            "cost",
            f"{found.cost.seconds:.1f} s",
            f"{found.cost.samples} samples, {found.cost.products} products and {found.cost.decodes} decodes each, "
            f"{found.cost.device}, {shown(found.cost.memory_mb)} MB at most",
        ),
    ]
    return [row for row in made if row is not None]


def shown(value: object) -> str:
    """A number, or a list of them, to four digits.

    Example:
        >>> shown(0.0123456), shown([1.0, 2.5]), shown(None)
        ('0.01235', '1, 2.5', '')
    """
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(shown(each) for each in value[:16]) + (", …" if len(value) > 16 else "")
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def figures(found: Inspection) -> list[tuple[str, Picture]]:
    """Captions and charts."""
    made = [("Decode error under latent noise: predicted (red line) and measured (points)", _noise(found))]
    made.append(("Eigenvalues of M and how many of the latents' dimensions are near each", _spectrum(found)))
    for title, groups in (
        ("latent", found.per_latent),
        ("channel", found.per_channel),
        ("band of spatial frequency, low to high", found.per_frequency),
    ):
        picture = _variances(groups, title)
        drawn = [what for name, what in _DRAWN.items() if any(getattr(group, name) is not None for group in groups)]
        if picture is not None:
            made.append((f"Variance by {title}: {' and '.join(drawn)}", picture))
    return made


def _noise(found: Inspection) -> Picture:
    x, predicted, measured = (
        np.array([getattr(level, name) for level in found.noise]) for name in ("std", "predicted", "measured")
    )
    return chart(
        [Line(_IMPLIED, np.log10(x), predicted), Line(_SHIPPED, np.log10(x), measured, width=0.0)],
        "decode error against noise, predicted and measured",
        Axis("log₁₀ noise"),
        common_axis([predicted, measured], "squared error"),
    )


def _spectrum(found: Inspection) -> Picture:
    nodes, counts = (np.array(column) for column in zip(*found.spectrum, strict=True))
    x = np.log10(np.maximum(nodes, 1e-300))
    return chart(
        [Line(_SHIPPED, np.repeat(a, 2), np.array([0.0, n]), width=3.0) for a, n in zip(x, counts, strict=True)],
        "spectrum of M",
        Axis("log₁₀ eigenvalue"),
        Axis("dimensions"),
    )


def _variances(groups: Sequence[Group], title: str) -> Picture | None:
    implied = np.array([np.nan if group.implied is None else group.implied for group in groups])
    shipped = np.array([np.nan if group.shipped is None else group.shipped for group in groups])
    if not np.isfinite(implied).any() and not np.isfinite(shipped).any():
        return None
    sort = title == "latent" and bool(np.isfinite(implied).any())
    order = np.argsort(implied) if sort else np.arange(len(groups))
    x = np.arange(len(groups), dtype=float)
    lines = [Line(_IMPLIED, x, implied[order]), Line(_SHIPPED, x, shipped[order], width=0.0)]
    label = "latent, by implied variance" if sort else title
    return chart(lines, f"variances by {title}", Axis(label, whole=True), common_axis([implied, shipped], "variance"))


def _constancy(found: Inspection) -> tuple[str, str, str] | None:
    if found.beta_hat is None:
        return None
    hat = found.beta_hat
    over = {
        "latents": hat.spread_over_latents,
        "samples": hat.spread_over_samples,
        "channels": hat.spread_over_channels,
    }
    parts = [f"{100 * value:.2g} % over {name}" for name, value in over.items() if value is not None]
    slope = "" if hat.slope is None else f"slope {shown(hat.slope)}; theory: 1"
    return ("how constant β̂ is", "; ".join(parts) or "one entry", slope)


def _maybe(name: str, value: float | None, note: str) -> tuple[str, str, str] | None:
    return None if value is None else (name, shown(value), note)


def _se(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"± {value:.2g}"


def _pair(values: tuple[float, float]) -> str:
    return f"{shown(values[0])} … {shown(values[1])}"
