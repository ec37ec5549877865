"""Some columns of an array of rows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Strip:
    """Neighbouring channels of rows that have more."""

    rows: Tensor
    """Shape (S, R, width): ``S`` seeds side by side, ``R`` positions of a batch."""
    columns: slice

    @staticmethod
    def whole(rows: Tensor) -> Strip:
        return Strip(rows, slice(0, rows.shape[-1]))

    @property
    def values(self) -> Tensor:
        return self.rows[..., self.columns]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, R, c)."""
        return *self.rows.shape[:2], self.columns.stop - self.columns.start
