r"""ReLU networks without biases and norms, as graphs whose neurons and channels can be split.

A network is a list of layers on named *states*, each a number of neurons or channels. Every layer is one linear map :math:`W`
of the concatenation of its source states, after ReLU unless it reads the input:

.. math:: x^{target} = W \, \sigma( [x^k : k \in sources] ), \qquad \sigma = \mathrm{ReLU}

A state is stored before its ReLU, so the layers that produce and consume a channel are those that name its state. A splitting
needs nothing else (`dnlbench.dnl.embedding.splitting`). The last layer computes one number, ``f(theta; x)``.

`fully_connected` and `convolutional` networks of ``L`` hidden layers are positively homogeneous of degree ``L + 1`` in their
weights: ``f(a theta; x) = a^(L + 1) f(theta; x)``. A `densenet` has no degree, since paths through its blocks differ
in length. Each of its channels is homogeneous nevertheless, as splitting requires.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.architecture import ARCHITECTURES, ConnectivityName, sources_of

INPUT, OUTPUT = "input", "output"
"""The states of the input and the output, which are never split."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A linear map between states."""

    name: str
    sources: tuple[str, ...]
    target: str
    kernel_size: int = 0
    """Size of the filters of a convolution that keeps the image size; 0: a matrix, applied to the mean over the pixels."""
    pools: bool = False
    """True if the output is pooled by averages of 2×2 pixels."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A graph of layers with the width of each state. Its weights ``theta`` are a separate vector."""

    layers: tuple[Layer, ...]
    """The layers in topological order."""
    widths: Mapping[str, int]
    """Neurons or channels of each state."""

    @property
    def hidden(self) -> tuple[str, ...]:
        """The states that can be split."""
        return tuple(layer.target for layer in self.layers if layer.target != OUTPUT)

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each weight: (out, in) or (out, in, size, size)."""
        return {
            layer.name: (
                self.widths[layer.target],
                sum(self.widths[state] for state in layer.sources),
                *([layer.kernel_size] * 2 if layer.kernel_size else ()),
            )
            for layer in self.layers
        }

    @cached_property
    def sizes(self) -> list[int]:
        return [math.prod(shape) for shape in self.shapes.values()]

    @property
    def parameters(self) -> int:
        """Number of weights, ``P``."""
        return sum(self.sizes)

    def with_widths(self, widths: Mapping[str, int]) -> Network:
        return replace(self, widths={**self.widths, **widths})

    def draw(self, generator: torch.Generator, scale: float = 1.0) -> Tensor:
        """Draw normal weights, float64, shape (P,), with standard deviation ``scale`` times that of He et al. 2015."""
        return torch.cat(
            [
                torch.randn(size, generator=generator, dtype=torch.float64)
                * scale
                * math.sqrt(2 / math.prod(shape[1:]))
                for size, shape in zip(self.sizes, self.shapes.values(), strict=True)
            ]
        )

    def weights(self, theta: Tensor) -> Iterator[tuple[Layer, Tensor]]:
        """Yield each layer with its weight, a view of ``theta``, shape (P,)."""
        parts = torch.split(theta, self.sizes)
        return ((layer, part.view(self.shapes[layer.name])) for layer, part in zip(self.layers, parts, strict=True))

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """Compute ``f(theta; x)``, shape (M,), of inputs of shape (M, neurons) or (M, channels, H, W)."""
        states = {INPUT: x}
        for layer, weight in self.weights(theta):
            parts = [states[name] for name in layer.sources]
            values = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            output = _apply(layer, weight, values if layer.sources == (INPUT,) else functional.relu(values))
            states[layer.target] = functional.avg_pool2d(output, 2) if layer.pools else output
        return states[OUTPUT].squeeze(1)


def _apply(layer: Layer, weight: Tensor, x: Tensor) -> Tensor:
    if layer.kernel_size:
        return functional.conv2d(x, weight, padding=layer.kernel_size // 2)
    return functional.linear(x.mean(dim=(2, 3)) if x.ndim == 4 else x, weight)


def fully_connected(depth: int, *, inputs: int, width: int) -> Network:
    """Build ``f = v σ(W_L σ(… σ(W_1 x)))`` with ``depth`` hidden layers of ``width`` neurons."""
    return _chain(depth, inputs=inputs, width=width, kernel_size=0)


def convolutional(depth: int, *, inputs: int, width: int) -> Network:
    """Build ``depth`` 3×3 convolutions with ReLU, ``width`` channels each, then global average pooling and a linear unit."""
    return _chain(depth, inputs=inputs, width=width, kernel_size=3)


def _chain(depth: int, *, inputs: int, width: int, kernel_size: int) -> Network:
    names = [INPUT, *(f"x{n}" for n in range(1, depth + 1))]
    layers = [
        Layer(name=f"W{n}", sources=(names[n - 1],), target=names[n], kernel_size=kernel_size)
        for n in range(1, depth + 1)
    ]
    layers.append(Layer(name="v", sources=(names[-1],), target=OUTPUT))
    return Network(layers=tuple(layers), widths={INPUT: inputs, **dict.fromkeys(names[1:], width), OUTPUT: 1})


def densenet(
    depth: int,
    *,
    inputs: int,
    growth_rate: int,
    blocks: int,
    compression: float = 0.5,
    connectivity: ConnectivityName = "full",
    window: int | None = None,
) -> Network:
    """Build the network ``densenet`` of `dnlbench.dnl.networks` without batch norms and bias, ``depth`` layers in each block.

    A layer reads the states in `dnlbench.architecture.sources_of`; transitions and the last unit read all states of a block.
    Splitting a channel of a state affects all of them.
    """
    sources = sources_of(ARCHITECTURES["densenet"], connectivity, window)
    layers = [Layer(name="stem", sources=(INPUT,), target="1.x0", kernel_size=3)]
    widths = {INPUT: inputs, "1.x0": 2 * growth_rate, OUTPUT: 1}
    for block in range(1, blocks + 1):
        states = [f"{block}.x{k}" for k in range(depth + 1)]
        for layer in range(depth):
            read, target = tuple(states[k] for k in sources(layer)), states[layer + 1]
            layers.append(Layer(name=f"{block}.K{layer}", sources=read, target=target, kernel_size=3))
            widths[target] = growth_rate
        if block < blocks:
            kept = max(1, int(sum(widths[state] for state in states) * compression))
            following = f"{block + 1}.x0"
            layers.append(Layer(name=f"{block}.T", sources=tuple(states), target=following, kernel_size=1, pools=True))
            widths[following] = kept
        else:
            layers.append(Layer(name="v", sources=tuple(states), target=OUTPUT))
    return Network(layers=tuple(layers), widths=widths)
