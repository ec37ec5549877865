"""Gradient norms of a training run: in the first steps, and over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from dnlbench.dnl.networks import DNLNetwork

FIRST_STEPS = 10
"""Number of training steps that count as first steps."""


def median_and_max(norms: Tensor, full: int) -> list[tuple[float, float]]:
    """Return each network's median and maximum over the epoch's full batches, or over all batches if none is full.

    Norms have shape (steps, S). The first ``full`` steps had full batches.
    """
    counted = norms[: full or len(norms)]
    medians, largest = counted.quantile(0.5, dim=0).tolist(), counted.amax(dim=0).tolist()
    return list(zip(medians, largest, strict=True))


def first_steps(norms: Tensor, full: int) -> list[tuple[float, float]]:
    """Return each network's norm at the initial weights and its maximum over the first steps; see `median_and_max`."""
    counted = norms[: min(FIRST_STEPS, full or len(norms))]
    return list(zip(counted[0].tolist(), counted.amax(dim=0).tolist(), strict=True))


def first_over_last(network: nn.Module, gradients: Mapping[str, Tensor]) -> float | None:
    """Return the gradient norm of the first block divided by that of the last block.

    A network with a single block is compared by its first and last layers. The result is None for custom networks, whose
    blocks are unknown, and if the norm of the last part is 0.
    """
    if not isinstance(network, DNLNetwork):
        return None
    parts: Sequence[nn.Module] = network.blocks if len(network.blocks) > 1 else list(network.blocks[0].layers)
    first, last = (_norm(network, part, gradients) for part in (parts[0], parts[-1]))
    return first / last if last else None


def _norm(network: nn.Module, part: nn.Module, gradients: Mapping[str, Tensor]) -> float:
    ids = {id(parameter) for parameter in part.parameters()}
    names = [name for name, parameter in network.named_parameters() if id(parameter) in ids]
    return float(nn.utils.get_total_norm([gradients[name] for name in names if name in gradients]))
