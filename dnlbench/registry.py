"""Parts of a sweep by name: built-in ones, those of installed packages, and ``module:object`` for any other.

An installed package offers parts as entry points, in the groups ``dnlbench.networks``, ``dnlbench.datasets`` and so on. Names
are resolved without importing the parts: the parent process of a sweep never imports torch, and workers import what they use.
A part of a `DeclaredParts` registry is a declaration without torch, which every process imports when it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import Generic, TypeVar

from dnlbench.errors import ConfigurationError, did_you_mean
from dnlbench.imports import FAILURES, a, describe, import_object

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
    """The form of names of custom parts, for messages. Empty: they are always found by the name of an entry point."""
    plural: str = ""
    """The plural of the noun. Empty: the noun and an s."""

    @property
    def title(self) -> str:
        """The plural of the noun: ``networks``."""
        return self.plural or f"{self.kind}s"

    @property
    def group(self) -> str:
        """The group of entry points: ``dnlbench.networks``."""
        return f"dnlbench.{self.title}"

    @cached_property
    def installed(self) -> Mapping[str, metadata.EntryPoint]:
        """Entry points of installed packages by name. They never replace built-in parts."""
        entries = metadata.entry_points(group=self.group)
        return {entry.name: entry for entry in sorted(entries) if entry.name not in self.built_in}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all built-in and installed parts."""
        return (*self.built_in, *self.installed)

    def __contains__(self, name: object) -> bool:
        """Return true for the names of built-in and installed parts, and for any ``module:object``."""
        return isinstance(name, str) and (
            name in self.built_in or (bool(self.form) and is_reference(name)) or name in self.installed
        )

    def is_custom(self, name: str) -> bool:
        """Return true for parts that are not built in."""
        return name not in self.built_in

    def reference(self, name: str) -> str:
        """Return the ``module:object`` of a custom part.

        Raises:
            KeyError: if no part has this name.
        """
        return name if is_reference(name) else self.installed[name].value

    def listed(self) -> Iterator[Listed]:
        """Yield all built-in and installed parts. Installed ones are not imported: the summary is that of their package."""
        for name, part in self.built_in.items():
            yield Listed(name=name, provider="dnlbench", summary=str(getattr(part, "summary", "")))
        for name, entry in self.installed.items():
            package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown package"
            summary = (entry.dist.metadata["Summary"] or "") if entry.dist else ""
            yield Listed(name=name, provider=f"{package} ({entry.value})", summary=summary)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A line of ``dnlbench list``."""

    name: str
    provider: str
    """``dnlbench``, or package, version and object of an entry point."""
    summary: str


@dataclass(frozen=True, kw_only=True)
class DeclaredParts(Registry[T], Mapping[str, T]):
    """Parts whose declarations do not import torch, as a mapping by name. An installed part is imported when it is read."""

    declaration: type[T]
    """The type of each part."""

    def __getitem__(self, name: str) -> T:
        """Return the declaration of a part.

        Raises:
            KeyError: if no part has this name.
            ConfigurationError: if the part cannot be imported, or is not a declaration of this kind.
        """
        if name in self.built_in:
            return self.built_in[name]
        if name not in self:
            raise KeyError(name)
        return self._import(name)

    def __contains__(self, name: object) -> bool:
        return Registry.__contains__(self, name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of built-in and installed parts."""
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def choose(self, name: str, option: str) -> T:
        """Return the part that the user chose with an option.

        Raises:
            ConfigurationError: if no part has this name, or if it cannot be imported.
        """
        if name not in self:
            other = f"; a custom {self.kind} is written {self.form}" if self.form else ""
            hint = did_you_mean(name, self.names) or "."
            raise ConfigurationError(
                f"{option} {name}: no such {self.kind}; choose {', '.join(self.names)}{other}{hint}"
            )
        return self[name]

    def usable(self) -> Mapping[str, T]:
        """Return all parts that can be imported. A broken package must not disable what does not need it."""
        parts = dict(self.built_in)
        for name in self.installed:
            with suppress(ConfigurationError):
                parts[name] = self[name]
        return parts

    def _import(self, name: str) -> T:
        reference = self.reference(name)
        title = f"{self.kind} {name!r}" if name == reference else f"{self.kind} {name!r} ({reference})"
        try:
            part = import_object(reference)
        except FAILURES as error:
            raise ConfigurationError(f"{title} cannot be imported: {describe(error)}") from error
        if not isinstance(part, self.declaration):
            expected = a(self.declaration.__name__)
            raise ConfigurationError(f"{title} is {a(type(part).__name__)}; it must be {expected}")
        return part
