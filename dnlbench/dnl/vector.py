r"""The vector form of a dense non-local network, Eq. (1).

With depth :math:`L`, step :math:`\tau = 1/L` and input :math:`x^0`,

.. math:: x^{l+1} = \sigma\Big( A^l x^0 + b^l + \tau \sum_{k=0}^{l} K^{l,k} N_{\theta^k}(x^k) \Big), \qquad 0 \le l < L.

A state is a set of ``n`` positions with ``c`` channels each, ``d = n c`` numbers. ``A``, ``b`` and ``K`` act on all of them,
``N`` is the non-local transformation of `dnlbench.dnl.kernels` followed by a matrix ``V`` on the channels; its parameters
``theta`` are ``V``, and ``Q`` and ``R`` for the attention kernel.

``N(x^k)`` depends only on the source and is computed once. One product adds it to all later layers, so there is no loop over
pairs. The memory of the backward pass grows like ``L`` (without the ``L (L + 1) / 2`` matrices ``K^{l,k}`` themselves, if they
are given as an array).

Source: arXiv 2510.02049, section 2. Its displayed formulas were not legible in the text at hand; this form was rebuilt from
its words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from dnlbench.architecture import KERNELS, ActivationName, KernelName, Sources, full
from dnlbench.dnl.curves import Curves, Surface
from dnlbench.dnl.extension import grid, sample_one_index
from dnlbench.dnl.history import History, without
from dnlbench.dnl.kernels import IMPLEMENTATIONS
from dnlbench.dnl.parameters import Arrays

Push = Callable[[Tensor, int, Tensor], tuple[Tensor, Tensor]]
"""See `dnlbench.dnl.history.History.push`."""


@dataclass(frozen=True, kw_only=True)
class VectorForm:
    """The form of a network, independent of its depth and parameters."""

    kernel: KernelName = "local"
    activation: ActivationName = "tanh"
    bandwidth: float = 1.0
    """``h`` of the rbf kernel, in units of the states."""
    slope: float = 0.25
    """Slope of prelu at negative arguments."""
    sources: Sources = full
    """The states that a layer reads; ``K^{l,k} = 0`` for the others."""

    def sigma(self, z: Tensor) -> Tensor:
        match self.activation:
            case "relu":
                return functional.relu(z)
            case "prelu":
                return functional.leaky_relu(z, self.slope)
            case "tanh":
                return torch.tanh(z)
            case "identity":
                return z

    def theta(self, one_index: Mapping[str, Tensor]) -> list[Tensor]:
        """Return ``V`` and the matrices of the kernel, each of shape (L, c, c).

        Raises:
            ValueError: if one of them is missing.
        """
        names = ("V", *KERNELS[self.kernel].matrices)
        missing = [name for name in names if name not in one_index]
        if missing:
            raise ValueError(f"the {self.kernel} kernel needs the parameters {' and '.join(missing)}")
        return [one_index[name] for name in names]

    def closed(self, L: int, device: torch.device | None = None) -> Tensor | None:
        """Return a mask (L, L), True if layer ``l`` does not read state ``k``; None if all layers read all states."""
        if self.sources is full:
            return None
        closed = torch.ones(L, L, dtype=torch.bool)
        for l in range(L):  # noqa: E741 - the paper's l
            closed[l, list(self.sources(l))] = False
        return closed.to(device)

    def transform(self, x: Tensor, V: Tensor, *matrices: Tensor) -> Tensor:
        """Compute ``N_theta(x)_i = (1 / C_i) sum_j kappa(x_i, x_j) V x_j``, (..., n, c) to the same."""
        return IMPLEMENTATIONS[self.kernel].average(x, matrices, self.bandwidth) @ V.mT


def states(form: VectorForm, parameters: Arrays | Curves, x0: Tensor, *, depth: int | None = None) -> Tensor:
    """Compute ``x^{l+1} = sigma(A^l x^0 + b^l + tau sum_{k <= l} K^{l,k} N_{theta^k}(x^k))`` for a batch of inputs.

    Parameters given as curves are sampled at ``t_l = l / L`` (Corollary 5). ``K`` is then sampled column by column, and once
    more in the backward pass, so memory grows like ``L``. Computing time grows like ``L²`` in both cases.

    Args:
        form: kernel, activation and connectivity.
        parameters: arrays, whose length is the depth, or curves.
        x0: inputs, shape (B, n, c).
        depth: ``L``; required for curves only.

    Returns:
        Shape (L + 1, B, n, c), differentiable with respect to ``x0`` and all parameters: for arrays once and in reverse mode,
        for curves as often as they are.

    Raises:
        ValueError: if ``depth`` is missing or differs from that of the arrays, if the kernel lacks a parameter, or if the shape
            of the inputs does not match the parameters.
    """
    if isinstance(parameters, Arrays):
        one_index, L = dict(parameters.one_index()), parameters.depth
        if depth not in (None, L):
            raise ValueError(f"depth = {depth}: the arrays have depth {L}")
        push: Push = History(parameters.K, form.closed(L, x0.device)).push
    else:
        if depth is None or depth < 1:
            raise ValueError(f"depth = {depth}: curves need a depth of at least 1")
        L = depth
        one_index = dict(sample_one_index(parameters, L))
        push = _sampled(form, parameters.K, grid(L), x0)
    return _propagate(form, one_index, push, x0)


def _propagate(form: VectorForm, one_index: Mapping[str, Tensor], push: Push, x0: Tensor) -> Tensor:
    A, b, inner = one_index["A"], one_index["b"], form.theta(one_index)
    L, d = b.shape
    B, n, c = _shape(x0, d, inner[0].shape[-1])
    z = torch.addmm(b.reshape(L * d, 1), A.reshape(L * d, d), x0.reshape(B, d).mT)  # of all layers, stacked
    trajectory = [x0]
    for k in range(L):
        # Indexed, not unbound: small gradients that live to the end would fragment the memory between large ones.
        y = form.transform(trajectory[k], *(p[k] for p in inner)).reshape(B, d)
        now, z = push(z, k, y)
        trajectory.append(form.sigma(now.clone()).mT.reshape(B, n, c))  # a view would keep all layers' sums in memory
    return torch.stack(trajectory)


def _shape(x0: Tensor, d: int, c: int) -> tuple[int, int, int]:
    if x0.dim() != 3 or x0.shape[1:] != (d // c, c):
        raise ValueError(f"x0 has shape {tuple(x0.shape)}; parameters of d = {d} and c = {c} need (B, {d // c}, {c})")
    return len(x0), d // c, c


def _sampled(form: VectorForm, K: Surface, t: Tensor, x0: Tensor) -> Push:
    """Return a push that samples the column of ``K`` again in the backward pass instead of storing it."""
    L, closed = len(t), form.closed(len(t), x0.device)

    def weighted_sum(k: int, y: Tensor) -> Tensor:
        column = K(t[k:, None], t[k : k + 1])[:, 0]  # K(t_l, t_k), l >= k
        return column.reshape(-1, y.shape[1]) @ y.mT

    def push(z: Tensor, k: int, y: Tensor) -> tuple[Tensor, Tensor]:
        again = torch.is_grad_enabled()
        product = (
            checkpoint(weighted_sum, k, y, use_reentrant=False, preserve_rng_state=False)
            if again
            else weighted_sum(k, y)
        )
        sums = torch.add(z, product if closed is None else without(product, closed[k:, k]), alpha=1 / L)
        now, later = torch.split(
            sums, [y.shape[1], len(z) - y.shape[1]]
        )  # the gradients of slices would be padded one by one
        return now, later

    return push
