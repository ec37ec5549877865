"""Import of custom code, error messages for it, and protection of process-wide settings from it."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import dnlbench
from dnlbench.errors import NetworkError
from dnlbench.registry import Registry

FAILURES = (Exception, SystemExit)
"""Exceptions that count as a failure of custom code. A ``sys.exit`` in it must not end the worker process."""
_PACKAGE = Path(dnlbench.__file__).parent
_INSTALLED = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def load_function(registry: Registry[Any], name: str, key: str) -> Callable[..., Any]:
    """Import the function that the name of a custom part refers to. Modules in the current folder can be imported.

    ``key`` is the key of the spec with the name, for messages.

    Raises:
        NetworkError: if the import fails, or if the object is not callable.
    """
    module_name, _, attribute = registry.reference(name).partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end, so that a file in the folder never hides an installed package
    try:
        with restored_settings():
            function = getattr(importlib.import_module(module_name), attribute)
    except FAILURES as error:
        raise NetworkError(f"{key}: {name!r} cannot be imported: {describe(error)}") from error
    if not callable(function):
        raise NetworkError(f"{key}: {name!r} is {a(type(function).__name__)}; it must be a function")
    return function  # type: ignore[no-any-return]


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


@contextmanager
def restored_settings() -> Iterator[None]:
    """Restore process-wide settings on exit, which could change results of other networks or contradict the profile."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    threads, dtype, benchmark = torch.get_num_threads(), torch.get_default_dtype(), torch.backends.cudnn.benchmark
    precisions = matmul.fp32_precision, convolution.fp32_precision
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.backends.cudnn.benchmark = benchmark
        matmul.fp32_precision, convolution.fp32_precision = precisions
