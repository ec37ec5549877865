r"""Arrays: the parameters of a network of depth L, Eq. (1).

One-index parameters :math:`p^l`, :math:`0 \le l < L`, are stacked along the first axis. Of the connection weights
:math:`K^{l,k}` only those with :math:`k \le l` exist. They are packed column by column, in half the memory of a square. The
weights from one state to all later layers are then contiguous::

    K^{0,0} K^{1,0} … K^{L-1,0}   K^{1,1} … K^{L-1,1}   …   K^{L-1,L-1}
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """The parameters ``A^l, b^l, K^{l,k}, theta^l`` of Eq. (1), for ``n`` positions with ``c`` channels, ``d = n c``."""

    A: Tensor
    """(L, d, d)."""
    b: Tensor
    """(L, d)."""
    K: Tensor
    """(L (L + 1) / 2, d, d), packed."""
    V: Tensor
    """The value matrix inside N, (L, c, c)."""
    Q: Tensor | None = None
    """Attention kernel only, (L, c, c)."""
    R: Tensor | None = None
    """Attention kernel only, (L, c, c)."""

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ValueError("b has no entries: a network has at least 1 layer")
        for name, values in self.one_index():
            if len(values) != self.depth:
                raise ValueError(f"{name} has {len(values)} entries and b has {self.depth}: both must be the depth")
        if len(self.K) != packed_size(self.depth):
            raise ValueError(
                f"K contains {len(self.K)} matrices; depth {self.depth} needs the {packed_size(self.depth)} with k <= l"
            )

    @property
    def depth(self) -> int:
        return len(self.b)

    def one_index(self) -> Iterator[tuple[str, Tensor]]:
        """Return the existing one-index parameters by name."""
        named = {"A": self.A, "b": self.b, "V": self.V, "Q": self.Q, "R": self.R}
        return ((name, values) for name, values in named.items() if values is not None)


def packed_size(depth: int) -> int:
    """Return the number of pairs ``0 <= k <= l < L``."""
    return depth * (depth + 1) // 2


def depth_of_packed(size: int) -> int:
    """Return the depth ``L`` with ``L (L + 1) / 2 = size``.

    Raises:
        ValueError: if there is none.
    """
    depth = (math.isqrt(8 * size + 1) - 1) // 2
    if packed_size(depth) != size:
        raise ValueError(f"{size} is not L (L + 1) / 2 for any depth L")
    return depth


def packed_pairs(depth: int) -> tuple[Tensor, Tensor]:
    """Return the indices ``l`` and ``k`` of each packed entry, both of shape (L (L + 1) / 2,)."""
    k, l = torch.triu_indices(depth, depth).unbind()  # noqa: E741 - the paper's l
    return l, k


def packed_indices(depth: int) -> Tensor:
    """Return the packed index of ``(l, k)``, shape (L, L); above the diagonal that of its mirror image ``(k, l)``."""
    l, k = packed_pairs(depth)  # noqa: E741
    indices = torch.empty(depth, depth, dtype=torch.long)
    indices[l, k] = indices[k, l] = torch.arange(len(l))
    return indices


def pack(square: Tensor) -> Tensor:
    """Pack (L, L, ...) to (L (L + 1) / 2, ...), without the entries above the diagonal."""
    return square[packed_pairs(len(square))]


def unpack(packed: Tensor) -> Tensor:
    """Unpack (L (L + 1) / 2, ...) to (L, L, ...), flipped across the diagonal (Definition 2): entry (l, k > l) is (k, l)."""
    indices = packed_indices(depth_of_packed(len(packed)))
    return packed[indices.to(packed.device)]


def columns(packed: Tensor) -> tuple[Tensor, ...]:
    """Return ``K^{l,k}``, ``l >= k``, for each ``k`` as a view of shape (L − k, ...)."""
    depth = depth_of_packed(len(packed))
    return torch.split(packed, list(range(depth, 0, -1)))
