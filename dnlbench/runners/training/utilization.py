"""What share of a device's arithmetic a training run uses: the floating-point operations it needs against those it could do.

Both sides count products alone, two operations for each multiply-add. What a run needs follows from its network, not from how
it is computed, so that recomputing, copying and padding lower its utilisation and never raise it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dnlbench.architecture import ARCHITECTURES
from dnlbench.events import DataInfo
from dnlbench.runners.training.flops import forward_flops
from dnlbench.runners.training.progress import Stopwatch
from dnlbench.studies import Point
from dnlbench.studies.training.size import network_size
from dnlbench.studies.training.spec import TrainingSpec, is_factory

PASSES = 3
"""Forward, and backward at twice its operations: one product for the gradient of each of a product's two factors."""
PEAK_S = 0.2
"""About what the measurement of a peak may take."""
_SIDES = (256, 512, 1024, 2048, 4096)
"""Of square matrices; the last one is for GPUs, which small ones do not fill."""
_TRIES = 4


def training_flops(network: nn.Module, spec: TrainingSpec, point: Point, data: DataInfo) -> float | None:
    """Floating-point operations that training on one sample takes, without those of ``R_L``.

    Those of a built-in network follow from its architecture; those of a custom one are counted in a forward pass.

    Returns:
        None if they are unknown.
    """
    if is_factory(point.network):
        flops = forward_flops(network, data.input_shape)
        return None if flops is None else PASSES * flops
    assert data.classes is not None, "training data have classes"
    size = network_size(ARCHITECTURES[point.network], point.depth, data.input_shape, data.classes, spec.network)
    return PASSES * size.flops


def matrix_peak(device: torch.device, precision: str) -> float:
    """The most floating-point operations per second that a product of two square matrices reaches there, on torch's threads.

    The best of several tries at growing sizes, as long as there is time; what else the machine does can only lower it.
    """
    spent, best = 0.0, 0.0
    for side in _SIDES:
        seconds = _fastest(*_factors(side, device, precision))
        best = max(best, 2 * side**3 / seconds)
        spent += (_TRIES + 1) * seconds
        if spent + 8 * (_TRIES + 1) * seconds > PEAK_S:  # twice the side takes eight times as long
            break
    return best


def _factors(side: int, device: torch.device, precision: str) -> tuple[Tensor, Tensor]:
    """Random numbers of their own, so that those of the run stay as they are."""
    generator = torch.Generator(device).manual_seed(0)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand(side, side, generator=generator, device=device).to(dtype) for _ in range(2))
    return a, b


def _fastest(a: Tensor, b: Tensor) -> float:
    """Seconds of a product, the first one apart."""
    watch, seconds = Stopwatch(a.device), math.inf
    product = a @ b
    for _ in range(_TRIES):
        watch.start()
        torch.matmul(a, b, out=product)
        seconds = min(seconds, watch.stop())
    return seconds
