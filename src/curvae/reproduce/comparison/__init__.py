"""Training with GRAE against training with the β-VAE: what is lost and what is gained by dropping the noise?

The same network is trained on MNIST with every objective; what is measured of each is what one may want of a model.
"""

from __future__ import annotations

from curvae.reproduce.comparison import numbers
from curvae.reproduce.comparison.config import CONFIGS, Comparison
from curvae.reproduce.comparison.distances import frechet_references
from curvae.reproduce.comparison.picture import plot
from curvae.reproduce.comparison.section import SECTIONS, table
from curvae.reproduce.sweep import Context, FigureResult, Sweep
from curvae.reproduce.sweep.mnist import milestones

__all__ = ["CONFIGS", "SECTIONS", "reproduce"]


def make(figure: str, config: Comparison, context: Context) -> FigureResult:
    """Train, measure and draw."""
    wanted = numbers.runs(config)
    runs = context.runs(wanted.values())
    references, left_out = frechet_references(context.dataset, config, context.device)
    for reason in left_out.values():
        context.console.print(f"a column is left out: {reason}", soft_wrap=True, highlight=False, markup=False)
    evaluator = numbers.ModelEvaluator(context.dataset.test[:], config, references, context.device)
    measured = context.measure(runs, evaluator)
    summary = numbers.summarise({key: measured[run] for key, run in wanted.items()}, config)
    summary |= {
        "test_points": min(config.points, len(context.dataset.test)),
        "frechet_distances": {
            **{key: one.summary() for key, one in references.items()},
            **{key: {"left_out": reason} for key, reason in left_out.items()},
        },
    }
    return FigureResult(summary, table(summary), {f"{figure}.png": plot(summary)}, tuple(runs.values()))


reproduce = Sweep(CONFIGS, make, milestones)
