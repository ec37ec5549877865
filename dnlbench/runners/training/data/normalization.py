"""Normalization of inputs by the statistics of the training split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_PART = 256
"""Number of inputs that are converted to double precision at a time."""


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """The change of inputs to mean 0 and standard deviation 1 in each channel: ``(x − mean) / deviation``."""

    mean: Tensor
    """Shape (C, 1, …), for inputs (N, C, …)."""
    deviation: Tensor
    """1 for channels whose values are all equal."""

    @staticmethod
    def measure(inputs: Callable[[Tensor], Tensor], count: int) -> Normalization:
        """Measure mean and deviation over ``count`` inputs. ``inputs`` returns those at some indices, shape (n, C, …)."""
        parts = torch.split(torch.arange(count), _PART)

        def mean_of(function: Callable[[Tensor], Tensor]) -> Tensor:
            """Return the mean over inputs and positions, with the sums in double precision."""
            means = [
                function(inputs(part).double()).transpose(0, 1).flatten(1).mean(dim=1) * len(part) for part in parts
            ]
            return torch.stack(means).sum(dim=0) / count

        like = (-1, *[1] * (inputs(parts[0]).dim() - 2))
        mean = mean_of(lambda x: x).view(like)
        deviation = mean_of(lambda x: (x - mean).square()).sqrt().view(like)
        return Normalization(mean=mean.float(), deviation=torch.where(deviation > 0, deviation, 1).float())

    def to(self, device: torch.device) -> Normalization:
        return Normalization(mean=self.mean.to(device), deviation=self.deviation.to(device))

    def __call__(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.deviation
