"""The distance of a layer from the identity: its derivative at data points, and its filters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dnlbench.dnl.networks import Block, NormReluConv
from dnlbench.dnl.states import SeparateStates

ITERATIONS = 40
"""Maximum number of power iterations. If several singular values are almost equal, convergence is slow and the norm a few
percent too small."""
CONVERGED = 1e-3
"""The power iteration stops at a smaller relative change of the mean norm."""
_SEED = 20251119

Map = Callable[[Tensor], Tensor]


def map_distances(block: Block, states: Sequence[Tensor], first: int) -> tuple[float | None, ...]:
    """Compute `BlockMetrics.map_distance`: for each layer the mean operator norm over the images.

    The block is in evaluation mode; states are ``x^0 .. x^L``, shape (B, c, H, W). Layers before the ``first`` have none.
    """
    # The tiled kernels of attention have no second derivative, which `jacobian_norms` needs; the math kernel has.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        transformed = [block.transform(k, state) for k, state in enumerate(states[:-1])]
        norms = [
            float(jacobian_norms(_map(block, layer, transformed), states[layer]).mean())
            for layer in range(first, len(block.layers))
        ]
    return (*[None] * first, *norms)


def _map(block: Block, layer: int, transformed: Sequence[Tensor]) -> Map:
    """Return the map ``x^l`` to ``x^{l+1}`` for fixed earlier states; for baselines minus the identity."""

    def advance(x: Tensor) -> Tensor:
        known = SeparateStates()
        for state in transformed[:layer]:
            known.add(state)
        known.add(block.transform(layer, x))
        new = block.advance(layer, x, known, lambda widths: SeparateStates())
        return new if block.dense else new - x

    return advance


def jacobian_norms(function: Map, x: Tensor) -> Tensor:
    """Compute the operator norm of the derivative of a function that acts on each image separately.

    Power iteration on ``JᵀJ``: a lower bound of the true norm, up to rounding. Shape (B,) for ``x`` of shape (B, …).
    """
    generator = torch.Generator().manual_seed(_SEED)
    direction = _unit(torch.randn(x.shape, generator=generator).to(x))
    with torch.enable_grad():
        # Jᵀu is linear in u, and its derivative is J: both products come from one forward pass.
        at = x.detach().requires_grad_()
        value = function(at)
        u = torch.zeros_like(value).requires_grad_()
        (pulled,) = torch.autograd.grad(value, at, u, create_graph=True)
    norms = torch.zeros(len(x), device=x.device, dtype=x.dtype)
    for _ in range(ITERATIONS):
        (image,) = torch.autograd.grad(pulled, u, direction, retain_graph=True)
        before, norms = norms, torch.maximum(norms, _norms(image))
        if float((norms - before).mean()) <= CONVERGED * float(norms.mean()):
            break
        (back,) = torch.autograd.grad(value, at, image, retain_graph=True)
        direction = _unit(back)
    return norms


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms


def _unit(x: Tensor) -> Tensor:
    norms = _norms(x).clamp_min(torch.finfo(x.dtype).tiny)
    return x / norms.view(-1, *[1] * (x.dim() - 1))


@torch.no_grad()
def filter_distances(block: Block) -> tuple[float | None, ...]:
    """Compute `BlockMetrics.filter_distance`, ``‖W − I‖ / ‖I‖``, for each layer of a baseline; None for dense layers."""
    if block.dense:
        return (None,) * len(block.layers)
    return tuple(_distance(linear_part(layer), block) for layer in block.layers)


def _distance(filters: Tensor, block: Block) -> float:
    channels = len(filters)
    if block.residual:
        return float(block.step * filters.norm()) / math.sqrt(channels)
    middle = filters.shape[-1] // 2
    identity = torch.zeros_like(filters)
    identity[:, :, middle, middle] = torch.eye(channels, dtype=filters.dtype, device=filters.device)
    return float((filters - identity).norm()) / math.sqrt(channels)


def linear_part(layer: nn.Module) -> Tensor:
    """Return the filters of a layer with all units active, without its shifts, shape (out, in, k, k)."""
    parts = [part for part in layer.modules() if isinstance(part, NormReluConv)]
    filters = [part.conv.weight * _scale(part.norm).view(1, -1, 1, 1) for part in parts]
    if len(filters) == 1:
        return filters[0]
    narrow, wide = filters  # a bottleneck: 1×1, then 3×3
    return torch.einsum("omhw,mi->oihw", wide, narrow[:, :, 0, 0])


def _scale(norm: nn.BatchNorm2d) -> Tensor:
    assert norm.running_var is not None
    return norm.weight / (norm.running_var + norm.eps).sqrt()
