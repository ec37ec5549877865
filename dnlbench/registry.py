"""Parts of a sweep by name: built-in ones, those of installed packages, and ``module:object`` for any other.

An installed package offers parts as entry points, in the groups ``dnlbench.networks``, ``dnlbench.datasets`` and so on. Names
are resolved without importing the parts: the parent process of a sweep never imports torch, and workers import what they use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import Generic, TypeVar

T = TypeVar("T")

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_reference(name: str) -> bool:
    """Return true for ``package.module:object``."""
    return _REFERENCE.fullmatch(name) is not None


@dataclass(frozen=True, kw_only=True)
class Registry(Generic[T]):
    """The parts of one kind."""

    kind: str
    """A noun for messages: ``network``."""
    built_in: Mapping[str, T]
    """Declarations by name. They do not import torch."""
    form: str = "package.module:object"
    """The form of names of custom parts, for messages."""

    @property
    def group(self) -> str:
        """The group of entry points: ``dnlbench.networks``."""
        return f"dnlbench.{self.kind}s"

    @cached_property
    def installed(self) -> Mapping[str, metadata.EntryPoint]:
        """Entry points of installed packages by name. They never replace built-in parts."""
        found = metadata.entry_points(group=self.group)
        return {entry.name: entry for entry in sorted(found) if entry.name not in self.built_in}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all built-in and installed parts."""
        return (*self.built_in, *self.installed)

    def __contains__(self, name: object) -> bool:
        """Return true for the names of built-in and installed parts, and for any ``module:object``."""
        return isinstance(name, str) and (name in self.built_in or is_reference(name) or name in self.installed)

    def is_custom(self, name: str) -> bool:
        """Return true for parts that are not built in."""
        return name not in self.built_in

    def reference(self, name: str) -> str:
        """Return the ``module:object`` of a custom part.

        Raises:
            KeyError: if no part has this name.
        """
        return name if is_reference(name) else self.installed[name].value

    def providers(self) -> Iterator[tuple[str, str]]:
        """Yield name and provider of each part: ``dnlbench``, or the package and the object of an entry point."""
        for name in self.built_in:
            yield name, "dnlbench"
        for name, entry in self.installed.items():
            package = entry.dist.name if entry.dist else "unknown package"
            yield name, f"{package} ({entry.value})"
