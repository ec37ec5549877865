"""The documentation: one Markdown page per topic, for a code host, ``dnlbench docs`` and the help of the terminal UI."""

from __future__ import annotations

from importlib import resources

READING_ORDER = (
    "tutorial",
    "networks",
    "data",
    "spec",
    "training",
    "objectives",
    "running",
    "cluster",
    "comparing",
    "statistics",
    "tuning",
    "budgets",
    "depth",
    "profile",
    "python",
    "terminal-ui",
    "diagnosing",
    "forward-limit",
    "optimum-limit",
    "relu-limit",
    "embedding",
    "troubleshooting",
    "glossary",
)


def topics() -> dict[str, str]:
    """Return the title of each page by topic, in reading order. The title is the page's first line, without its ``#``."""
    folder = resources.files(__name__)
    names = [entry.name.removesuffix(".md") for entry in folder.iterdir() if entry.name.endswith(".md")]
    order = {name: index for index, name in enumerate(READING_ORDER)}
    names.sort(key=lambda name: (order.get(name, len(order)), name))
    return {name: read_topic(name).partition("\n")[0].removeprefix("# ") for name in names}


def read_topic(name: str) -> str:
    """Return the Markdown text of a page.

    Raises:
        KeyError: if there is no such topic.
    """
    page = resources.files(__name__) / f"{name}.md"
    if "/" in name or not page.is_file():
        raise KeyError(name)
    return page.read_text(encoding="utf-8")
