"""One self-contained HTML page about one run, or several side by side."""

from curvae._extras import require

require("curvae.report needs", "jinja2", "matplotlib", "PIL")

from curvae.report.page import write_report

__all__ = ["write_report"]
