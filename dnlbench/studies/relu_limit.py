"""The relu-limit study: do deep ReLU networks of fixed width converge as layers are added?

``x_n = ReLU(W_n x_{n-1} + b_n)`` with ``W_n = I + P_n``, where ``‖P_n‖`` and ``‖b_n‖`` fall like ``n^-a``. By arXiv 2107.12530
such a network converges at every point if both norms are summable, and can converge only if ``W_n → I`` and ``b_n → 0``.
Each run draws a network and points from its seed and measures ``|x_2L − x_L|`` at one depth ``L``. The order is fitted over the
depths and compared with these conditions. Equal seeds have equal directions of ``P_n`` and ``b_n`` for all exponents, and the
network of depth ``L`` consists of the first layers of all deeper ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dnlbench.architecture import Direction, Padding, WeightKind
from dnlbench.stats import Interval
from dnlbench.studies.axes import Axes, Axis, Depths, Seeds, distinct
from dnlbench.studies.base import (
    ORDER_TOLERANCE,
    DepthFit,
    Estimate,
    InputShape,
    Point,
    Quantity,
    Section,
    Study,
    StudySpec,
    Verdict,
)

SUMS = "Conditions of the theory, and error of the explicit form"
AT_ONCE = 2**18
"""Maximum number of values of matrix products in memory at a time (two megabytes), since allocating more is slow. A single
domain may need more."""
_MOST_NUMBERS = 1024

Exponent = Annotated[float, Field(gt=0, le=64)]
"""Exponent a of norms that fall like n^-a."""


class ReluAxes(Axes):
    """``[sweep]``: every kind of weights, with every direction and exponent, at every depth with every seed."""

    weights: Axis[WeightKind]
    """dense: a matrix on all numbers of a state; conv: a filter over its positions."""
    exponents: Axis[Exponent]
    """a of ‖P_n‖ ~ n^-a. A network is called, for example, dense-a0.5."""
    bias_exponents: Annotated[tuple[Exponent, ...], AfterValidator(distinct)] = ()
    """a of ‖b_n‖ ~ n^-a. Empty: the same exponent as the weights."""
    directions: Axis[Direction] = ("independent",)
    """Draw the directions of P_n and b_n independently in each layer, or use one fixed direction for all layers."""
    depths: Depths
    """Number of layers, L. States are compared with those at depth 2 L."""
    seeds: Seeds = (0, 1, 2)
    """A list, or a count n for the seeds 0 … n − 1. Each seed draws its own network and points."""


class ReluSettings(Section):
    """``[network]``: settings of all networks of the sweep. Their width is ``positions`` × ``channels``."""

    positions: Annotated[int, Field(ge=1, le=_MOST_NUMBERS)] = 3
    """Positions of a state. The width is positions × channels."""
    channels: Annotated[int, Field(ge=1, le=_MOST_NUMBERS)] = 2
    """Numbers at each position of a state."""
    filter: Annotated[int, Field(ge=1, le=_MOST_NUMBERS)] = 3
    """Positions that a convolution reads."""
    padding: Padding = "zeros"
    """Values beyond the ends of a state: zeros, or the other end (circular)."""
    weight_scale: Annotated[float, Field(ge=0)] = 0.3
    """‖P_1‖, a spectral norm."""
    bias_scale: Annotated[float, Field(ge=0)] = 0.3
    """‖b_1‖, the norm over all numbers of a state. 0: no biases."""
    gain: Annotated[float, Field(gt=0)] = 1.0
    """g of W_n = g I + P_n. The necessary condition of the theory fails unless g = 1."""


class CloudSettings(Section):
    """``[data]``: the points x_0, normal random numbers."""

    points: Annotated[int, Field(ge=1, le=4096)] = 128
    """Number of points x_0, drawn from a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class ReluName:
    """The properties in a network's name, such as ``conv-a1.5``, ``conv-fixed-a1.5`` and ``dense-a1-b2``."""

    kind: WeightKind
    direction: Direction
    exponent: float
    bias_exponent: float
    has_bias_exponent: bool

    @property
    def text(self) -> str:
        direction = "" if self.direction == "independent" else f"-{self.direction}"
        bias = f"-b{_plain(self.bias_exponent)}" if self.has_bias_exponent else ""
        return f"{self.kind}{direction}-a{_plain(self.exponent)}{bias}"


def _plain(value: float) -> str:
    return repr(value).removesuffix(".0")


class ReluLimitSpec(StudySpec):
    """A relu-limit sweep. Everything is computed in float64."""

    study: Literal["relu-limit"] = "relu-limit"
    sweep: ReluAxes
    network: ReluSettings = ReluSettings()
    data: CloudSettings = CloudSettings()

    @property
    def networks(self) -> dict[str, ReluName]:
        axes = self.sweep
        names = (
            ReluName(
                kind=kind,
                direction=direction,
                exponent=exponent,
                bias_exponent=exponent if bias is None else bias,
                has_bias_exponent=bias is not None,
            )
            for kind in axes.weights
            for direction in axes.directions
            for exponent in axes.exponents
            for bias in axes.bias_exponents or (None,)
        )
        return {name.text: name for name in names}


def estimate(spec: ReluLimitSpec, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
    """Estimate a run: matrices, states and activations of twice the depth, and matrix products."""
    settings, layers = spec.network, 2 * point.depth
    d = settings.positions * settings.channels
    dense = spec.networks[point.network].kind == "dense"
    layer = d * (d + 1) if dense else settings.channels * (settings.filter * settings.channels + 1)
    matrices, cloud = layers * d * d, layers * d * spec.data.points
    products = max(matrices, min(AT_ONCE, matrices * spec.data.points))
    return Estimate(
        parameters=point.depth * layer,
        memory_bytes=8 * (4 * matrices + cloud + 3 * products) + 3 * cloud,
        work=layers * (20.0 + d**3 / 10 + spec.data.points * d**2 / 100) + 1000,
    )


def _observed(order: Interval) -> str:
    falls = order.estimate > ORDER_TOLERANCE and (order.low is None or order.low > 0)
    return "converging" if falls else "not seen to converge"


_quantity = partial(Quantity, range="positive")  # neither direction is better

RELU_LIMIT = Study(
    name="relu-limit",
    title="Do deep ReLU networks of fixed width converge as layers are added?",
    spec=ReluLimitSpec,
    runner="dnlbench.runners.relu_limit:ReluLimitRunner",
    quantities=(
        _quantity(name="change", label="|x_2L − x_L|", mean="geometric"),
        _quantity(name="domains", label="activation domains", shown_as="count"),
        _quantity(name="stable_share", label="units stable after L", shown_as="percent", range="fraction"),
        _quantity(name="weight_sum", label="sum of ‖P_n‖", table=SUMS),
        _quantity(name="bias_sum", label="sum of ‖b_n‖", table=SUMS),
        _quantity(name="state_size", label="largest |x_L|", table=SUMS),
        _quantity(name="explicit_error", label="error of explicit form", tolerance=1e4, table=SUMS),  # rounding
    ),
    estimate=estimate,
    to_save_memory="smaller depths, fewer data.points, network.positions or network.channels",
    fits=(
        DepthFit(
            quantity="change",
            model="power",
            expected_from="expected_order",
            verdict=Verdict(
                observed=_observed,
                rule="convergence requires p above 0.1 and an interval above 0; the fit assumes a power of L",
                measured_as="condition",
                by_theory=("excluded", "possible", "guaranteed"),
            ),
        ),
    ),
    workload_version=1,
)
