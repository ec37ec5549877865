"""The optimum-limit study: do optimal values and minimizers of the learning problem converge as depth grows?

Theorem 1 of arXiv 2510.02049: with the regularizer ``R_L`` the optimal values ``J_L*`` of Eq. (4) converge to that of the
continuous problem, and the extended minimizers converge along subsequences. Each run computes a minimizer at one depth in two
ways: along the chain of depths ``first, 2 first, 4 first, …``, where each depth starts from the prolonged minimizer of the
previous one, and from scratch for comparison. The run includes its chain, so the result does not depend on the other depths of
the sweep.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dnlbench.studies.axes import Depth
from dnlbench.studies.base import DepthFit, Estimate, InputShape, Point, Quantity, Section, Study, refuse
from dnlbench.studies.vector import CurveSettings, VectorSettings, VectorSpec, parameter_count

DISTANCES = "Distance between the extended minimizers at depth L and at half the depth"
PAIRS = 20
"""Pairs of steps and gradient changes that L-BFGS stores."""
IMAGE_SIDE = 8
"""Side of the digits in pixels."""
IMAGES = 1797
"""Number of available digits."""
DIGITS = 10
"""Minimum size of a state: the output layer has an orthonormal row for each class."""


class ProblemSettings(Section):
    """``[data]``: the learning problem."""

    problem: Literal["regression", "digits"] = "regression"
    """Fit a smooth random function by mean squared error, or classify handwritten digits by cross-entropy."""
    samples: Annotated[int, Field(ge=1, le=10**5)] = 64
    """Number of samples; at most 1,797 digits."""


class ObjectiveSettings(Section):
    """``[objective]``: Eq. (4)."""

    weight: Annotated[float, Field(gt=0)] = 1e-3
    """λ, the weight of the regularizer R_L."""


class MinimizerSettings(Section):
    """``[minimiser]``: L-BFGS in coordinates in which the regularizer is a squared norm."""

    first_depth: Depth = 4
    """First depth of the chain. Every depth must be this times a power of two."""
    starts: Annotated[int, Field(ge=1, le=1000)] = 4
    """Random starting points at the first depth. The chain continues from the best minimizer."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-9
    """Stop when an iteration lowers J_L by less than tolerance × max(1, J_L)."""
    max_iterations: Annotated[int, Field(ge=1, le=10**6)] = 2000
    """Maximum number of L-BFGS iterations at each depth."""


class OptimumLimitSpec(VectorSpec):
    """An optimum-limit sweep."""

    study: Literal["optimum-limit"] = "optimum-limit"
    network: VectorSettings = VectorSettings(positions=2, channels=2)
    data: ProblemSettings = ProblemSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    minimiser: MinimizerSettings = MinimizerSettings()
    curves: CurveSettings = CurveSettings(scale=0.5)

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        first = self.minimiser.first_depth
        for depth in self.sweep.depths:
            if depth % first or not math.log2(depth // first).is_integer():
                refuse(
                    "sweep.depths",
                    list(self.sweep.depths),
                    f"{depth} is not a power of two times minimiser.first_depth = {first}; depths are reached by doubling",
                )
        if self.data.problem == "digits":
            self._check_digits()
        return self

    def _check_digits(self) -> None:
        if self.data.samples > IMAGES:
            refuse("data.samples", self.data.samples, f"must be at most {IMAGES}, the number of digits")
        rows, columns = math.isqrt(self.network.positions), math.isqrt(self.network.channels)
        square = rows**2 == self.network.positions and columns**2 == self.network.channels
        if not square or IMAGE_SIDE % (rows * columns) or (rows * columns) ** 2 < DIGITS:
            refuse(
                "network.positions",
                self.network.positions,
                f"does not fit digits with network.channels = {self.network.channels}: each position is a square patch of an "
                "image of 4×4 or 8×8 pixels, one pixel per channel; use 4 or 16 positions with 4 channels",
            )


def estimate(spec: OptimumLimitSpec, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
    """Estimate a run: all pairs of layers along the chain and from scratch, plus a cost for each layer."""
    kernel, _ = spec.networks[point.network]
    parameters = parameter_count(spec.network, kernel, point.depth)
    chain = [
        spec.minimiser.first_depth * 2**j for j in range(int(math.log2(point.depth // spec.minimiser.first_depth)) + 1)
    ]
    starts = spec.minimiser.starts * spec.minimiser.first_depth
    return Estimate(
        parameters=parameters,
        memory_bytes=8 * parameters * (2 * PAIRS + 12),  # L-BFGS pairs; arrays, coordinates, gradients and temporaries
        work=float(sum(depth * (depth + 20) for depth in [*chain, point.depth]) + starts * 20),
    )


_value = partial(Quantity, range="positive")  # neither direction is better: the minimizer is another one
_distance = partial(_value, table=DISTANCES)

OPTIMUM_LIMIT = Study(
    name="optimum-limit",
    title="Do the optimal values and minimizers of the learning problem converge as depth grows?",
    spec=OptimumLimitSpec,
    runner="dnlbench.runners.optimum_limit:OptimumLimitRunner",
    quantities=(
        _value(name="optimal_value", label="optimal value J_L*"),
        _value(name="scratch_value", label="J_L from scratch"),
        _value(name="data_loss", label="data loss at the minimizer"),
        _value(name="regulariser", label="R_L at the minimizer"),
        _value(name="iterations", label="iterations", shown_as="count"),
        _value(name="scratch_iterations", label="iterations from scratch", shown_as="count"),
        _distance(name="distance", label="sum of distances"),
        _distance(name="distance_K", label="K (L²)"),
        *(_distance(name=f"distance_{name}", label=f"{name} (sup)") for name in ("A", "b", "V", "Q", "R")),
    ),
    estimate=estimate,
    to_save_memory="smaller depths, fewer network.positions or fewer network.channels",
    fits=(DepthFit(quantity="optimal_value", model="curve-limit"),),
    plotted=("distance",),
    workload_version=1,
)
