"""Consoles for the standard streams: as wide as a terminal, with control characters in text escaped."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from dnlbench.escape import terminal

if TYPE_CHECKING:
    from dnlbench.report.grid import Grid

PIPE_WIDTH = 160
"""Width of output to a file or a pipe, in columns."""


class _Console(Console):
    """A console that escapes control characters in text. Its own colors and cursor movements are not text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(terminal(segment.text), segment.style)


def console(file: IO[str]) -> Console:
    """Return a console for a stream: as wide as its terminal, or plain and ``PIPE_WIDTH`` wide without one."""
    # Rich needs both sizes: without a height it treats TERM=dumb as a terminal of 80 columns.
    width, height = (None, None) if file.isatty() else (PIPE_WIDTH, 50)
    # Without force_jupyter, Rich displays HTML in a notebook instead of writing to the stream.
    return _Console(file=file, width=width, height=height, highlight=False, markup=False, force_jupyter=False)


def render(parts: Iterable[Grid | str], file: IO[str] | None = None) -> str:
    """Return tables and text as a stream would show them, separated by empty lines. The default stream is a file."""
    return "\n".join(_render(part, console(file or io.StringIO())) for part in parts)


def _render(part: Grid | str, out: Console) -> str:
    if isinstance(part, str):
        return f"{terminal(part)}\n"
    with out.capture() as capture:
        out.print(part.to_rich(out.width))
    return "".join(line.rstrip() + "\n" for line in capture.get().splitlines())
