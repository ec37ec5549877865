"""What profiles are called where they stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dnlbench.compare import Comparison


def told_apart(comparisons: Sequence[Comparison], reference: Path, candidates: Sequence[Path]) -> list[Comparison]:
    """Comparisons with one reference, in which profiles of different files have different titles.

    A title is a sweep's name and the minute in which it began, which both sides of one session share, and sweeps of a script.
    Those that are equal are followed by the stems of their files or, where these are equal as well, by the paths.

    Args:
        comparisons: each with the same reference; of one candidate each.
        reference: its file, as it was named.
        candidates: their files, one for each comparison.
    """
    if not comparisons:
        return []
    titles = [comparisons[0].reference, *(comparison.candidate for comparison in comparisons)]
    first, *others = _distinct(titles, [reference, *candidates])
    return [replace(each, reference=first, candidate=other) for each, other in zip(comparisons, others, strict=True)]


def _distinct(titles: Sequence[str], files: Sequence[Path]) -> list[str]:
    sharing: dict[str, set[Path]] = {}
    for title, file in zip(titles, files, strict=True):
        sharing.setdefault(title, set()).add(file)
    return [_with_file(title, file, sharing[title]) for title, file in zip(titles, files, strict=True)]


def _with_file(title: str, file: Path, sharing: set[Path]) -> str:
    """The file belongs to those that share the title."""
    if len(sharing) == 1:
        return title
    stems = {other.stem for other in sharing}
    return f"{title} ({file.stem if len(stems) == len(sharing) else file})"
