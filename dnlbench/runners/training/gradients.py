"""Gradient norms of a training run: at the start, and over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from dnlbench.dnl.networks import DNLNetwork

FIRST_STEPS = 10
"""Training steps that count as the first ones."""


def median_and_max(norms: Tensor, full: int) -> list[tuple[float, float]]:
    """For each network the median and the maximum over the epoch's full batches; over all batches if none is full.

    Norms have shape (steps, S); the first ``full`` steps had full batches.
    """
    counted = norms[: full or len(norms)]
    medians, largest = counted.quantile(0.5, dim=0).tolist(), counted.amax(dim=0).tolist()
    return list(zip(medians, largest, strict=True))


def first_steps(norms: Tensor, full: int) -> list[tuple[float, float]]:
    """For each network the norm at the initial weights, and the maximum over the first steps; arguments as above."""
    counted = norms[: min(FIRST_STEPS, full or len(norms))]
    return list(zip(counted[0].tolist(), counted.amax(dim=0).tolist(), strict=True))


def first_over_last(network: nn.Module, gradients: Mapping[str, Tensor]) -> float | None:
    """Norm of the gradient of the first block over that of the last; of a network of one block, of its layers.

    None for a custom network, whose blocks are unknown, and where the norm of the last is 0.
    """
    if not isinstance(network, DNLNetwork):
        return None
    parts: Sequence[nn.Module] = network.blocks if len(network.blocks) > 1 else list(network.blocks[0].layers)
    first, last = (_norm(network, part, gradients) for part in (parts[0], parts[-1]))
    return first / last if last else None


def _norm(network: nn.Module, part: nn.Module, gradients: Mapping[str, Tensor]) -> float:
    own = {id(parameter) for parameter in part.parameters()}
    names = [name for name, parameter in network.named_parameters() if id(parameter) in own]
    return float(nn.utils.get_total_norm([gradients[name] for name in names if name in gradients]))
