r"""The states of a block in one buffer, and layers that read them.

With mean :math:`\mu` and inverse deviation :math:`r` of a state's channels over the batch, a layer with batch-norm weights
:math:`\gamma, \beta` and filters :math:`W` makes

.. math:: W * \max(0, a x + b), \qquad a = \gamma r, \quad b = \beta - a \mu.

On the way back :math:`dz` is the gradient inside of the maximum, and :math:`G = \sum_{layers} a \, dz` is added up over the layers
that read the state. All of them have the same statistics, so their dependence on ``x`` is put in once, when the last has added
its share; with :math:`n` positions in the batch,

.. math:: dx = G - \tfrac1n \textstyle\sum G - \tfrac1n r^2 (x - \mu) \sum G (x - \mu).

Source of the batch norm's derivative: Ioffe & Szegedy 2015, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from dnlbench.dnl.lean import passes
from dnlbench.dnl.lean.convolution import Grid, convolve, convolve_back, empty_rows


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
        _for_all_seeds(lambda states: self._add(index, states), state)

    def read(self, states: Sequence[int], norm: nn.BatchNorm2d, filters: Tensor | None) -> Tensor:
        """Batch norm, ReLU and convolution of some states side by side, in the order of their indices.

        The running statistics of ``norm`` are kept up to date.

        Args:
            states: indices of those that are read.
            norm: with as many channels as they have together.
            filters: shape (made, c, k, k), of a convolution that keeps the size; None for no convolution.

        Returns:
            Shape (B, made, H, W); without filters (B, c, H, W).
        """
        columns = self._columns(states)
        running = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        given = (norm.weight, norm.bias, *running) if filters is None else (norm.weight, norm.bias, *running, filters)

        def read(weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: Tensor, *of: Tensor) -> Tensor:
            store = self._filled
            store.follow(columns, norm.momentum, mean, variance, count)
            rows = _Read.apply(store, columns, store.token, weight, bias, *of)
            return store.grid.images(rows)

        return _for_all_seeds(read, *given)

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
        """Where these states stand, neighbours as one."""
        merged: list[slice] = []
        for k in sorted(states):
            begin, end = self._ends[k] - self._widths[k], self._ends[k]
            if merged and merged[-1].stop == begin:
                begin = merged.pop().start
            merged.append(slice(begin, end))
        return tuple(merged)


Columns = Sequence[slice]


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
        """Shape (S,). Stands in autograd's graph for all states so far. Each state's depends on that of the state before, so the gradient
        by a state is asked for when every layer that reads it has added its share."""

    @property
    def gradient(self) -> Tensor:
        """``G``, begun with zeros."""
        if self._gradient is None:
            self._gradient = torch.zeros_like(self.values, dtype=self.mean.dtype)
        return self._gradient

    def add(self, columns: slice, states: Tensor) -> Tensor:
        """Takes in the next state, shape (S, B, c, H, W)."""
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
        """Some columns side by side."""
        parts = [values[..., each] for each in columns]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def rectified(self, columns: Columns, scale: Tensor, shift: Tensor) -> Tensor:
        """``max(0, scale · x + shift)`` of some columns, shape (S, R, c)."""
        out = empty_rows(self.values, scale.shape[-1])
        for each, here in _pairs(columns):
            passes.rectify(self.values[..., each], scale[..., here], shift[..., here], out[..., here])
        return out

    def collect(self, columns: Columns, dy: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Adds a layer's share to the gradients of what it reads.

        Returns:
            ``sum dz`` and ``sum dz (x − mean)``, shape (S, c).
        """
        found = []
        for each, here in _pairs(columns):
            a, b = scale[..., here], shift[..., here]
            sums, products = passes.collect(
                dy[..., here], self.values[..., each], a, b, self.mean[..., each], self.gradient[..., each]
            )
            self.sums[..., each] += a * sums
            self.products[..., each] += a * products
            found.append((sums, products))
        sums, products = zip(*found, strict=True)
        return torch.cat(sums, dim=-1), torch.cat(products, dim=-1)

    def settled(self, columns: slice) -> Tensor:
        """The gradient by a state once all layers have added theirs, (S, B, c, H, W)."""
        n = self.grid.rows
        slope = self.inverse[:, columns].square() * self.products[:, columns] / n
        constant = self.sums[:, columns] / n - slope * self.mean[:, columns]
        values = self.values[..., columns]
        out = torch.empty_like(values, memory_format=torch.contiguous_format)
        passes.settle(self.gradient[..., columns], values, constant, slope, out)
        return self.grid.images(out)

    def publish(self, columns: slice, states: Tensor) -> None:
        """Writes a state down, with its statistics."""
        mean, variance = passes.publish(self.grid.rows_of(states), self.values[..., columns])
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
        return None, None, ctx.store.settled(ctx.columns) if ctx.needs_input_grad[2] else None, None


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
        ctx.store, ctx.columns = store, columns
        ctx.save_for_backward(scale, shift, filters)
        rows = store.rectified(columns, scale, shift)
        return rows if filters is None else convolve(rows, filters.to(rows.dtype), store.grid)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_made: Tensor) -> tuple[Tensor | None, ...]:
        store, columns = ctx.store, ctx.columns
        scale, shift, filters = ctx.saved_tensors
        dy, d_filters = d_made, None
        if filters is not None:
            rows = store.rectified(columns, scale, shift)
            dy, d_filters = convolve_back(d_made, rows, filters.to(rows.dtype), store.grid)
            d_filters = d_filters.to(filters.dtype)
            del rows
        sums, products = store.collect(columns, dy, scale, shift)
        return None, None, None, store.of(store.inverse, columns) * products, sums, d_filters


def _for_all_seeds(operation: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """An operation on tensors with a leading axis of seeds, of which there is one unless `torch.vmap` has more."""
    if any(torch._C._functorch.is_batchedtensor(tensor) for tensor in tensors):
        return _AcrossSeeds.apply(operation, *tensors)  # type: ignore[no-any-return, no-untyped-call]
    return operation(*(tensor.unsqueeze(0) for tensor in tensors)).squeeze(0)


class _AcrossSeeds(Function):
    """Hands the tensors behind vmap's single ones to an operation."""

    @staticmethod
    def forward(operation: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        raise AssertionError("used under torch.vmap only")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: the operation is recorded by autograd itself."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Sequence[int | None], operation: Callable[..., Tensor], *tensors: Tensor
    ) -> tuple[Tensor, int]:
        """Each tensor with the seeds first."""
        seeds = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        ]
        return operation(*seeds), 0
