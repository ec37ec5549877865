"""Arrays with one row for each position of a batch: their layout in images, and slices of their columns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The layout of rows in images: row ``(b H + h) W + w`` is position ``(h, w)`` of image ``b``."""

    batch: int
    height: int
    width: int

    def part(self, images: int) -> Grid:
        return Grid(images, self.height, self.width)

    @property
    def rows(self) -> int:
        return self.batch * self.height * self.width

    def images(self, rows: Tensor) -> Tensor:
        """Return rows (S, R, c) as images (S, B, c, H, W), a view of the same memory."""
        seeds, _, channels = rows.shape
        return rows.view(seeds, self.batch, self.height, self.width, channels).permute(0, 1, 4, 2, 3)

    def rows_of(self, images: Tensor) -> Tensor:
        """Return images (S, B, c, H, W) as rows (S, R, c) with contiguous channels; a view if they are contiguous already."""
        return contiguous_channels(images.permute(0, 1, 3, 4, 2).flatten(1, 3))


def contiguous_channels(rows: Tensor) -> Tensor:
    """Return the rows with a contiguous last dimension, as vectorized loops require."""
    return rows if rows.shape[-1] <= 1 or rows.stride(-1) == 1 else rows.contiguous()


@dataclass(frozen=True)
class ChannelSlice:
    """A slice of the channels of an array of rows."""

    rows: Tensor
    """Shape (S, R, width): ``S`` seeds, ``R`` positions of a batch."""
    columns: slice

    @staticmethod
    def full(rows: Tensor) -> ChannelSlice:
        return ChannelSlice(rows, slice(0, rows.shape[-1]))

    @property
    def values(self) -> Tensor:
        return self.rows[..., self.columns]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, R, c)."""
        return *self.rows.shape[:2], self.columns.stop - self.columns.start
