"""Reports as one page of HTML that needs no network: what it shows, and, with scripts, curves to look into."""

from dnlbench.report.html.profile import profile_html

__all__ = ["profile_html"]
