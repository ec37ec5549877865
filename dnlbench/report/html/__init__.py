"""Reports as one page of HTML that needs no network: what it shows, and, with scripts, curves to look into."""

from dnlbench.report.html.comparison import comparison_html
from dnlbench.report.html.profile import profile_html

__all__ = ["comparison_html", "profile_html"]
