"""Import of custom code, error messages for it, and protection of process-wide settings from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from dnlbench.errors import NetworkError
from dnlbench.imports import FAILURES, a, describe, import_object
from dnlbench.registry import Registry

__all__ = ["FAILURES", "a", "describe", "load_function", "restored_settings"]


def load_function(registry: Registry[Any], name: str, key: str) -> Callable[..., Any]:
    """Import the function that the name of a custom part refers to. Modules in the current folder can be imported.

    ``key`` is the key of the spec with the name, for messages.

    Raises:
        NetworkError: if the import fails, or if the object is not callable.
    """
    try:
        with restored_settings():
            function = import_object(registry.reference(name))
    except FAILURES as error:
        raise NetworkError(f"{key}: {name!r} cannot be imported: {describe(error)}") from error
    if not callable(function):
        raise NetworkError(f"{key}: {name!r} is {a(type(function).__name__)}; it must be a function")
    return function


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
