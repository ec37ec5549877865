r"""The states of a block in one buffer, and layers that read them.

With mean :math:`\mu` and inverse deviation :math:`r` of a state's channels over the batch, a layer with batch-norm weights
:math:`\gamma, \beta` and filters :math:`W` makes

.. math:: W * \max(0, a x + b), \qquad a = \gamma r, \quad b = \beta - a \mu.

On the way back :math:`dz` is the gradient inside of the maximum, and :math:`G = \sum_{layers} a \, dz` is added up over the
layers that read the state. All of them have the same statistics, so their dependence on ``x`` is put in once, when the last has
added its share; with :math:`n` positions in the batch,

.. math:: dx = G - \tfrac1n \textstyle\sum G - \tfrac1n r^2 (x - \mu) \sum G (x - \mu).

Source of the batch norm's derivative: Ioffe & Szegedy 2015, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from dnlbench.dnl.memory_efficient import passes
from dnlbench.dnl.memory_efficient.convolution import convolve, convolve_back, empty_rows, goes_together
from dnlbench.dnl.memory_efficient.rows import Grid, Strip, side_by_side
from dnlbench.dnl.seeds import for_all_seeds


class SharedStates:
    """States of given widths, to be added one after the other, and read by layers as soon as they are there.

    Under `torch.vmap` all of it is done for all seeds at once.
    """

    def __init__(self, widths: Sequence[int], eps: float) -> None:
        """Says how wide the states will be, and what is added to variances by all batch norms that read them."""
        self._ends = [sum(widths[: k + 1]) for k in range(len(widths))]
        self._widths = widths
        self._eps = eps
        self._store: _Store | None = None
        self._count = 0

    def add(self, state: Tensor) -> None:
        """Adds the next state, shape (B, c, H, W); the first one says how many, how large and of what type all are."""
        index = self._count
        self._count += 1
        for_all_seeds(lambda states: self._add(index, states), state)

    def read(self, states: Sequence[int], norm: nn.BatchNorm2d, filters: Tensor | None) -> Tensor:
        """See `dnlbench.dnl.states.States.read`. The running statistics of ``norm`` are kept up to date."""
        columns = self._columns(states)
        running = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        given = (norm.weight, norm.bias, *running) if filters is None else (norm.weight, norm.bias, *running, filters)

        def read(weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: Tensor, *of: Tensor) -> Tensor:
            store = self._filled
            store.follow(columns, norm.momentum, mean, variance, count)
            rows = _Read.apply(store, columns, store.token, weight, bias, *of)
            return store.grid.images(rows)

        return for_all_seeds(read, *given)

    @property
    def _filled(self) -> _Store:
        assert self._store is not None, "a state is added before one is read"
        return self._store

    def _add(self, index: int, states: Tensor) -> Tensor:
        """Of all seeds, shape (S, B, c, H, W)."""
        if self._store is None:
            self._store = _Store(self._ends[-1], states, self._eps)
        columns = slice(self._ends[index] - self._widths[index], self._ends[index])
        return self._store.add(columns, states)

    def _columns(self, states: Sequence[int]) -> tuple[slice, ...]:
        merged: list[slice] = []
        for k in sorted(states):
            begin, end = self._ends[k] - self._widths[k], self._ends[k]
            if merged and merged[-1].stop == begin:
                begin = merged.pop().start
            merged.append(slice(begin, end))
        return tuple(merged)


Columns = Sequence[slice]

PART_BYTES = 8 * 2**20
"""Of what a layer makes for its convolution at a time, on CPUs."""


class _Store:
    """The states of all seeds side by side as rows of channels, with their statistics and gradients."""

    def __init__(self, width: int, like: Tensor, eps: float) -> None:
        seeds, batch, _, height, width_of_image = like.shape
        exact = torch.float64 if like.dtype == torch.float64 else torch.float32
        self.grid = Grid(batch, height, width_of_image)
        self.values = like.new_empty(seeds, self.grid.rows, width)
        self.mean, self.variance, self.inverse, self.sums, self.products = (
            torch.zeros(seeds, width, dtype=exact, device=like.device) for _ in range(5)
        )
        self._eps = eps
        self._gradient: Tensor | None = None
        self.token: Tensor | None = None
        """Shape (S,). Stands in autograd's graph for all states so far. Each state's depends on that of the state before, so
        the gradient by a state is asked for when every layer that reads it has added its share."""

    def begin_gradient(self, columns: Columns) -> bool:
        """Makes room for ``G``, if there is none yet.

        Returns:
            Whether what stands in these columns is still nothing, and not even zeros.
        """
        if self._gradient is not None:
            return False
        everything = list(columns) == [slice(0, self.values.shape[-1])]  # as that which comes last most often reads
        make = torch.empty_like if everything else torch.zeros_like
        self._gradient = make(self.values, dtype=self.mean.dtype)
        return everything

    @property
    def gradient(self) -> Tensor:
        """``G`` as it is so far; zeros if no layer has added to it."""
        self.begin_gradient(())
        assert self._gradient is not None
        return self._gradient

    def add(self, columns: slice, states: Tensor) -> Tensor:
        self.token = _Add.apply(self, columns, states.to(self.values.dtype), self.token)
        return self.token

    def follow(self, columns: Columns, momentum: float | None, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Moves running statistics, of shape (S, c), towards those of the batch, as `torch.nn.BatchNorm2d` does."""
        n = self.grid.rows
        with torch.no_grad():
            count += 1
            weight = 1 / count.unsqueeze(-1) if momentum is None else momentum
            mean.lerp_(self.of(self.mean, columns), weight)
            variance.lerp_(self.of(self.variance, columns) * (n / (n - 1)), weight)

    @staticmethod
    def of(values: Tensor, columns: Columns) -> Tensor:
        parts = [values[..., each] for each in columns]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def parts(self, channels: int) -> list[tuple[slice, Grid]]:
        """The rows, in parts small enough for what is made of so many channels to stay in a CPU's cache until it is used."""
        images = self.grid.batch
        if not goes_together(self.values.device):
            image_bytes = len(self.values) * self.grid.part(1).rows * channels * self.values.element_size()
            images = min(images, max(1, PART_BYTES // image_bytes))
        firsts = range(0, self.grid.batch, images)
        grids = [self.grid.part(min(images, self.grid.batch - first)) for first in firsts]
        area = self.grid.height * self.grid.width
        return [
            (slice(first * area, first * area + grid.rows), grid) for first, grid in zip(firsts, grids, strict=True)
        ]

    def rectified(self, rows: slice, columns: Columns, scale: Tensor, shift: Tensor) -> Tensor:
        """``max(0, scale · x + shift)`` of some rows and columns, shape (S, r, c)."""
        values = self.values[:, rows]
        out = empty_rows(values, scale.shape[-1])
        for each, here in _pairs(columns):
            passes.rectify(Strip(values, each), scale[..., here], shift[..., here], Strip(out, here))
        return out

    def collect(
        self, rows: slice, columns: Columns, dy: Tensor, scale: Tensor, shift: Tensor, *, begin: bool
    ) -> tuple[Tensor, Tensor]:
        """Adds a layer's share to the gradients of what it reads, or begins them with it.

        Returns:
            ``sum dz`` and ``sum dz (x − mean)`` over these rows, shape (S, c).
        """
        values, gradient, found = self.values[:, rows], self.gradient[:, rows], []
        for each, here in _pairs(columns):
            a, b, x, g = scale[..., here], shift[..., here], Strip(values, each), Strip(gradient, each)
            sums, products = passes.collect(Strip(dy, here), x, a, b, self.mean[..., each], g, begin=begin)
            self.sums[..., each] += a * sums
            self.products[..., each] += a * products
            found.append((sums, products))
        return torch.cat([sums for sums, _ in found], dim=-1), torch.cat([products for _, products in found], dim=-1)

    def settled(self, columns: slice) -> Tensor:
        """The gradient by a state once all layers have added theirs, (S, B, c, H, W)."""
        n = self.grid.rows
        slope = self.inverse[:, columns].square() * self.products[:, columns] / n
        constant = self.sums[:, columns] / n - slope * self.mean[:, columns]
        x = Strip(self.values, columns)
        out = self.values.new_empty(x.shape)
        passes.settle(Strip(self.gradient, columns), x, constant, slope, Strip.whole(out))
        return self.grid.images(out)

    def release(self) -> None:
        """Lets go of the memory: the gradient by the first state, which is asked for last, is known."""
        self.values = self._gradient = self.values.new_empty(0)

    def publish(self, columns: slice, states: Tensor) -> None:
        mean, variance = passes.publish(Strip.whole(self.grid.rows_of(states)), Strip(self.values, columns))
        self.mean[:, columns], self.variance[:, columns] = mean, variance
        self.inverse[:, columns] = (variance + self._eps).rsqrt()


def _pairs(columns: Columns) -> list[tuple[slice, slice]]:
    """Each of some columns with its place among those side by side."""
    pairs, place = [], 0
    for each in columns:
        width = each.stop - each.start
        pairs.append((each, slice(place, place + width)))
        place += width
    return pairs


class _Add(Function):
    """A state goes into the store; on the way back, its gradient comes out."""

    @staticmethod
    def forward(ctx: Any, store: _Store, columns: slice, states: Tensor, token: Tensor | None) -> Tensor:
        ctx.store, ctx.columns = store, columns
        store.publish(columns, states)
        return states.new_zeros(len(states))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[None, None, Tensor | None, None]:
        gradient = ctx.store.settled(ctx.columns) if ctx.needs_input_grad[2] else None
        if ctx.columns.start == 0:
            ctx.store.release()
        return None, None, gradient, None


class _Read(Function):
    """A layer reads some states. What it makes for its convolution is made again on the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        store: _Store,
        columns: Columns,
        token: Tensor,
        weight: Tensor,
        bias: Tensor,
        filters: Tensor | None = None,
    ) -> Tensor:
        scale = weight * store.of(store.inverse, columns)
        shift = bias - scale * store.of(store.mean, columns)
        ctx.store, ctx.columns, ctx.went_back = store, columns, False
        ctx.save_for_backward(scale, shift, filters)
        made = []
        for rows, grid in store.parts(scale.shape[-1]):
            rectified = store.rectified(rows, columns, scale, shift)
            made.append(rectified if filters is None else convolve(rectified, filters.to(rectified.dtype), grid))
        return made[0] if len(made) == 1 else torch.cat(made, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_made: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.went_back:  # with retain_graph; the store has this layer's share already
            raise RuntimeError("gradients can be taken only once of what shared states made")
        ctx.went_back = True
        store, columns, d_made = ctx.store, ctx.columns, side_by_side(d_made)
        scale, shift, filters = ctx.saved_tensors
        d_filters: Tensor | float = 0.0
        d_scale, d_shift = torch.zeros_like(scale), torch.zeros_like(shift)
        begin = store.begin_gradient(columns)
        for rows, grid in store.parts(scale.shape[-1]):
            dy = d_made[:, rows]
            if filters is not None:
                rectified = store.rectified(rows, columns, scale, shift)
                dy, share = convolve_back(dy, rectified, filters.to(dy.dtype), grid)
                d_filters = d_filters + share
            sums, products = store.collect(rows, columns, dy, scale, shift, begin=begin)
            d_shift += sums
            d_scale += products
        d_weight = store.of(store.inverse, columns) * d_scale
        return None, None, None, d_weight, d_shift, d_filters if isinstance(d_filters, Tensor) else None
