"""Reports as a self-contained HTML page with tables and interactive charts."""

from dnlbench.report.html.comparison import comparison_html
from dnlbench.report.html.profile import profile_html

__all__ = ["comparison_html", "profile_html"]
