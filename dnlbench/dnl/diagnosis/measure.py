"""Measure the states, activation patterns and gradients of a network on some images, summed over batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from dnlbench.dnl.diagnosis.maps import filter_distances, map_distances
from dnlbench.dnl.diagnosis.metrics import BlockMetrics, TrainingBlock, TrainingMetrics
from dnlbench.dnl.diagnosis.variation import parameter_steps, roughness, variations
from dnlbench.dnl.image_regularizer import parameters_in_depth
from dnlbench.dnl.networks import Block, DNLNetwork, NormReluConv
from dnlbench.dnl.states import SeparateStates

T = TypeVar("T", int, float, Tensor)

MAP_IMAGES = 16
"""Number of images at which layers are differentiated."""
SummedLoss = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs and targets to the sum of the losses, so that the states of an image have the gradient of its own loss."""


def _cross_entropy(outputs: Tensor, classes: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, classes, reduction="sum")


def diagnose(
    network: DNLNetwork, batches: Iterable[tuple[Tensor, Tensor]], summed_loss: SummedLoss = _cross_entropy
) -> list[BlockMetrics]:
    """Measure each block in evaluation mode. The network stays unchanged, including its running statistics.

    Batches are images (B, C, H, W) and targets (B, …). Results do not depend on the batch size, except the map distances, which
    are measured at the first `MAP_IMAGES` images of the first batch.

    Raises:
        ValueError: if there are no images.
    """
    sums = [_Sums(block) for block in network.blocks]
    distances: list[tuple[float | None, ...]] = []
    with _evaluating(network), ExitStack() as stack:
        hooks = [stack.enter_context(_watching(block)) for block in network.blocks]
        for images, targets in batches:
            loss = summed_loss(network(images), targets)
            if not distances:
                distances = [map_distances(w.block, w.some_states(MAP_IMAGES), w.first) for w in hooks]
            _add(sums, hooks, loss)
    if not distances:
        raise ValueError("a diagnosis needs at least one image")
    return [summed.metrics(distance) for summed, distance in zip(sums, distances, strict=True)]


def diagnose_in_training_mode(
    network: DNLNetwork, batches: Iterable[tuple[Tensor, Tensor]], summed_loss: SummedLoss = _cross_entropy
) -> TrainingMetrics:
    """Measure states and gradients in training mode. The network stays unchanged, including its running statistics.

    Each batch needs at least two images. Results depend on the batches.

    Raises:
        ValueError: if there are no images.
    """
    sums, total, count = [_Sums(block) for block in network.blocks], 0.0, 0
    with _training(network), ExitStack() as stack:
        hooks = [stack.enter_context(_watching(block)) for block in network.blocks]
        for images, targets in batches:
            loss = summed_loss(network(images), targets)
            total, count = total + float(loss.detach()), count + len(images)
            _add(sums, hooks, loss)
    if not count:
        raise ValueError("a diagnosis needs at least one image")
    return TrainingMetrics(loss=total / count, blocks=tuple(summed.in_training_mode() for summed in sums))


def _add(sums: Sequence[_Sums], hooks: Sequence[_Seen], loss: Tensor) -> None:
    """Add the last forward pass and the gradients of its loss to the sums."""
    wanted = [value for seen in hooks for value in (*seen.states, *seen.parameters)]
    gradients = iter(torch.autograd.grad(loss, wanted, allow_unused=True))
    for summed, seen in zip(sums, hooks, strict=True):
        summed.add(seen, gradients)


@contextmanager
def _training(network: DNLNetwork) -> Iterator[None]:
    """Training mode without dropout, in the standard implementation, whose states hooks can read."""
    before, implementation = network.training, network.implementation
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    network.train()
    for module in network.modules():
        module.training = not isinstance(module, NormReluConv)  # in training mode they draw random numbers
    network.implementation = "standard"
    try:
        yield
    finally:
        network.train(before)
        network.implementation = implementation
        for buffer, value in buffers:
            buffer.copy_(value)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


class _Seen:
    """The states and activation patterns of a block in the last forward pass."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.first = int(block.dense)
        self.states: list[Tensor] = []
        self.active: list[Tensor] = [torch.empty(0)] * len(block.layers)
        """Masks of the active units on the newest state of each layer, shape (B, c, H, W)."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for layer in self.block.layers for parameter in layer.parameters()]

    def some_states(self, images: int) -> list[Tensor]:
        return [state[:images].detach() for state in self.states]


@contextmanager
def _watching(block: Block) -> Iterator[_Seen]:
    seen = _Seen(block)

    def after_block(module: nn.Module, arguments: object, states: SeparateStates) -> None:
        seen.states = list(states.kept)

    def after_norm(layer: int) -> object:
        def note(module: nn.Module, arguments: object, output: Tensor) -> None:
            seen.active[layer] = output.detach()[:, -block.widths[layer] :] > 0  # the newest state is read last

        return note

    handles = [block.register_forward_hook(after_block)]
    for index, layer in enumerate(block.layers):
        assert block.sources[index][-1] == index
        handles.append(_first_norm(layer).register_forward_hook(after_norm(index)))  # type: ignore[arg-type]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _first_norm(layer: nn.Module) -> nn.BatchNorm2d:
    """Return the first batch norm of a layer or bottleneck."""
    return next(part for part in layer.modules() if isinstance(part, NormReluConv)).norm


@dataclass
class _Sums:
    """Sums over images."""

    block: Block
    images: int = 0
    values: list[int] = field(default_factory=list)
    """Number of values of each state of one image."""
    squares: list[float] = field(default_factory=list)
    step_squares: list[float] = field(default_factory=list)
    gradient_squares: list[float] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    parameter_gradients: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def add(self, seen: _Seen, gradients: Iterator[Tensor | None]) -> None:
        """Add a batch. The iterator yields the gradients of its states, then those of its parameters."""
        states = [state.detach() for state in seen.states]
        pairs = list(zip(states[seen.first :], states[seen.first + 1 :], strict=False))
        patterns = list(zip(seen.active[seen.first :], seen.active[seen.first + 1 :], strict=False))
        self.images += len(states[0])
        self.values = [state[0].numel() for state in states]
        self.squares = _added(self.squares, [_square(state) for state in states])
        self.step_squares = _added(self.step_squares, [_square(new - old) for old, new in pairs])
        self.changed = _added(self.changed, [int((old != new).sum()) for old, new in patterns])
        self.units = _added(self.units, [old.numel() for old, _ in patterns])
        self.gradient_squares = _added(self.gradient_squares, [_square(next(gradients)) for _ in states])
        parts = [torch.zeros_like(p) if (g := next(gradients)) is None else g for p in seen.parameters]
        self.parameter_gradients = _added(self.parameter_gradients, parts)

    @torch.no_grad()
    def metrics(self, map_distance: tuple[float | None, ...]) -> BlockMetrics:
        block, first = self.block, int(self.block.dense)
        depth, by_array = len(block.layers), variations(parameters_in_depth(block))
        before = (None,) * first
        fractions = [changed / units for changed, units in zip(self.changed, self.units, strict=True)]
        steps = [_root(step, square) for step, square in zip(self.step_squares, self.squares[first:], strict=False)]
        return BlockMetrics(
            first_state=first,
            state_step=(*before, *steps),
            map_distance=map_distance,
            filter_distance=filter_distances(block),
            parameter_step=parameter_steps(by_array, depth),
            roughness=roughness(by_array),
            pattern_change=(*before, *fractions, None)[:depth],
            **vars(self.in_training_mode()),
        )

    @torch.no_grad()
    def in_training_mode(self) -> TrainingBlock:
        return TrainingBlock(
            forward=self._forward,
            state_gradient=self._state_gradient,
            parameter_gradient=tuple(self._layer_gradients()),
        )

    @property
    def _forward(self) -> tuple[float, ...]:
        squares = zip(self.squares, self.values, strict=True)
        return tuple(math.sqrt(square / (self.images * values)) for square, values in squares)

    @property
    def _state_gradient(self) -> tuple[float, ...]:
        return tuple(math.sqrt(square / self.images) for square in self.gradient_squares)

    def _layer_gradients(self) -> Iterator[float]:
        parts = iter(self.parameter_gradients)
        for layer in self.block.layers:
            yield math.sqrt(sum(_square(next(parts)) for _ in layer.parameters())) / self.images


def _added(sums: Sequence[T], parts: Sequence[T]) -> list[T]:
    return [old + new for old, new in zip(sums, parts, strict=True)] if sums else list(parts)


def _square(values: Tensor | None) -> float:
    return 0.0 if values is None else float(values.square().sum())


def _root(difference: float, size: float) -> float:
    """Return ``‖difference‖ / ‖size‖``; 0 for a state that stays zero."""
    return math.sqrt(difference / size) if size else (math.inf if difference else 0.0)
