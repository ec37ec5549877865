"""Packages that come with an extra of dnlbench, and not everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dnlbench.errors import ConfigurationError


@contextmanager
def from_extra(extra: str, package: str) -> Iterator[None]:
    """Says what to install where an import within it fails."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"this format is written with {package}, which cannot be imported ({error}); it comes with the extra {extra!r} of "
            f"dnlbench: pip install 'dnlbench[{extra}]', or '.[{extra}]' in a copy of its repository"
        ) from error
