"""What noise a decoder implies: the effective β, the posterior by (11), and how far the decoder is locally linear."""

from curvae.inspection.inspecting import inspect
from curvae.inspection.result import BetaHat, Inspection

__all__ = ["BetaHat", "Inspection", "inspect"]
