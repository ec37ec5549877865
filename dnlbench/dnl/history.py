r"""The sum over earlier states in Eq. (1), accumulated forward, with an in-place adjoint.

With :math:`y^k = N_{\theta^k}(x^k)` the sums of all later layers are accumulated,

.. math:: z^l \leftarrow z^l + \tau K^{l,k} y^k, \qquad l \ge k,

one product for each state. With :math:`p^l = \partial J / \partial z^l` its adjoint is

.. math::

    \frac{\partial J}{\partial y^k} = \tau \sum_{l \ge k} (K^{l,k})^T p^l, \qquad
    \frac{\partial J}{\partial K^{l,k}} = \tau \, p^l (y^k)^T .

In the backward pass autograd would copy all accumulated sums at each layer, to concatenate the parts of a split, and all
gradients with respect to ``K`` once more at the end. Here the ``p^l`` of all layers share one buffer that grows by one layer at
a time, and the gradient with respect to ``K`` is written in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dnlbench.dnl.parameters import columns


class History:
    """The sums ``z^l = … + tau sum_k K^{l,k} y^k`` for stored connection weights; differentiable once, in reverse mode.

    Args:
        K: connection weights, packed, shape (L (L + 1) / 2, d, d).
        closed: (L, L), True if layer ``l`` does not read state ``k``; None: all layers read all states.
    """

    def __init__(self, K: Tensor, closed: Tensor | None) -> None:
        self._adjoint = _Adjoint(K)
        self._columns = _Columns.apply(K, self._adjoint)
        self._closed = closed

    def push(self, z: Tensor, k: int, y: Tensor) -> tuple[Tensor, Tensor]:
        """Compute ``z^l + tau K^{l,k} y^k`` for ``l >= k``: the complete sum of layer ``k``, and the sums of the later layers.

        ``z`` are the sums of the layers from ``k`` on, shape ((L − k) d, B), and ``y`` is ``N(x^k)``, shape (B, d). The results
        have shapes (d, B) and ((L − k − 1) d, B), and are views of one tensor.
        """
        closed = None if self._closed is None else self._closed[k:, k]
        now, later = _Push.apply(z, y, self._columns[k], closed, k, self._adjoint)
        return now, later


class _Adjoint:
    """The buffers of one backward pass."""

    def __init__(self, K: Tensor) -> None:
        self._packed = K.shape
        self.depth = len(columns(K))
        self.p: Tensor | None = None
        """The stacked ``p^l`` of all layers, (L d, B)."""
        self.K: Tensor | None = None
        """The gradient with respect to ``K``."""

    def extended(self, k: int, now: Tensor, later: Tensor) -> Tensor:
        """Return ``p^l`` for ``l >= k``: ``now`` for ``k``, followed by ``later``, which usually is in the buffer already."""
        d, B = now.shape
        if self.p is None or later.numel() == 0 or later.data_ptr() != self.p[(k + 1) * d :].data_ptr():
            self.p = now.new_empty(
                self.depth * d, B
            )  # a backward pass starts; the results of an earlier one are not overwritten
            self.p[(k + 1) * d :] = later
            self.K = None
        self.p[k * d : (k + 1) * d] = now
        return self.p[k * d :]

    def column(self, k: int, like: Tensor) -> Tensor:
        """Return the buffer for the gradient with respect to ``K^{l,k}``, ``l >= k``, shape ((L − k) d, d)."""
        first = k * self.depth - k * (k - 1) // 2
        end = first + self.depth - k
        if self.K is None:
            self.K = like.new_empty(self._packed)
            self.K[end:] = 0  # for states after the last one with a gradient
        return self.K[first:end].view(-1, like.shape[-1])


class _Columns(torch.autograd.Function):
    """The function `columns` with gradients in one buffer."""

    @staticmethod
    def forward(ctx: Any, K: Tensor, adjoint: _Adjoint) -> tuple[Tensor, ...]:
        ctx.adjoint = adjoint
        ctx.set_materialize_grads(False)
        return columns(K)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        full, ctx.adjoint.K = ctx.adjoint.K, None
        return full, None


class _Push(torch.autograd.Function):
    """See `History.push`."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, y: Tensor, column: Tensor, closed: Tensor | None, k: int, adjoint: _Adjoint
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(y, column)
        ctx.closed, ctx.k, ctx.adjoint = closed, k, adjoint
        d = y.shape[1]
        weights, step = column.reshape(-1, d), 1 / adjoint.depth
        if closed is None:
            sums = torch.addmm(z, weights, y.mT, alpha=step)
        else:
            sums = torch.add(z, without(weights @ y.mT, closed), alpha=step)
        return sums[:d], sums[d:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, now: Tensor, later: Tensor) -> tuple[Tensor | None, ...]:
        y, column = ctx.saved_tensors
        weights, step = column.reshape(-1, y.shape[1]), 1 / ctx.adjoint.depth
        full = ctx.adjoint.extended(ctx.k, now, later)
        p = full if ctx.closed is None else without(full, ctx.closed)
        of_y = (p.mT @ weights).mul_(step) if ctx.needs_input_grad[1] else None
        of_column = None
        if ctx.needs_input_grad[2]:
            target = ctx.adjoint.column(ctx.k, column)
            of_column = torch.addmm(target, p, y, beta=0, alpha=step, out=target).view(column.shape)
        return full, of_y, of_column, None, None, None


def without(terms: Tensor, closed: Tensor) -> Tensor:
    """Return the terms of some layers, (layers · d, B), with zeros for the ``closed`` ones."""
    layers = terms.reshape(len(closed), -1, terms.shape[1])
    return layers.masked_fill(closed[:, None, None], 0).view(terms.shape)
