"""Where the user's own code went wrong, and what it must not change for everybody else."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import dnlbench

FAILURES = (Exception, SystemExit)
"""What the user's code may raise to fail. A ``sys.exit`` in it must not end the process that called it."""
_OURS = Path(dnlbench.__file__).parent
_INSTALLED = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def describe(error: BaseException) -> str:
    """``ValueError: message (net.py:12)``: the error, and the last line of the user's own that led to it."""
    place = _location(error)
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}" + (f" ({place})" if place else "")


def _location(error: BaseException) -> str | None:
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno))
    users = [line for line in lines if _is_users(line[0])]
    if not users:
        return None
    path, number = Path(users[-1][0]), users[-1][1]
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{number}"


def _is_users(filename: str) -> bool:
    """Whether a file is neither ours nor installed; ``<frozen importlib>`` and the like are no files."""
    return not filename.startswith("<") and not {_OURS, *_INSTALLED} & set(Path(filename).parents)


@contextmanager
def restored_settings() -> Iterator[None]:
    """Takes back settings of the whole process that would change the results of other networks, or belie the profile."""
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
