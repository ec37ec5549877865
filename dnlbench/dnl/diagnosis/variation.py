"""Consecutive differences of parameters in depth, relative to their size; `dnlbench.dnl.regularizer` penalizes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dnlbench.dnl.image_regularizer import ParametersInDepth


@dataclass(frozen=True, kw_only=True)
class Squares:
    """A sum of squares and the number of its terms."""

    total: float
    count: int

    @property
    def root_mean(self) -> float:
        return math.sqrt(self.total / self.count)


@dataclass(frozen=True, kw_only=True)
class Variation:
    """The variation of one array in depth."""

    size: Squares
    """The squares of the array."""
    differences: Squares
    """The squares of all consecutive differences."""
    by_layer: Mapping[int, Squares]
    """The squares of the differences between layers ``l`` and ``l + 1``."""


def variations(parameters: ParametersInDepth) -> dict[str, Variation]:
    """Compute the variation of each array with at least two elements."""
    by_array = {name: _of_sequence(p) for name, p in parameters.sequences.items() if len(p) > 1}
    if parameters.square is not None and len(parameters.square) > 1:
        by_array["K"] = _of_square(parameters.square)
    return by_array


def roughness(by_array: Mapping[str, Variation]) -> dict[str, float]:
    """Return the root mean square of the differences over that of the parameters, by array and for all together."""
    ratios = {name: _ratio(variation.differences, variation.size) for name, variation in by_array.items()}
    if by_array:
        differences = _sum(variation.differences for variation in by_array.values())
        ratios["all"] = _ratio(differences, _sum(variation.size for variation in by_array.values()))
    return ratios


def parameter_steps(by_array: Mapping[str, Variation], depth: int) -> tuple[float | None, ...]:
    """Return the relative difference of each layer to the next, over all arrays; None for the last layer."""
    steps: list[float | None] = []
    size = _sum(variation.size for variation in by_array.values())
    for layer in range(depth):
        here = [variation.by_layer[layer] for variation in by_array.values() if layer in variation.by_layer]
        steps.append(_ratio(_sum(here), size) if here else None)
    return tuple(steps)


def _of_sequence(p: Tensor) -> Variation:
    by_layer = dict(enumerate(map(_squares, p.diff(dim=0))))
    return Variation(size=_squares(p), differences=_sum(by_layer.values()), by_layer=by_layer)


def _of_square(K: Tensor) -> Variation:
    """Entry (l − 1, k − 1) is ``K^{l,k}``; only ``k <= l`` are weights.

    The flipped square contains each difference within the triangle twice and no others, so root mean squares over the triangle
    equal those over the square.
    """
    index = torch.arange(len(K), device=K.device)
    triangle = index[:, None] >= index
    along_l, along_k = K.diff(dim=0), K.diff(dim=1)
    by_layer = {row + 1: _squares(along_l[row, : row + 1]) for row in range(len(K) - 1)}
    differences = _sum([*by_layer.values(), _squares(along_k[triangle[:, 1:]])])
    return Variation(size=_squares(K[triangle]), differences=differences, by_layer=by_layer)


def _squares(values: Tensor) -> Squares:
    return Squares(total=float(values.detach().square().sum()), count=values.numel())


def _sum(parts: Iterable[Squares]) -> Squares:
    summed = list(parts)
    return Squares(total=sum(part.total for part in summed), count=sum(part.count for part in summed))


def _ratio(differences: Squares, size: Squares) -> float:
    # weights that are all zero do not differ
    return differences.root_mean / size.root_mean if size.total else 0.0
