"""Utilization: the floating-point operations that training needs, relative to those that the device could execute.

Both counts include products only, with two operations for each multiply-add. The operations that training needs follow from
the network, not from the implementation: recomputation, copies and padding lower the utilization and never raise it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dnlbench.architecture import ARCHITECTURES
from dnlbench.events import DataInfo
from dnlbench.runners.training.data import blank_inputs
from dnlbench.runners.training.flops import forward_flops
from dnlbench.runners.training.progress import Stopwatch
from dnlbench.studies import Point
from dnlbench.studies.training.size import network_size
from dnlbench.studies.training.spec import TrainingSpec, is_factory

PASSES = 3
"""The forward pass, and the backward pass with twice its operations: a product for the gradient of each of the two factors."""
PEAK_S = 0.2
"""Approximate time limit for measuring a peak."""
_SIZES = (256, 512, 1024, 2048, 4096)
"""Sizes of square matrices. The last one is for GPUs, which small matrices do not fill."""
_TRIES = 4


def training_flops(network: nn.Module, spec: TrainingSpec, point: Point, data: DataInfo) -> float | None:
    """Count the floating-point operations of training on one sample, without those of ``R_L``.

    For built-in networks they follow from the architecture. For custom networks they are counted in a forward pass.

    Returns:
        None if they are unknown.
    """
    if is_factory(point.network):
        flops = forward_flops(network, blank_inputs(data, 2))
        return None if flops is None else PASSES * flops
    assert data.classes is not None, "training data have classes"
    size = network_size(
        ARCHITECTURES[point.network], point.depth, data.input_shape, data.classes, spec.at(point).network
    )
    return PASSES * size.flops


def matrix_peak(device: torch.device, precision: str) -> float:
    """Measure the highest rate of a product of two square matrices, in floating-point operations per second.

    The rate is the maximum over several tries at growing sizes, within the time limit. Other load on the machine can only
    lower it. Products on the CPU use torch's threads.
    """
    spent, best = 0.0, 0.0
    for size in _SIZES:
        seconds = _fastest(*_factors(size, device, precision))
        best = max(best, 2 * size**3 / seconds)
        spent += (_TRIES + 1) * seconds
        if spent + 8 * (_TRIES + 1) * seconds > PEAK_S:  # twice the size takes eight times as long
            break
    return best


def _factors(size: int, device: torch.device, precision: str) -> tuple[Tensor, Tensor]:
    """Create random matrices from a separate generator, which leaves the run's random state unchanged."""
    generator = torch.Generator(device).manual_seed(0)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand(size, size, generator=generator, device=device).to(dtype) for _ in range(2))
    return a, b


def _fastest(a: Tensor, b: Tensor) -> float:
    """Return the shortest time of a product in seconds, after one warm-up product."""
    watch, seconds = Stopwatch(a.device), math.inf
    product = a @ b
    for _ in range(_TRIES):
        watch.start()
        torch.matmul(a, b, out=product)
        seconds = min(seconds, watch.stop())
    return seconds
