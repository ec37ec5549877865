"""Record the files and packages that custom parts (networks, datasets, …) depend on, while networks are imported and built.

Two methods complement each other. An audit hook sees every file that Python opens: modules imported by a computed name or from
a folder that the code added to `sys.path`, configuration files, weights, archives. In addition, the import statements of these
Python files are followed, including imports that are not executed before training.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from dnlbench.machine import PACKAGE, Sources

INSTALLED = frozenset({"site-packages", "dist-packages"})
SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev")))

_opened: ContextVar[dict[str, bool] | None] = ContextVar("opened", default=None)
"""Files opened during `Tracker.watch`, and whether each was opened for writing."""


class Tracker:
    """Collects the dependencies of custom parts. Create it before the first one is imported."""

    def __init__(self, parts: Sequence[str], folder: Path) -> None:
        """Track these custom parts, each ``module:object``. Paths below ``folder`` are recorded relative to it."""
        self._parts = parts
        self._folder = folder
        self._opened: dict[str, bool] = {}

    @contextmanager
    def watch(self) -> Iterator[None]:
        if self._parts:
            _install_hook()
        token = _opened.set(self._opened)
        try:
            yield
        finally:
            _opened.reset(token)

    def sources(self) -> Sources:
        """Return the opened files, and all files that the parts' modules and the opened Python files import."""
        if not self._parts:
            return Sources()
        modules = [part.partition(":")[0] for part in self._parts]
        read = {_source_of(path) for path, written in self._opened.items() if not written}
        files = _closure([*_files_of(modules), *filter(self._is_input, read)])
        packages = {package for path in (*files, *read) for package in _packages_of(path)}
        sources = self._read(files, packages)
        hashes = map(self._closure_hash, modules)
        return sources.model_copy(update={"networks": dict(zip(self._parts, hashes, strict=True))})

    def changed_inputs(self, code: Sources) -> Sequence[str]:
        """Return the changed files that custom code may read again: all except loaded modules."""
        loaded = {self._name(_on_disk(Path(file))) for module in [*sys.modules.values()] if (file := _file_of(module))}
        files = {file: sha256 for file, sha256 in code.files.items() if file not in loaded}
        return code.model_copy(update={"files": files, "packages": {}}).changes(self._folder)

    def _closure_hash(self, module: str) -> str:
        """Hash a module and its imports. The hash does not depend on the location of the files."""
        files = self._read(_closure(_files_of([module])), ()).files
        content = sorted((Path(file).name, sha256) for file, sha256 in files.items())
        return hashlib.sha256(repr(content).encode()).hexdigest()

    def _read(self, files: Iterable[Path], packages: Iterable[str]) -> Sources:
        return Sources.read((self._name(path) for path in files if _is_custom(path)), packages, self._folder)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else str(path)

    def _is_input(self, path: Path) -> bool:
        """Return false for cached, temporary and system files."""
        if not path.is_file() or any(path.is_relative_to(folder) for folder in SYSTEM):
            return False
        if path.is_relative_to(self._folder):
            return path.suffix == ".py" or not _is_hidden(path.relative_to(self._folder))
        if path.is_relative_to(tempfile.gettempdir()):
            return False
        return path.suffix == ".py" or not _is_hidden(path)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


@cache
def _install_hook() -> None:
    """Install one audit hook for all trackers: Python cannot remove audit hooks."""
    sys.addaudithook(_note)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("open", "import", "ctypes.dlopen"):
        return
    opened = _opened.get()
    if opened is None:
        return
    name = arguments[1] if event == "import" else arguments[0]  # import events have a path for compiled modules only
    if isinstance(name, str | bytes) and name:
        with suppress(FileNotFoundError):  # the current folder was deleted
            name = os.path.abspath(name)  # noqa: PTH100 - Path.resolve would follow links
        path = os.fsdecode(name)
        written = event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        opened[path] = opened.get(path, False) or written


def _source_of(path: str) -> Path:
    """Return the source of a compiled Python file; other paths unchanged."""
    if path.endswith(".pyc"):
        try:
            return Path(importlib.util.source_from_cache(path))
        except ValueError:
            return Path(path)
    return Path(path)


def _files_of(modules: Iterable[str]) -> list[Path]:
    """Return the files of imported modules and of the packages that contain them."""
    names = {name.rsplit(".", n)[0] for name in modules for n in range(name.count(".") + 1)}
    return [_on_disk(Path(file)) for name in sorted(names) if (file := _file_of(sys.modules.get(name)))]


def _file_of(module: object) -> str | None:
    return getattr(module, "__file__", None)  # a namespace package has none


def _on_disk(path: Path) -> Path:
    """Return the path, or the archive that contains it."""
    return next((candidate for candidate in (path, *path.parents) if candidate.is_file()), path)


def _closure(start: Iterable[Path]) -> set[Path]:
    """Return the files and everything that the custom Python files among them import, directly or indirectly."""
    files: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path not in files:
            files.add(path)
            if path.suffix == ".py" and _is_custom(path):
                waiting += _imported_by(path)
    return files


def _is_custom(path: Path) -> bool:
    """Return true for files outside of Python, installed packages and dnlbench, which has a separate hash."""
    known = (PACKAGE, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")))
    return not INSTALLED & set(path.parts) and not any(path.is_relative_to(folder) for folder in known)


def _packages_of(path: Path) -> Sequence[str]:
    index = next((n for n, part in enumerate(path.parts[:-1]) if part in INSTALLED), None)
    module = path.parts[index + 1].partition(".")[0] if index is not None else ""
    return (_named_like(module) or _by_module().get(module, ())) if module.isidentifier() else ()


@cache
def _named_like(module: str) -> Sequence[str]:
    """Return the package with the module's name if it contains the module. Searching all packages takes a second."""
    try:
        distribution = metadata.distribution(module)
    except metadata.PackageNotFoundError:
        return ()
    top_level = distribution.read_text("top_level.txt")
    return (distribution.name,) if top_level is None or module in top_level.split() else ()


@cache
def _by_module() -> dict[str, list[str]]:
    return {name: list(packages) for name, packages in metadata.packages_distributions().items()}


def _imported_by(path: Path) -> Iterator[Path]:
    """Yield the files of modules that a Python file names in import statements or in calls of ``import_module``."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield from _locate(alias.name)
            case ast.ImportFrom(module=module, names=names, level=level):
                folder = [str(path.parents[level - 1])] if level else None
                for alias in names:
                    yield from _locate(f"{module}.{alias.name}" if module else alias.name, folder)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str() as name), *_],
            ):
                yield from _locate(name.lstrip("."), [str(path.parent)] if name.startswith(".") else None)


def _locate(name: str, folders: Sequence[str] | None = None) -> Iterator[Path]:
    """Yield the existing files of a module and of the packages that contain it, without importing them."""
    if folders and (Path(folders[0]) / "__init__.py").is_file():
        yield Path(folders[0]) / "__init__.py"
    for part in name.split("."):
        try:
            spec = PathFinder.find_spec(part, folders) if folders is not None else importlib.util.find_spec(part)
        except (ImportError, ValueError):  # the latter for __main__
            return
        if spec is None:
            return
        if spec.has_location and spec.origin:
            yield _on_disk(Path(spec.origin))
        folders = list(spec.submodule_search_locations or ())
        if not folders:
            return
