"""The embedding study: does a wide ReLU network that was split from a narrow one train like it?

The embedding principle of arXiv 2505.12419: split each neuron or channel of a homogeneous network into copies whose incoming
and outgoing weights are both scaled by ``c_i``, with ``sum c_i² = 1``. Then the wide network computes the same function, its
gradients are the images of the narrow network's gradients, and so is its training trajectory. KKT points of the maximum-margin
problem are mapped to KKT points. Each run draws a narrow network, splits it, trains both and measures their differences, which
would be 0 in exact arithmetic. The map also applies to dense networks of any depth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dnlbench.architecture import ARCHITECTURES, ConnectivityName, most_blocks, sources_of
from dnlbench.studies.axes import Axes, Axis, Depths, Seeds, distinct
from dnlbench.studies.base import Estimate, InputShape, Point, Quantity, Section, Study, StudySpec, refuse

WiringName = Literal["fully-connected", "convolutional", "densenet"]
Case = tuple[WiringName, int, float]
"""Wiring, width factor and learning rate."""

PREDICTED = "Differences that the embedding principle predicts to be 0"
ROUNDING_TWIN = "Narrow network against its rounding twin: amplification of rounding errors by training"
MARGINS = "Maximum margin at late times: narrow and wide network"
FEWEST_OF_A_DIGIT = 174
SPHERE_TOLERANCE = 1e-12
"""Maximum rounding error of the sum of squared coefficients."""
TRAJECTORY_BOUND = 1e-10
KKT_BOUND = 1e-8


class EmbeddingAxes(Axes):
    """``[sweep]``: every network with every width factor and learning rate at every depth with every seed."""

    networks: Axis[WiringName]
    """Narrow networks to split."""
    depths: Depths
    """Hidden layers, or layers per block of densenet. A fully-connected network of depth 1 is the two-layer network."""
    width_factors: Axis[Annotated[int, Field(ge=1, le=64)]]
    """m, the copies of each neuron or channel."""
    learning_rates: Axis[Annotated[float, Field(gt=0)]] = (0.1,)
    """Learning rates of gradient descent and SGD."""
    seeds: Seeds = (0, 1)
    """A list, or a count n for the seeds 0 … n − 1. Each seed draws its own samples, weights and coefficients."""


class WiringSettings(Section):
    """``[network]``: the narrow networks, of ReLU and linear maps."""

    neurons: Annotated[int, Field(ge=1, le=1024)] = 16
    """Neurons of a hidden layer of fully-connected."""
    channels: Annotated[int, Field(ge=1, le=1024)] = 6
    """Channels of a hidden layer of convolutional."""
    growth_rate: Annotated[int, Field(ge=1, le=256)] = 2
    """Channels of a state of densenet. Its stem has twice as many."""
    blocks: Annotated[int, Field(ge=1, le=4)] = 2
    """Blocks of densenet. Each block but the last halves the sides of the image."""
    compression: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Fraction of the channels that a transition of densenet keeps."""
    connectivity: ConnectivityName = "full"
    """States that a layer of densenet reads: all, the last `window`, or those at distances 1, 2, 4, 8, …"""
    window: Annotated[int, Field(ge=1)] | None = None
    """Number of states that a layer reads. Required with connectivity window, refused otherwise."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor on the initial weights, whose variance is 2 / fan-in."""
    biases: bool = False
    """Must be false: networks with biases are not homogeneous."""
    batch_norm: bool = False
    """Must be false: splitting does not commute with batch norm."""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if self.biases:
            reason = "with biases a network is not homogeneous in its parameters and has no maximum-margin problem"
            refuse("network.biases", self.biases, f"must be false: {reason}")
        if self.batch_norm:
            reason = "batch normalization cancels the coefficient of a copy, so later layers count the copy in full"
            refuse("network.batch_norm", self.batch_norm, f"must be false: {reason}")
        if (self.connectivity == "window") != (self.window is not None):
            reason = 'is required with network.connectivity = "window" and not allowed otherwise'
            refuse("network.window", self.window, reason)
        return self


class SplittingSettings(Section):
    """``[splitting]``: the coefficients c_i of the copies of a neuron or channel, with sum c_i² = 1."""

    coefficients: Literal["random", "equal", "given"] = "random"
    """c_i of the copies: random and nonnegative on the unit sphere for each neuron, 1/√m, or the given values."""
    values: tuple[float, ...] | None = None
    """Coefficients for given: one for each copy, the same for all neurons. Their squares must add up to 1."""

    @model_validator(mode="after")
    def _values_are_on_the_sphere(self) -> Self:
        if (self.coefficients == "given") != (self.values is not None):
            refuse(
                "splitting.values",
                self.values and list(self.values),
                'are required with splitting.coefficients = "given" and not allowed otherwise',
            )
        if self.values is None:
            return self
        if any(value < 0 for value in self.values):
            reason = "relu(c z) = c relu(z) holds for c >= 0 only, so no coefficient may be negative"
            refuse("splitting.values", list(self.values), reason)
        squares = math.fsum(value * value for value in self.values)
        if abs(squares - 1) > SPHERE_TOLERANCE:
            reason = f"their squares add up to {squares:.6g} instead of 1, so the copies would not add up to the neuron"
            if squares > 0:
                scaled = [value / math.sqrt(squares) for value in self.values]
                reason = f"{reason}; divided by their norm they are {scaled}"
            refuse("splitting.values", list(self.values), reason)
        return self


Digit = Annotated[int, Field(ge=0, le=9)]


class DigitSettings(Section):
    """``[data]``: handwritten digits of two classes; over all digits the pixels have mean 0 and variance 1."""

    classes: Annotated[tuple[Digit, Digit], AfterValidator(distinct)] = (0, 1)
    """The two digits to separate."""
    side: Annotated[int, Field(ge=4, le=8, multiple_of=4)] = 8
    """Side of the images in pixels; 4 averages 2×2 pixels."""
    samples: Annotated[int, Field(ge=2, le=2 * FEWEST_OF_A_DIGIT)] = 12
    """Number of images in total, half of them of each class."""


class DescentSettings(Section):
    """``[train]``: gradient descent on the logistic loss mean log(1 + exp(−y f))."""

    steps: Annotated[int, Field(ge=1, le=10**6)] = 500
    """Steps of each trajectory: one of gradient descent on all samples, one of SGD."""
    batch_size: Annotated[int, Field(ge=1)] = 4
    """Batch size of SGD. Both networks see the same batches."""
    late_steps: Annotated[int, Field(ge=1, le=10**6)] = 300
    """Further full-batch steps of size 0.1 L / ‖∇L‖², to reach late times. Skipped until the classes are separated."""


class EmbeddingSpec(StudySpec):
    """An embedding sweep. Everything is computed in float64."""

    study: Literal["embedding"] = "embedding"
    sweep: EmbeddingAxes
    network: WiringSettings = WiringSettings()
    splitting: SplittingSettings = SplittingSettings()
    data: DigitSettings = DigitSettings()
    train: DescentSettings = DescentSettings()

    @property
    def networks(self) -> dict[str, Case]:
        """Wiring, width factor and learning rate of each network by its name, such as ``densenet-x2-lr0.1``."""
        return {
            f"{wiring}-x{factor}-lr{rate!r}": (wiring, factor, rate)
            for wiring in self.sweep.networks
            for factor in self.sweep.width_factors
            for rate in self.sweep.learning_rates
        }

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if self.train.batch_size > self.data.samples:
            refuse("train.batch_size", self.train.batch_size, f"must be at most data.samples = {self.data.samples}")
        if self.network.blocks > (most := most_blocks(self.data.side, self.data.side)):
            reason = f"images of data.side = {self.data.side} have room for at most {most} blocks, which halve them"
            refuse("network.blocks", self.network.blocks, reason)
        values = self.splitting.values
        for factor in self.sweep.width_factors:
            if values is not None and len(values) != factor:
                reason = (
                    f"must have as many values as the width factor {factor} (sweep.width_factors), not {len(values)}"
                )
                refuse("splitting.values", list(values), reason)
        return self


def weight_sizes(spec: EmbeddingSpec, wiring: WiringName, depth: int, factor: int) -> Iterator[tuple[int, int]]:
    """Yield the number of weights and the number of output pixels of each layer of the wide network."""
    network, pixels = spec.network, spec.data.side**2
    if wiring != "densenet":
        filters, width = (9, network.channels * factor) if wiring == "convolutional" else (1, network.neurons * factor)
        positions = pixels if filters > 1 else 1
        yield filters * width * (1 if filters > 1 else pixels), positions
        yield from [(filters * width**2, positions)] * (depth - 1)
        yield width, 1
        return
    sources, growth = sources_of(ARCHITECTURES["densenet"], network.connectivity, network.window), network.growth_rate
    first = 2 * growth
    yield 9 * first * factor, pixels
    for block in range(network.blocks):
        widths = [first, *[growth] * depth]
        for layer in range(depth):
            yield 9 * growth * sum(widths[k] for k in sources(layer)) * factor**2, pixels
        first = max(1, int(sum(widths) * network.compression))
        last = block == network.blocks - 1
        yield (sum(widths) * factor, 1) if last else (sum(widths) * first * factor**2, pixels)
        pixels //= 4


def estimate(spec: EmbeddingSpec, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
    """Estimate a run. Parameters are those of the wide network, which dominates the work besides a fixed cost per layer."""
    wiring, factor, _ = spec.networks[point.network]
    sizes = list(weight_sizes(spec, wiring, point.depth, factor))
    parameters, samples = sum(size for size, _ in sizes), spec.data.samples
    passes = spec.train.steps * (1 + spec.train.batch_size / samples) + spec.train.late_steps
    products = samples * sum(size * pixels for size, pixels in sizes)
    return Estimate(
        parameters=parameters,
        memory_bytes=8
        * parameters
        * (3 * samples + 16),  # gradients of all samples, their QR factors, and copies of theta
        work=float(passes * (products + 2e5 * len(sizes))),
    )


_vanishing = partial(Quantity, better="lower", range="positive")
_predicted = partial(_vanishing, table=PREDICTED)
_rounding = partial(Quantity, range="positive", table=ROUNDING_TWIN)
_late = partial(Quantity, range="positive", table=MARGINS)

EMBEDDING = Study(
    name="embedding",
    title="Does a wide network that was split from a narrow one train like it?",
    spec=EmbeddingSpec,
    runner="dnlbench.runners.embedding:EmbeddingRunner",
    quantities=(
        _vanishing(name="deviation", label="trajectory difference", bound=TRAJECTORY_BOUND),
        _vanishing(name="deviation_sgd", label="SGD difference", bound=TRAJECTORY_BOUND),
        _vanishing(name="kkt_difference", label="KKT difference", bound=KKT_BOUND),
        _predicted(name="function_start", label="initial function", bound=TRAJECTORY_BOUND),
        _predicted(name="gradient_start", label="initial gradient", bound=TRAJECTORY_BOUND),
        _predicted(name="gradient_apart", label="gradient", bound=KKT_BOUND),
        _predicted(name="loss_apart", label="loss", bound=KKT_BOUND),
        _predicted(name="margin_apart", label="margins", bound=KKT_BOUND),
        Quantity(name="margin", label="normalized margin", table=PREDICTED),
        _rounding(name="perturbation", label="trajectory"),
        _rounding(name="perturbation_sgd", label="SGD trajectory"),
        _late(name="kkt_residual", label="KKT residual"),
        _late(name="kkt_residual_wide", label="KKT residual, wide"),
        _late(name="stationarity", label="stationarity"),
        _late(name="slackness", label="slackness"),
        _late(name="late_loss", label="loss"),
        _late(name="deviation_late", label="trajectory difference"),
    ),
    estimate=estimate,
    to_save_memory="smaller width factors, smaller depths or fewer data.samples",
    workload_version=1,
)
