"""Import of custom code by name, and error messages with the line of custom code that failed."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from pathlib import Path

FAILURES = (Exception, SystemExit)
"""Exceptions that count as a failure of custom code. A ``sys.exit`` in it must not end the process."""
_PACKAGE = Path(__file__).parent
_INSTALLED = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def import_object(reference: str) -> object:
    """Import the object of ``module:object``. Modules in the current folder can be imported."""
    module, _, attribute = reference.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end, so that a file in the folder never hides an installed package
    value: object = importlib.import_module(module)
    for name in attribute.split("."):
        value = getattr(value, name)
    return value


def a(noun: str) -> str:
    """Return the noun with its article."""
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"


def describe(error: BaseException) -> str:
    """Return ``ValueError: message (net.py:12)``: the error, and the last line of custom code in its traceback."""
    location = _location(error)
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}" + (f" ({location})" if location else "")


def _location(error: BaseException) -> str | None:
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno))
    custom = [line for line in lines if _is_custom(line[0])]
    if not custom:
        return None
    path, number = Path(custom[-1][0]), custom[-1][1]
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{number}"


def _is_custom(filename: str) -> bool:
    """Return true for files outside of dnlbench and installed packages. ``<frozen importlib>`` and the like are not files."""
    return not filename.startswith("<") and not {_PACKAGE, *_INSTALLED} & set(Path(filename).parents)
