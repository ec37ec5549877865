"""Parameters, memory and work of an image network, counted from its architecture without building it.

With ``c`` input channels, growth rate ``g`` and depth ``L``, layer ``l`` of a fully connected dense block reads
``C_l = c + l g`` channels. It holds ``2 C_l + 9 C_l g`` parameters, so the block holds
``(2 + 9 g) (L c + g L (L − 1) / 2)``; with an attention kernel ``2 c² + 2 (L − 1) g²`` more.

The plain implementation keeps what every layer reads, so its memory is quadratic in depth. The lean one keeps a block's
states alone, once as they are and once transformed if the kernel is not local, and the inner states of bottlenecks. In its
backward pass gradients as large as the block's states are there beside them (`Moment`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dnlbench.architecture import ARCHITECTURES, Architecture, choose_implementation, sources_of
from dnlbench.studies.base import Estimate, InputShape, Point
from dnlbench.studies.training.spec import NetworkSettings, TrainingSpec, is_factory

_ELEMENTWISE_WORK = {"plain": 30.0, "lean": 15.0}
"""Work of normalising, rectifying and copying one value, in multiply-adds of a convolution, as seen on CPUs. Lean copies none
and makes its statistics once."""
PART_BYTES = 8 * 2**20
"""Of a layer's input, of which the lean implementation makes temporary buffers at a time on CPUs (`dnlbench.dnl.lean`)."""
_ASSUMED_INPUT: tuple[InputShape, int] = ((3, 32, 32), 10)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is alive at a moment of the backward pass of the lean implementation, per sample."""

    values: int
    """Stored ones, and gradients that are on their way from one operation to the next."""
    gradients: int = 0
    """Sums of gradients by the states of the block under way, which have 4 bytes also where values have 2."""
    read: int = 1
    """Values that the layer under way reads; so many samples are done at a time as have `PART_BYTES` of them."""
    temporary: int = 0
    """Values of the buffers that the layer makes for each of these samples."""

    def bytes(self, batch: int, value_bytes: int) -> int:
        """Of a whole batch."""
        at_a_time = min(batch, max(1, PART_BYTES // (self.read * value_bytes)))
        return batch * (self.values * value_bytes + 4 * self.gradients) + at_a_time * self.temporary * value_bytes


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes add up over the parts of a network."""

    parameters: int = 0
    stored: int = 0
    """Values per sample that the forward pass keeps for the backward pass."""
    widest: int = 0
    """Values per sample of the largest single layer input, which bounds the temporary buffers of the plain implementation."""
    moments: tuple[Moment, ...] = ()
    """Those at which the lean implementation may take the most memory."""
    indexed: int = 0
    """Values that the regulariser lays out by their index in depth, with the zeros of states that are not read."""
    widest_gradient: int = 0
    """Values of the temporary buffers in which the regulariser's gradient by the parameters of one block is made."""
    work: float = 0.0
    """Multiply-adds per sample of the forward pass, with copies and elementwise passes at their price in them."""
    flops: float = 0.0
    """Floating-point operations per sample of the forward pass, in its products alone: two for each multiply-add."""

    def __add__(self, other: Size) -> Size:
        """Parts one after the other. In the backward pass of the second, what the first one stored is still there."""
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


def _norm_relu_conv(read: int, made: int, area: int, pixels: int, lean: bool) -> Size:
    """Batch norm, ReLU and a convolution from ``read`` to ``made`` channels with filters of ``area`` weights."""
    price = _ELEMENTWISE_WORK["lean" if lean else "plain"]
    return Size(
        parameters=2 * read + read * made * area,
        # plain: the norm keeps its input, ReLU and convolution share theirs; lean: states are kept by the block
        stored=0 if lean else 2 * read * pixels,
        widest=read * pixels,
        work=(read * made * area + price * read) * pixels,
        flops=2.0 * read * made * area * pixels,
    )


def _layer(read: int, made: int, pixels: int, bottleneck: bool, lean: bool) -> Size:
    if not bottleneck:
        return _norm_relu_conv(read, made, 9, pixels, lean)
    inner = Size(stored=4 * made * pixels if lean else 0)
    return _norm_relu_conv(read, 4 * made, 1, pixels, lean) + inner + _norm_relu_conv(4 * made, made, 9, pixels, lean)


def _temporary(read: int, made: int, area: int) -> int:
    """Channels of the buffers in which the lean implementation goes back through a layer.

    They are the rectified input, made again, and the gradient by it. Of a 3×3 convolution whose nine products with a position
    are few (`dnlbench.dnl.lean.taps`), the gradients by these come on top.
    """
    products = 9 * made
    return 2 * read + (products if area == 9 and made < 16 and products <= read else 0)


def _transformation(architecture: Architecture, channels: int, pixels: int, lean: bool) -> Size:
    """The non-local transformation of one state, without the ``pixels``² matrix, which is never stored.

    Its products are ``q · k`` and ``weights · v`` for each pair of pixels, and ``Q x`` and ``R x`` where they are learned.
    Kept are query, key, value and average, and a number for each pixel. For the plain implementation the average of gaussian is
    all, since the norm keeps the state, which is the other three. For the lean one its own copies come on top, and rbf has a
    channel more in each of the four, and the states without their mean.
    """
    if architecture.kernel == "local":
        return Size()
    learned = 2 * channels**2 if architecture.kernel == "attention" else 0
    compared = channels + 1 if architecture.kernel == "rbf" else channels  # rbf: the square of the norm is one more
    if lean:
        kept = {"gaussian": 2 * channels, "rbf": 4 * compared + channels}.get(architecture.kernel, 4 * channels)
    else:
        kept = channels if architecture.kernel == "gaussian" else 4 * channels
    return Size(
        parameters=learned,
        stored=(kept + 1) * pixels,
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
    lean = settings.implementation == "lean"
    width = [channels, *[made] * depth]  # of x^0 .. x^L
    read = [sum(width[k] for k in sources(layer)) for layer in range(depth)]
    total = Size()
    for channels_read in read:
        total += _layer(channels_read, made, pixels, settings.bottleneck, lean)
    read_at_all = {k for layer in range(depth) for k in sources(layer)}
    for k in sorted(read_at_all):
        total += _transformation(architecture, width[k], pixels, lean)
    if lean:
        total += Size(stored=_buffers(architecture) * sum(width) * pixels)
        moments = _layers_back(architecture, total.stored, width, read, pixels, settings.bottleneck)
        total = replace(total, moments=moments)
    indexed = _indexed(architecture, depth, channels, made, settings.bottleneck)
    # Two copies of what is laid out and two of what there is of it: zeros of states that are not read get no gradient.
    return total + Size(indexed=indexed, widest_gradient=2 * indexed + min(indexed, 2 * total.parameters))


def _buffers(architecture: Architecture) -> int:
    return 1 if architecture.kernel == "local" else 2


def _layers_back(
    architecture: Architecture, stored: int, width: Sequence[int], read: Sequence[int], pixels: int, bottleneck: bool
) -> tuple[Moment, ...]:
    """The lean implementation goes back through the layers of a block that read most, when gradients by all states have begun.

    The gradient by what a layer made is on its way, in a residual block also its multiple. Of a bottleneck the inner layer has
    gradients of its own. Gradients by transformed states begin when the last layer's buffers are there but for its nine
    products, so these count from the layer before on.
    """
    made = width[-1]
    on_its_way = (2 if architecture.family == "residual" else 1) * made
    gradients = _buffers(architecture) * sum(width)
    second, first = sorted([*read, 0])[-2:]
    layers = [(first, 2 * first), (second, _temporary(second, made, 9))]  # channels that are read, and of the buffers
    if bottleneck:
        layers = [(first, 2 * first)]
    elif architecture.kernel == "local":
        layers = [(first, _temporary(first, made, 9))]
    values = stored + on_its_way * pixels
    moments = [
        Moment(values=values, gradients=gradients * pixels, read=max(1, channels) * pixels, temporary=buffers * pixels)
        for channels, buffers in layers
    ]
    if bottleneck:
        inner, sums = 4 * made * pixels, (gradients + 4 * made) * pixels
        moments.append(Moment(values=values, gradients=sums, read=inner, temporary=2 * inner))
    return tuple(moments)


def _transition(channels: int, kept: int, pixels: int, states: int, lean: bool) -> Size:
    """A 1×1 convolution from ``channels`` to ``kept``, and pooling, which keeps what it reads.

    When the lean implementation goes back through it, that is gone; the gradient by it is there, and those by the ``states``
    channels of the block before begin.
    """
    size = _norm_relu_conv(channels, kept, 1, pixels, lean) + Size(stored=kept * pixels)
    if not lean:
        return size
    moment = Moment(
        values=kept * pixels,
        gradients=states * pixels,
        read=channels * pixels,
        temporary=_temporary(channels, kept, 1) * pixels,
    )
    return replace(size, moments=(moment,))


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
    settings = _decided(settings, architecture, shape)
    lean = settings.implementation == "lean"
    for block in range(settings.blocks):
        pixels = height * width
        total += _block(architecture, depth, channels, pixels, settings)
        states = channels + depth * (settings.growth_rate if architecture.dense else channels)  # of all states together
        if architecture.dense:
            channels = states
        if block < settings.blocks - 1:
            kept = max(1, int(channels * settings.compression)) if architecture.dense else channels
            total += _transition(channels, kept, pixels, states, lean)
            channels, height, width = kept, height // 2, width // 2
    features = channels * height * width
    head = Size(
        parameters=2 * channels + (channels + 1) * classes,
        stored=0 if lean else 2 * features,
        # the gradient by the features that are averaged, whole, and those by the states
        moments=(Moment(values=features, gradients=states * height * width),) if lean else (),
        flops=2.0 * channels * classes,
    )
    return total + head


def _decided(settings: NetworkSettings, architecture: Architecture, shape: InputShape) -> NetworkSettings:
    """With the implementation that a network of that architecture has."""
    chosen = choose_implementation(settings.implementation, architecture, *shape[1:])
    return settings.model_copy(update={"implementation": chosen})


def estimate(spec: TrainingSpec, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
    """Foresees a training run.

    Memory is the stored values of one batch and a temporary buffer as large as the widest layer's input, of the lean
    implementation what is alive at the moment of most, plus weights, gradients and the optimizer's moments. Lean temporaries
    are those of CPUs; on other devices, which make them for the whole batch at once, large batches take more. The regulariser,
    where there is one, comes when the stored values are gone; it keeps its values and their differences, and makes its gradient
    block by block. A user's own network is taken to cost as much work as a DenseNet; nothing else is known of it.
    """
    assumed_shape, assumed_classes = spec.data.known_input or _ASSUMED_INPUT
    architecture = ARCHITECTURES["densenet" if is_factory(point.network) else point.network]
    shape = shape or assumed_shape
    settings = _decided(spec.network, architecture, shape)
    size = network_size(architecture, point.depth, shape, classes or assumed_classes, settings)
    if is_factory(point.network):
        return Estimate(parameters=None, memory_bytes=None, work=size.work)
    value_bytes = 2 if spec.train.precision == "bf16" else 4
    copies = 4 if spec.train.optimizer == "adamw" else 3
    batch = spec.train.batch_size
    if settings.implementation == "lean":
        activations = max(moment.bytes(batch, value_bytes) for moment in size.moments)
    else:
        activations = batch * (size.stored + size.widest) * value_bytes
    regulariser = 4 * (2 * size.indexed + size.widest_gradient) if spec.train.regulariser_weight else 0
    return Estimate(
        parameters=size.parameters,
        memory_bytes=max(activations, regulariser) + 4 * copies * size.parameters,
        work=size.work,
    )
