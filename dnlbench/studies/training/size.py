"""Parameters, memory and work of an image network, counted from its architecture without building it.

With ``c`` input channels, growth rate ``g`` and depth ``L``, layer ``l`` of a fully connected dense block reads
``C_l = c + l g`` channels. It holds ``2 C_l + 9 C_l g`` parameters, so the block holds
``(2 + 9 g) (L c + g L (L − 1) / 2)``; with an attention kernel ``2 c² + 2 (L − 1) g²`` more.
"""

from __future__ import annotations

from dataclasses import dataclass

from dnlbench.architecture import ARCHITECTURES, Architecture, sources_of
from dnlbench.studies.base import Estimate, InputShape, Point
from dnlbench.studies.training.spec import NetworkSettings, TrainingSpec, is_factory

_ELEMENTWISE_WORK = 30.0
"""Work of normalising, rectifying and copying one value, in multiply-adds of a convolution, as seen on CPUs."""
_ASSUMED_INPUT: tuple[InputShape, int] = ((3, 32, 32), 10)


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes add up over the parts of a network."""

    parameters: int = 0
    stored: int = 0
    """Values per sample that the forward pass keeps for the backward pass."""
    widest: int = 0
    """Values per sample of the largest single layer input, which bounds the temporary buffers."""
    indexed: int = 0
    """Values that the regulariser lays out by their index in depth, with the zeros of states that are not read."""
    widest_gradient: int = 0
    """Values of the temporary buffers in which the regulariser's gradient by the parameters of one block is made."""
    work: float = 0.0
    """Multiply-adds per sample of the forward pass, with copies and elementwise passes at their price in them."""
    flops: float = 0.0
    """Floating-point operations per sample of the forward pass, in its products alone: two for each multiply-add."""

    def __add__(self, other: Size) -> Size:
        """Parts one after the other."""
        return Size(
            parameters=self.parameters + other.parameters,
            stored=self.stored + other.stored,
            widest=max(self.widest, other.widest),
            indexed=self.indexed + other.indexed,
            widest_gradient=max(self.widest_gradient, other.widest_gradient),
            work=self.work + other.work,
            flops=self.flops + other.flops,
        )


def _norm_relu_conv(read: int, made: int, area: int, pixels: int) -> Size:
    """Batch norm, ReLU and a convolution from ``read`` to ``made`` channels with filters of ``area`` weights."""
    return Size(
        parameters=2 * read + read * made * area,
        stored=2 * read * pixels,  # the norm keeps its input, ReLU and convolution share theirs
        widest=read * pixels,
        work=(read * made * area + _ELEMENTWISE_WORK * read) * pixels,
        flops=2.0 * read * made * area * pixels,
    )


def _layer(read: int, made: int, pixels: int, bottleneck: bool) -> Size:
    if not bottleneck:
        return _norm_relu_conv(read, made, 9, pixels)
    return _norm_relu_conv(read, 4 * made, 1, pixels) + _norm_relu_conv(4 * made, made, 9, pixels)


def _transformation(architecture: Architecture, channels: int, pixels: int) -> Size:
    """The non-local transformation of one state, without the ``pixels``² matrix, which is never stored.

    Its products are ``q · k`` and ``weights · v`` for each pair of pixels, and ``Q x`` and ``R x`` where they are learned.
    """
    if architecture.kernel == "local":
        return Size()
    learned = 2 * channels**2 if architecture.kernel == "attention" else 0
    kept = (
        1 if architecture.kernel == "gaussian" else 4
    )  # query, key, value and average; the first three may be the state
    compared = channels + 1 if architecture.kernel == "rbf" else channels  # rbf: the square of the norm is one more
    return Size(
        parameters=learned,
        stored=(kept * channels + 1) * pixels,
        work=(2.0 * channels * pixels + learned) * pixels,
        flops=2.0 * ((compared + channels) * pixels + learned) * pixels,
    )


def _indexed(architecture: Architecture, depth: int, channels: int, made: int, bottleneck: bool) -> int:
    """How many values ``R_L`` sums in a block, as `dnlbench.dnl.image_regulariser` lays them out."""
    squares = (depth - 1) ** 2 * made if architecture.dense else 0
    values = (squares + depth * channels) * made * (4 if bottleneck else 9)
    if bottleneck:
        values += depth * 4 * made**2 * 9
    if architecture.kernel == "attention":
        values += 2 * (channels**2 + (depth - 1) * made**2)
    return values


def _block(architecture: Architecture, depth: int, channels: int, pixels: int, settings: NetworkSettings) -> Size:
    sources = sources_of(architecture, settings.connectivity, settings.window)
    made = settings.growth_rate if architecture.dense else channels
    width = [channels, *[made] * depth]  # of x^0 .. x^L
    total = Size()
    for layer in range(depth):
        total += _layer(sum(width[k] for k in sources(layer)), made, pixels, settings.bottleneck)
    read_at_all = {k for layer in range(depth) for k in sources(layer)}
    for k in sorted(read_at_all):
        total += _transformation(architecture, width[k], pixels)
    indexed = _indexed(architecture, depth, channels, made, settings.bottleneck)
    # Two copies of what is laid out and two of what there is of it: zeros of states that are not read get no gradient.
    return total + Size(indexed=indexed, widest_gradient=2 * indexed + min(indexed, 2 * total.parameters))


def network_size(
    architecture: Architecture, depth: int, shape: InputShape, classes: int, settings: NetworkSettings
) -> Size:
    """The size of a whole network on images of ``shape`` (channels, height, width)."""
    colours, height, width = shape
    channels = settings.growth_rate * 2
    if not architecture.dense:
        channels = settings.width or channels
    stem = colours * channels * 9
    total = Size(
        parameters=stem,
        stored=colours * height * width,
        work=float(stem * height * width),
        flops=2.0 * stem * height * width,
    )
    for block in range(settings.blocks):
        pixels = height * width
        total += _block(architecture, depth, channels, pixels, settings)
        if architecture.dense:
            channels += depth * settings.growth_rate
        if block < settings.blocks - 1:
            kept = max(1, int(channels * settings.compression)) if architecture.dense else channels
            total += _norm_relu_conv(channels, kept, 1, pixels) + Size(stored=kept * pixels)
            channels, height, width = kept, height // 2, width // 2
    head = Size(
        parameters=2 * channels + (channels + 1) * classes,
        stored=2 * channels * height * width,
        flops=2.0 * channels * classes,
    )
    return total + head


def estimate(spec: TrainingSpec, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
    """Foresees a training run.

    Memory is the stored values of one batch and a temporary buffer as large as the widest layer's input, plus weights,
    gradients and the optimizer's moments. The regulariser, where there is one, comes when the stored values are gone; it
    keeps its values and their differences, and makes its gradient block by block. A user's own network is taken to cost as
    much work as a DenseNet; nothing else is known of it.
    """
    assumed_shape, assumed_classes = spec.data.known_input or _ASSUMED_INPUT
    architecture = ARCHITECTURES["densenet" if is_factory(point.network) else point.network]
    size = network_size(architecture, point.depth, shape or assumed_shape, classes or assumed_classes, spec.network)
    if is_factory(point.network):
        return Estimate(parameters=None, memory_bytes=None, work=size.work)
    value_bytes = 2 if spec.train.precision == "bf16" else 4
    copies = 4 if spec.train.optimizer == "adamw" else 3
    activations = spec.train.batch_size * (size.stored + size.widest) * value_bytes
    regulariser = 4 * (2 * size.indexed + size.widest_gradient) if spec.train.regulariser_weight else 0
    return Estimate(
        parameters=size.parameters,
        memory_bytes=max(activations, regulariser) + 4 * copies * size.parameters,
        work=size.work,
    )
