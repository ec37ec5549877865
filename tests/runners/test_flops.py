"""Floating-point operations of networks, compared with closed forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import flop_registry

from dnlbench.runners.training.flops import forward_flops

SHAPE = (1, 8, 12)
"""A sequence of 8 positions with 12 channels."""
POSITIONS, CHANNELS = SHAPE[1:]
INPUTS = torch.zeros(2, *SHAPE)


class OnSequences(nn.Module):
    """Applies a module to (batch, positions, channels)."""

    def __init__(
        self, layer: nn.Module, call: Callable[[nn.Module, Tensor], object] = lambda layer, x: layer(x)
    ) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, images: Tensor) -> object:
        return self.call(self.layer, images.squeeze(1))


def encoder(depth: int, inner: int = 20) -> nn.Module:
    layer = nn.TransformerEncoderLayer(CHANNELS, nhead=3, dim_feedforward=inner, batch_first=True)
    return OnSequences(nn.TransformerEncoder(layer, depth, enable_nested_tensor=False))


@pytest.mark.parametrize("depth", [1, 4])
def test_transformer_layers_are_counted_in_full_and_add_up(depth: int) -> None:
    projections = 4 * POSITIONS * CHANNELS**2  # query, key, value and output
    attention = 2 * POSITIONS**2 * CHANNELS
    mlp = 2 * POSITIONS * CHANNELS * 20
    assert forward_flops(encoder(depth).eval(), INPUTS) == 2 * depth * (projections + attention + mlp)


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_costs_the_same_with_and_without_its_weights(need_weights: bool) -> None:
    module = nn.MultiheadAttention(CHANNELS, 3, batch_first=True)
    network = OnSequences(module, lambda layer, x: layer(x, x, x, need_weights=need_weights)[0])
    assert forward_flops(network, INPUTS) == 2 * (4 * POSITIONS * CHANNELS**2 + 2 * POSITIONS**2 * CHANNELS)


@pytest.mark.parametrize("is_known", [True, False])
def test_scaled_dot_products_do_not_depend_on_which_kernels_torch_can_count(
    monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """If values have other channels than keys, no kernel is fused and the products are counted separately."""
    if not is_known:
        for packet in [packet for packet in flop_registry if "scaled_dot_product" in packet.__name__]:
            monkeypatch.delitem(flop_registry, packet)

    def attend(layer: nn.Module, x: Tensor) -> Tensor:
        heads = x.unsqueeze(1)
        return functional.scaled_dot_product_attention(heads[:, :, :3], heads, heads)

    assert forward_flops(OnSequences(nn.Identity(), attend), INPUTS) == 2 * 3 * POSITIONS * 2 * CHANNELS


def test_recurrent_cells_are_counted_or_refused_but_never_count_as_zero() -> None:
    gru = OnSequences(nn.GRU(CHANNELS, 6, batch_first=True), lambda layer, x: layer(x)[0])
    assert forward_flops(gru, INPUTS) in (2 * POSITIONS * 3 * 6 * (CHANNELS + 6), None)
    lstm = OnSequences(nn.LSTM(CHANNELS, 6, batch_first=True), lambda layer, x: layer(x)[0])
    assert forward_flops(lstm, INPUTS) in (2 * POSITIONS * 4 * 6 * (CHANNELS + 6), None)


@pytest.mark.parametrize(
    "product",
    [lambda layer, x: torch.fft.rfft(x), lambda layer, x: torch.cdist(x, x), lambda layer, x: torch.linalg.pinv(x)],
    ids=["fft", "cdist", "linalg"],
)
def test_a_product_of_unknown_cost_leaves_the_network_uncounted(
    product: Callable[[nn.Module, Tensor], object],
) -> None:
    def call(layer: nn.Module, x: Tensor) -> object:
        return product(layer, x), layer(x)

    assert forward_flops(OnSequences(nn.Linear(CHANNELS, 3), call), INPUTS) is None


def test_norms_and_resizing_are_no_products() -> None:
    def call(layer: nn.Module, x: Tensor) -> object:
        return layer(
            functional.normalize(functional.interpolate(x, scale_factor=2, mode="linear")[..., :CHANNELS], dim=-1)
        )

    assert forward_flops(OnSequences(nn.Linear(CHANNELS, 3), call), INPUTS) == 2 * POSITIONS * CHANNELS * 3
