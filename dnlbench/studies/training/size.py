"""Parameters, memory and work of an image network, counted from its architecture without building it.

With ``c`` input channels, growth rate ``g`` and depth ``L``, layer ``l`` of a fully connected dense block reads
``C_l = c + l g`` channels. It has ``2 C_l + 9 C_l g`` parameters, so the block has
``(2 + 9 g) (L c + g L (L − 1) / 2)``. An attention kernel adds ``2 c² + 2 (L − 1) g²``.

The standard implementation stores the input of every layer, so its memory is quadratic in depth. The memory-efficient one
stores the states of a block (once as they are, and once transformed if the kernel is not local) and the inner states of
bottlenecks. Its backward pass also needs gradients as large as the states of the block (`Moment`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dnlbench.architecture import ARCHITECTURES, Architecture, choose_implementation, sources_of
from dnlbench.studies.base import Estimate, InputShape, Point

if TYPE_CHECKING:  # specs with `dnlbench.studies.training.match` need sizes to list their points
    from dnlbench.studies.training.spec import NetworkSettings, TrainingSpec

_ELEMENTWISE_WORK = {"standard": 30.0, "memory-efficient": 15.0}
"""Cost of batch norm, ReLU and copy of one value, in multiply-adds of a convolution, measured on CPUs. The memory-efficient
implementation copies nothing and computes the statistics once."""
PART_BYTES = 8 * 2**20
"""Bytes of layer input for which `dnlbench.dnl.memory_efficient` allocates temporary buffers at a time on CPUs."""
_ASSUMED_INPUT: tuple[InputShape, int] = ((3, 32, 32), 10)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The memory in use at one step of the backward pass of the memory-efficient implementation, per sample."""

    values: int
    """Stored values, and gradients passed from one operation to the next."""
    gradients: int = 0
    """Accumulated gradients with respect to the states of the current block. They have 4 bytes even if values have 2."""
    layer_inputs: int = 1
    """Input values of the current layer. The layer processes as many samples at a time as fit into `PART_BYTES`."""
    temporary: int = 0
    """Values of the buffers that the layer allocates for each sample processed at a time."""

    def bytes(self, batch: int, value_bytes: int) -> int:
        """Return the memory of a full batch."""
        samples = min(batch, max(1, PART_BYTES // (self.layer_inputs * value_bytes)))
        return batch * (self.values * value_bytes + 4 * self.gradients) + samples * self.temporary * value_bytes


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a network or of a part of it. Sizes of consecutive parts add up."""

    parameters: int = 0
    stored: int = 0
    """Values per sample that the forward pass stores for the backward pass."""
    widest: int = 0
    """Values per sample of the largest layer input, which bounds the temporary buffers of the standard implementation."""
    moments: tuple[Moment, ...] = ()
    """The steps at which the memory-efficient implementation may reach its peak of memory."""
    indexed: int = 0
    """Values that the regularizer arranges by their index in depth, including zeros for states that are not read."""
    widest_gradient: int = 0
    """Values of the temporary buffers for the regularizer's gradient with respect to the parameters of one block."""
    work: float = 0.0
    """Multiply-adds per sample of the forward pass. Copies and elementwise passes count at their equivalent cost."""
    flops: float = 0.0
    """Floating-point operations per sample in the products of the forward pass: two for each multiply-add."""

    def __add__(self, other: Size) -> Size:
        """Return the size of two consecutive parts. The backward pass of the second needs the stored values of the first."""
        return Size(
            parameters=self.parameters + other.parameters,
            stored=self.stored + other.stored,
            widest=max(self.widest, other.widest),
            moments=self.moments + tuple(replace(m, values=m.values + self.stored) for m in other.moments),
            indexed=self.indexed + other.indexed,
            widest_gradient=max(self.widest_gradient, other.widest_gradient),
            work=self.work + other.work,
            flops=self.flops + other.flops,
        )


def _norm_relu_conv(
    in_channels: int, out_channels: int, area: int, pixels: int, memory_efficient: bool, dropout: bool
) -> Size:
    """Size batch norm, ReLU and a convolution whose filters have ``area`` weights, and dropout, which stores its factors."""
    price = _ELEMENTWISE_WORK["memory-efficient" if memory_efficient else "standard"]
    return Size(
        parameters=2 * in_channels + in_channels * out_channels * area,
        # standard: the norm keeps its input, ReLU and convolution share theirs; memory-efficient: the block keeps states
        stored=(0 if memory_efficient else 2 * in_channels * pixels) + (out_channels * pixels if dropout else 0),
        widest=in_channels * pixels,
        work=(in_channels * out_channels * area + price * in_channels) * pixels,
        flops=2.0 * in_channels * out_channels * area * pixels,
    )


def _layer(in_channels: int, out_channels: int, pixels: int, settings: NetworkSettings) -> Size:
    memory_efficient, dropout = settings.implementation == "memory-efficient", settings.dropout > 0
    if not settings.bottleneck:
        return _norm_relu_conv(in_channels, out_channels, 9, pixels, memory_efficient, dropout)
    inner = Size(stored=4 * out_channels * pixels if memory_efficient else 0)
    return (
        _norm_relu_conv(in_channels, 4 * out_channels, 1, pixels, memory_efficient, dropout)
        + inner
        + _norm_relu_conv(4 * out_channels, out_channels, 9, pixels, memory_efficient, dropout)
    )


def _temporary(in_channels: int, out_channels: int, area: int) -> int:
    """Count the channels of the buffers for the backward pass of the memory-efficient implementation through one layer.

    They contain the recomputed input after ReLU and its gradient. A 3×3 convolution with few output channels
    (`dnlbench.dnl.memory_efficient.offsets`) also needs the gradients of its nine products.
    """
    products = 9 * out_channels
    return 2 * in_channels + (products if area == 9 and out_channels < 16 and products <= in_channels else 0)


def _transformation(architecture: Architecture, channels: int, pixels: int, memory_efficient: bool) -> Size:
    """Size the non-local transformation of one state. Its ``pixels``² matrix is never stored.

    Its products are ``q · k`` and ``weights · v`` for each pair of pixels, and those with the learned matrices.
    """
    kernel = architecture.kernel_data
    if kernel.is_identity:
        return Size()
    learned = len(kernel.matrices) * channels**2
    compared = kernel.compared(channels)
    kept = (kernel.stored_memory_efficient if memory_efficient else kernel.stored)(channels)
    return Size(
        parameters=learned,
        stored=(kept + 1) * pixels,
        work=(2.0 * channels * pixels + learned) * pixels,
        flops=2.0 * ((compared + channels) * pixels + learned) * pixels,
    )


def _indexed(architecture: Architecture, depth: int, channels: int, out_channels: int, bottleneck: bool) -> int:
    """Count the values of a block that ``R_L`` sums over, in the layout of `dnlbench.dnl.image_regularizer`."""
    squares = (depth - 1) ** 2 * out_channels if architecture.dense else 0
    values = (squares + depth * channels) * out_channels * (4 if bottleneck else 9)
    if bottleneck:
        values += depth * 4 * out_channels**2 * 9
    values += len(architecture.kernel_data.matrices) * (channels**2 + (depth - 1) * out_channels**2)
    return values


def _block(architecture: Architecture, depth: int, channels: int, pixels: int, settings: NetworkSettings) -> Size:
    sources = sources_of(architecture, settings.connectivity, settings.window)
    out_channels = settings.growth_rate if architecture.dense else channels
    memory_efficient = settings.implementation == "memory-efficient"
    width = [channels, *[out_channels] * depth]  # of x^0 .. x^L
    in_channels = [sum(width[k] for k in sources(layer)) for layer in range(depth)]
    total = Size()
    for layer_inputs in in_channels:
        total += _layer(layer_inputs, out_channels, pixels, settings)
    used_states = {k for layer in range(depth) for k in sources(layer)}
    for k in sorted(used_states):
        total += _transformation(architecture, width[k], pixels, memory_efficient)
    if memory_efficient:
        total += Size(stored=_buffers(architecture) * sum(width) * pixels)
        moments = _layers_back(architecture, total.stored, width, in_channels, pixels, settings.bottleneck)
        total = replace(total, moments=moments)
    indexed = _indexed(architecture, depth, channels, out_channels, settings.bottleneck)
    # Two copies of the full layout and two of the parameters in it: the zeros of states that are not read get no gradient.
    return total + Size(indexed=indexed, widest_gradient=2 * indexed + min(indexed, 2 * total.parameters))


def _buffers(architecture: Architecture) -> int:
    return 1 if architecture.kernel_data.is_identity else 2


def _layers_back(
    architecture: Architecture,
    stored: int,
    width: Sequence[int],
    in_channels: Sequence[int],
    pixels: int,
    bottleneck: bool,
) -> tuple[Moment, ...]:
    """Return the memory in use when the memory-efficient backward pass reaches the widest layers of a block.

    The gradients of all states are allocated by then, and the gradient of the layer's output is in use, in a residual block
    also its multiple. The inner layer of a bottleneck has its own gradients. Gradients of transformed states are allocated
    after the last layer's buffers except its nine products, so these count from the layer before on.
    """
    out_channels = width[-1]
    in_transit = (2 if architecture.family == "residual" else 1) * out_channels
    gradients = _buffers(architecture) * sum(width)
    second, first = sorted([*in_channels, 0])[-2:]
    layers = [(first, 2 * first), (second, _temporary(second, out_channels, 9))]  # channels of inputs and buffers
    if bottleneck:
        layers = [(first, 2 * first)]
    elif architecture.kernel_data.is_identity:
        layers = [(first, _temporary(first, out_channels, 9))]
    values = stored + in_transit * pixels
    moments = [
        Moment(
            values=values,
            gradients=gradients * pixels,
            layer_inputs=max(1, channels) * pixels,
            temporary=buffers * pixels,
        )
        for channels, buffers in layers
    ]
    if bottleneck:
        inner, sums = 4 * out_channels * pixels, (gradients + 4 * out_channels) * pixels
        moments.append(Moment(values=values, gradients=sums, layer_inputs=inner, temporary=2 * inner))
    return tuple(moments)


def _transition(channels: int, kept: int, pixels: int, states: int, memory_efficient: bool, dropout: bool) -> Size:
    """Size a 1×1 convolution from ``channels`` to ``kept`` channels and the pooling after it, which stores its input.

    The memory-efficient backward pass frees that input first. Its gradient is in use, and the gradients of the ``states``
    channels of the block before are allocated.
    """
    size = _norm_relu_conv(channels, kept, 1, pixels, memory_efficient, dropout) + Size(stored=kept * pixels)
    if not memory_efficient:
        return size
    moment = Moment(
        values=kept * pixels,
        gradients=states * pixels,
        layer_inputs=channels * pixels,
        temporary=_temporary(channels, kept, 1) * pixels,
    )
    return replace(size, moments=(moment,))


def network_size(
    architecture: Architecture, depth: int, shape: InputShape, classes: int, settings: NetworkSettings
) -> Size:
    """Return the size of a network on images of ``shape`` (channels, height, width)."""
    in_channels, height, width = shape
    channels = settings.stem or 2 * settings.growth_rate
    if not architecture.dense:
        channels = settings.width or channels
    stem = in_channels * channels * 9
    total = Size(
        parameters=stem,
        stored=in_channels * height * width,
        work=float(stem * height * width),
        flops=2.0 * stem * height * width,
    )
    settings = _resolved(settings, architecture, shape)
    memory_efficient = settings.implementation == "memory-efficient"
    for block in range(settings.blocks):
        pixels = height * width
        total += _block(architecture, depth, channels, pixels, settings)
        states = channels + depth * (settings.growth_rate if architecture.dense else channels)  # of all states together
        if architecture.dense:
            channels = states
        if block < settings.blocks - 1:
            kept = max(1, int(channels * settings.compression)) if architecture.dense else channels
            total += _transition(channels, kept, pixels, states, memory_efficient, settings.dropout > 0)
            channels, height, width = kept, height // 2, width // 2
    features = channels * height * width
    head = Size(
        parameters=2 * channels + (channels + 1) * classes,
        stored=0 if memory_efficient else 2 * features,
        # the gradients with respect to the features before averaging and to the states
        moments=(Moment(values=features, gradients=states * height * width),) if memory_efficient else (),
        flops=2.0 * channels * classes,
    )
    return total + head


def _resolved(settings: NetworkSettings, architecture: Architecture, shape: InputShape) -> NetworkSettings:
    """Replace the implementation ``auto`` by the one that the architecture uses on images of this shape."""
    chosen = choose_implementation(settings.implementation, architecture, *shape[1:])
    return settings.model_copy(update={"implementation": chosen})


def estimate(spec: TrainingSpec, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
    """Estimate parameters, memory and work of a training run.

    Memory: the stored values of one batch and a temporary buffer as large as the widest layer's input (memory-efficient
    implementation: the peak over the steps of the backward pass), plus weights, gradients and the optimizer's moments. The
    temporary buffers of the memory-efficient implementation are those of CPUs; other devices allocate them for the full batch,
    so large batches need more. The regularizer runs after the stored values are freed; it stores its values and their
    differences and computes its gradient block by block. The work of a custom network is assumed to be that of a DenseNet;
    its memory and parameters are unknown.
    """
    known_shape, known_classes = spec.data.known_input or _ASSUMED_INPUT
    shape, classes = shape or known_shape, classes or known_classes
    if len(shape) != 3:  # of a custom network
        shape, _ = _ASSUMED_INPUT
    is_custom = point.network not in ARCHITECTURES
    architecture = ARCHITECTURES["densenet" if is_custom else point.network]
    settings = _resolved(spec.network, architecture, shape)
    size = network_size(architecture, point.depth, shape, classes, settings)
    if is_custom:
        return Estimate(parameters=None, memory_bytes=None, work=size.work)
    value_bytes = 2 if spec.train.precision == "bf16" else 4
    copies = 3 if spec.train.optimizer == "sgd" else 4
    batch = spec.train.batch_size
    if settings.implementation == "memory-efficient":
        activations = max(moment.bytes(batch, value_bytes) for moment in size.moments)
    else:
        activations = batch * (size.stored + size.widest) * value_bytes
    regularizer = 4 * (2 * size.indexed + size.widest_gradient) if spec.train.regulariser_weight else 0
    return Estimate(
        parameters=size.parameters,
        memory_bytes=max(activations, regularizer) + 4 * copies * size.parameters,
        work=size.work,
    )
