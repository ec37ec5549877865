r"""The states of a block in one buffer, and the layers that read them.

With mean :math:`\mu` and inverse deviation :math:`r` of a state's channels over the batch, a layer with batch-norm weights
:math:`\gamma, \beta` and filters :math:`W` computes

.. math:: W * \max(0, a x + b), \qquad a = \gamma r, \quad b = \beta - a \mu.

In the backward pass :math:`dz` is the gradient inside the maximum, and :math:`G = \sum_{layers} a \, dz` accumulates over the
layers that read the state. All of them use the same statistics, so the dependence of the statistics on ``x`` is added once,
after the last layer; with :math:`n` positions in the batch,

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
from dnlbench.dnl.memory_efficient.convolution import convolve, convolve_back, empty_rows, groups_seeds
from dnlbench.dnl.memory_efficient.rows import ChannelSlice, Grid, contiguous_channels
from dnlbench.dnl.seeds import for_all_seeds


class SharedStates:
    """States of given widths, added one after the other. Layers can read them as soon as they are added.

    Under `torch.vmap` all operations cover all seeds at once.
    """

    def __init__(self, widths: Sequence[int], eps: float) -> None:
        """Set the widths of the states, and the ``eps`` that all batch norms which read them add to variances."""
        self._ends = [sum(widths[: k + 1]) for k in range(len(widths))]
        self._widths = widths
        self._eps = eps
        self._store: _Store | None = None
        self._count = 0

    def add(self, state: Tensor) -> None:
        """Add the next state, shape (B, c, H, W). The first one fixes batch, image size and type."""
        index = self._count
        self._count += 1
        for_all_seeds(lambda states: self._add(index, states), state)

    def read(self, states: Sequence[int], norm: nn.BatchNorm2d, filters: Tensor | None) -> Tensor:
        """See `dnlbench.dnl.states.States.read`. Updates the running statistics of ``norm``."""
        columns = self._columns(states)
        running = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        given = (norm.weight, norm.bias, *running) if filters is None else (norm.weight, norm.bias, *running, filters)

        def read(weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: Tensor, *of: Tensor) -> Tensor:
            store = self._filled
            store.update_running_statistics(columns, norm.momentum, mean, variance, count)
            rows = _Read.apply(store, columns, store.token, weight, bias, *of)
            return store.grid.images(rows)

        return for_all_seeds(read, *given)

    @property
    def _filled(self) -> _Store:
        assert self._store is not None, "add a state before reading one"
        return self._store

    def _add(self, index: int, states: Tensor) -> Tensor:
        """Add the state of all seeds, shape (S, B, c, H, W)."""
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
"""Bytes of convolution input that a layer computes at a time on CPUs."""


class _Store:
    """The states of all seeds as rows of channels, with their statistics and gradients."""

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
        """Shape (S,). Represents all states so far in autograd's graph. The token of each state depends on that of the state
        before, so autograd asks for the gradient of a state after every layer that reads it has added its part."""

    def allocate_gradient(self, columns: Columns) -> bool:
        """Allocate ``G`` if it does not exist yet.

        Returns:
            True if the memory of these columns is uninitialized, so the first gradient must overwrite it.
        """
        if self._gradient is not None:
            return False
        everything = list(columns) == [slice(0, self.values.shape[-1])]  # the last layer usually reads all states
        make = torch.empty_like if everything else torch.zeros_like
        self._gradient = make(self.values, dtype=self.mean.dtype)
        return everything

    @property
    def gradient(self) -> Tensor:
        """The current ``G``; zeros if no layer has added to it."""
        self.allocate_gradient(())
        assert self._gradient is not None
        return self._gradient

    def add(self, columns: slice, states: Tensor) -> Tensor:
        self.token = _Add.apply(self, columns, states.to(self.values.dtype), self.token)
        return self.token

    def update_running_statistics(
        self, columns: Columns, momentum: float | None, mean: Tensor, variance: Tensor, count: Tensor
    ) -> None:
        """Update running statistics, shape (S, c), with those of the batch, as `torch.nn.BatchNorm2d` does."""
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
        """Split the rows into parts whose convolution input of ``channels`` channels stays in a CPU's cache."""
        images = self.grid.batch
        if not groups_seeds(self.values.device):
            image_bytes = len(self.values) * self.grid.part(1).rows * channels * self.values.element_size()
            images = min(images, max(1, PART_BYTES // image_bytes))
        firsts = range(0, self.grid.batch, images)
        grids = [self.grid.part(min(images, self.grid.batch - first)) for first in firsts]
        area = self.grid.height * self.grid.width
        return [
            (slice(first * area, first * area + grid.rows), grid) for first, grid in zip(firsts, grids, strict=True)
        ]

    def activated(self, rows: slice, columns: Columns, scale: Tensor, shift: Tensor) -> Tensor:
        """Return ``max(0, scale · x + shift)`` of a range of rows and columns, shape (S, r, c)."""
        values = self.values[:, rows]
        out = empty_rows(values, scale.shape[-1])
        for each, here in _pairs(columns):
            passes.bn_relu(ChannelSlice(values, each), scale[..., here], shift[..., here], ChannelSlice(out, here))
        return out

    def bn_relu_backward(
        self, rows: slice, columns: Columns, dy: Tensor, scale: Tensor, shift: Tensor, *, begin: bool
    ) -> tuple[Tensor, Tensor]:
        """Add a layer's part to the gradients of its input, or overwrite them with it if ``begin``.

        Returns:
            ``sum dz`` and ``sum dz (x − mean)`` over these rows, shape (S, c).
        """
        values, gradient, moments = self.values[:, rows], self.gradient[:, rows], []
        for each, here in _pairs(columns):
            a, b, x, g = scale[..., here], shift[..., here], ChannelSlice(values, each), ChannelSlice(gradient, each)
            sums, products = passes.bn_relu_backward(
                ChannelSlice(dy, here), x, a, b, self.mean[..., each], g, begin=begin
            )
            self.sums[..., each] += a * sums
            self.products[..., each] += a * products
            moments.append((sums, products))
        return torch.cat([sums for sums, _ in moments], dim=-1), torch.cat(
            [products for _, products in moments], dim=-1
        )

    def input_gradient(self, columns: slice) -> Tensor:
        """Return the gradient of a state after all layers have added their parts, (S, B, c, H, W)."""
        n = self.grid.rows
        slope = self.inverse[:, columns].square() * self.products[:, columns] / n
        constant = self.sums[:, columns] / n - slope * self.mean[:, columns]
        x = ChannelSlice(self.values, columns)
        out = self.values.new_empty(x.shape)
        passes.statistics_backward(ChannelSlice(self.gradient, columns), x, constant, slope, ChannelSlice.full(out))
        return self.grid.images(out)

    def release(self) -> None:
        """Free the memory after the gradient of the first state, the last one needed."""
        self.values = self._gradient = self.values.new_empty(0)

    def store_with_statistics(self, columns: slice, states: Tensor) -> None:
        mean, variance = passes.store_with_statistics(
            ChannelSlice.full(self.grid.rows_of(states)), ChannelSlice(self.values, columns)
        )
        self.mean[:, columns], self.variance[:, columns] = mean, variance
        self.inverse[:, columns] = (variance + self._eps).rsqrt()


def _pairs(columns: Columns) -> list[tuple[slice, slice]]:
    """Return each slice with its position in the concatenation of all slices."""
    pairs, start = [], 0
    for each in columns:
        width = each.stop - each.start
        pairs.append((each, slice(start, start + width)))
        start += width
    return pairs


class _Add(Function):
    """Store a state; the backward pass returns its gradient."""

    @staticmethod
    def forward(ctx: Any, store: _Store, columns: slice, states: Tensor, token: Tensor | None) -> Tensor:
        ctx.store, ctx.columns = store, columns
        store.store_with_statistics(columns, states)
        return states.new_zeros(len(states))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[None, None, Tensor | None, None]:
        gradient = ctx.store.input_gradient(ctx.columns) if ctx.needs_input_grad[2] else None
        if ctx.columns.start == 0:
            ctx.store.release()
        return None, None, gradient, None


class _Read(Function):
    """Apply a layer to some states. The backward pass recomputes the input of the convolution."""

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
        ctx.store, ctx.columns, ctx.backward_done = store, columns, False
        ctx.save_for_backward(scale, shift, filters)
        outputs = []
        for rows, grid in store.parts(scale.shape[-1]):
            activated = store.activated(rows, columns, scale, shift)
            outputs.append(activated if filters is None else convolve(activated, filters.to(activated.dtype), grid))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.backward_done:  # with retain_graph; the store has this layer's part already
            raise RuntimeError(
                "the backward pass through shared states can run only once; retain_graph is not supported"
            )
        ctx.backward_done = True
        store, columns, d_out = ctx.store, ctx.columns, contiguous_channels(d_out)
        scale, shift, filters = ctx.saved_tensors
        d_filters: Tensor | float = 0.0
        d_scale, d_shift = torch.zeros_like(scale), torch.zeros_like(shift)
        begin = store.allocate_gradient(columns)
        for rows, grid in store.parts(scale.shape[-1]):
            dy = d_out[:, rows]
            if filters is not None:
                activated = store.activated(rows, columns, scale, shift)
                dy, d_part = convolve_back(dy, activated, filters.to(dy.dtype), grid)
                d_filters = d_filters + d_part
            sums, products = store.bn_relu_backward(rows, columns, dy, scale, shift, begin=begin)
            d_shift += sums
            d_scale += products
        d_weight = store.of(store.inverse, columns) * d_scale
        return None, None, None, d_weight, d_shift, d_filters if isinstance(d_filters, Tensor) else None
