"""Arrays of rows, one for each position of a batch: how they lie in images, and some of their columns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """How rows lie in images: row ``(b H + h) W + w`` is position ``(h, w)`` of image ``b``."""

    batch: int
    height: int
    width: int

    def part(self, images: int) -> Grid:
        return Grid(images, self.height, self.width)

    @property
    def rows(self) -> int:
        return self.batch * self.height * self.width

    def images(self, rows: Tensor) -> Tensor:
        """(S, R, c) as (S, B, c, H, W) in the same memory."""
        seeds, _, channels = rows.shape
        return rows.view(seeds, self.batch, self.height, self.width, channels).permute(0, 1, 4, 2, 3)

    def rows_of(self, images: Tensor) -> Tensor:
        """(S, B, c, H, W) to (S, R, c), channels side by side; in the same memory where they are so already."""
        return side_by_side(images.permute(0, 1, 3, 4, 2).flatten(1, 3))


def side_by_side(rows: Tensor) -> Tensor:
    """The same numbers with the last dimension's next to each other, as loops over vectors of them ask for."""
    return rows if rows.shape[-1] <= 1 or rows.stride(-1) == 1 else rows.contiguous()


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
