"""Reports as a self-contained HTML page with tables and interactive charts, and their tables for notebooks."""

from dnlbench.report.html.comparison import comparison_fragment, comparison_html
from dnlbench.report.html.profile import profile_fragment, profile_html

__all__ = ["comparison_fragment", "comparison_html", "profile_fragment", "profile_html"]
