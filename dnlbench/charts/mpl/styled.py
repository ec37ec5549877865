"""Figures that look the same with any Matplotlib settings of the user."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from dnlbench.charts.mpl.settings import RC_PARAMS


@contextmanager
def style() -> Iterator[None]:
    """Use the Matplotlib parameters of dnlbench in the block."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams  # type checkers only accept literal keys
        parameters.update(RC_PARAMS)
        yield


class StyledFigure(Figure):
    """A figure that is saved, and shown in a notebook, with the parameters of `style`."""

    def savefig(self, fname: Any, **options: Any) -> None:
        with style():
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=144)
        return out.getvalue()
