"""From the settings of the studies of the vector form to its networks and random parameters."""

from __future__ import annotations

import torch

from dnlbench.architecture import Roughness
from dnlbench.dnl.curves import Curves, random_curves
from dnlbench.dnl.vector import VectorForm
from dnlbench.studies.vector import VectorSpec


def form_of(spec: VectorSpec, network: str) -> VectorForm:
    """What the network of that name computes."""
    kernel, activation = spec.networks[network]
    return VectorForm(kernel=kernel, activation=activation, bandwidth=spec.network.bandwidth, slope=spec.network.slope)


def curves_of(
    spec: VectorSpec, network: str, seed: int, device: torch.device, roughness: Roughness = "smooth", t0: float = 1 / 3
) -> Curves:
    """Random parameters for it; see `random_curves`."""
    kernel, _ = spec.networks[network]
    return random_curves(
        kernel,
        positions=spec.network.positions,
        channels=spec.network.channels,
        seed=seed,
        modes=spec.curves.modes,
        scale=spec.curves.scale,
        roughness=roughness,
        t0=t0,
        device=device,
    )
