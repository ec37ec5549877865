"""The forward-limit study: at what rate do networks with smooth parameters converge to their integral equation?

If the parameters of Eq. (1) are sampled from smooth curves, Corollary 5 of arXiv 2510.02049 states that
``max_l ‖x^l − x(t_l)‖ <= C / L``, where ``x`` solves Eq. (7) with these curves. Each run draws curves and a few inputs from
its seed and measures this error at one depth. The orders between depths test the corollary. It is an upper bound: an order
above 1 agrees with it.

Rough curves (``curves.roughness``) are controls outside the assumptions of the corollary. They show that the study can measure
orders other than 1.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dnlbench.architecture import Roughness
from dnlbench.studies.added import Added
from dnlbench.studies.base import DepthFit, Estimate, InputShape, Point, Quantity, Section, Study, refuse
from dnlbench.studies.vector import CurveSettings, VectorSettings, VectorSpec, parameter_count

ASSUMPTIONS = "Assumptions of the theory, and the bound of Lemma 2"


OUTSIDE = "outside_assumptions"
"""Name of the measurement that marks runs outside the assumptions of Corollary 5. Its value is 1."""


def rough_time(steps: int) -> Fraction:
    """Return ``t_0`` near ½ whose denominator is the smallest odd prime that does not divide ``steps``.

    ``t_0`` is on no grid whose depth divides ``steps``. Its distance from such a grid, relative to the step, is constant or
    alternates as depths double.
    """
    prime = 3
    while steps % prime == 0 or any(prime % factor == 0 for factor in range(3, prime, 2)):
        prime += 2
    return Fraction(prime // 2, prime)


class ForwardCurveSettings(CurveSettings):
    """``[curves]``: smooth curves, optionally with a rough function added."""

    roughness: Annotated[Roughness, Added(before="smooth")] = "smooth"
    """Rough function of t to add to all parameters: none, a kink, a square root, a Weierstrass function of exponent ½, or a
    jump."""


class ReferenceSettings(Section):
    """``[reference]``: the solution of Eq. (7) that the states are compared with.

    For rough curves, the grids are finer so that they contain the rough point, by the smallest odd prime that does not divide
    ``steps``.
    """

    steps: Annotated[int, Field(ge=1, le=2**16)] = 256
    """Steps of the coarsest grid. Must be a multiple of every depth."""
    levels: Annotated[int, Field(ge=2, le=6)] = 3
    """Number of grids, each with half the step. The order is 2 × levels for smooth solutions."""


class InputSettings(Section):
    """``[data]``: the inputs x^0, normal random numbers."""

    inputs: Annotated[int, Field(ge=1, le=4096)] = 4
    """Number of inputs. Errors are the maximum over them."""


class ForwardLimitSpec(VectorSpec):
    """A forward-limit sweep."""

    study: Literal["forward-limit"] = "forward-limit"
    network: VectorSettings = VectorSettings()
    curves: ForwardCurveSettings = ForwardCurveSettings()
    data: InputSettings = InputSettings()
    reference: ReferenceSettings = ReferenceSettings()

    @property
    def reference_steps(self) -> int:
        """Steps of the coarsest grid. It is finer for rough curves, so that it contains the rough point."""
        smooth = self.curves.roughness == "smooth"
        return self.reference.steps * (1 if smooth else rough_time(self.reference.steps).denominator)

    @model_validator(mode="after")
    def _depths_divide_the_reference(self) -> Self:
        steps = self.reference.steps
        bad = [depth for depth in self.sweep.depths if steps % depth]
        if bad:
            reason = f"must be a multiple of every depth, since its grid compares the states; depth {bad[0]} does not divide it"
            refuse("reference.steps", steps, reason)
        return self


def estimate(spec: ForwardLimitSpec, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
    """Estimate a run: the work of all pairs of layers, plus that of the reference, which runs of a seed may share."""
    kernel, _ = spec.networks[point.network]
    finest = spec.reference_steps * 2 ** (spec.reference.levels - 1)
    d = spec.network.positions * spec.network.channels
    return Estimate(
        parameters=parameter_count(spec.network, kernel, point.depth),
        memory_bytes=8 * d * d * 3 * max(point.depth, finest),  # A at all times, and the columns of K in use
        work=float(point.depth**2 + finest**2 / 10),
    )


_error = partial(Quantity, better="lower", range="positive", mean="geometric")
_assumption = partial(Quantity, range="positive", table=ASSUMPTIONS)

FORWARD_LIMIT = Study(
    name="forward-limit",
    title="At what rate do the states of a network with smooth parameters converge to the integral equation?",
    spec=ForwardLimitSpec,
    runner="dnlbench.runners.forward_limit:ForwardLimitRunner",
    quantities=(
        _error(name="error_max", label="largest error"),
        _error(name="error_end", label="error of the last state"),
        _assumption(name="state_seen", label="largest state"),
        _assumption(name="state_bound", label="bound of Lemma 2"),
        _assumption(name="lipschitz_seen", label="Lipschitz of N, measured"),
        _assumption(name="lipschitz_bound", label="Lipschitz of N, bound"),
        _assumption(name="growth_seen", label="growth of N, measured"),
        _assumption(name="growth_bound", label="growth of N, bound"),
        _assumption(name="reference_error", label="error of reference"),
        _assumption(name="sigma_lipschitz", label="Lipschitz of sigma"),
        _assumption(name="state_bound_sharp", label="recursion of Lemma 2"),
    ),
    estimate=estimate,
    to_save_memory="smaller depths, fewer network.positions or fewer network.channels",
    fits=(
        DepthFit(quantity="error_max", model="power", expected_order=1.0, at_least=True, unless=OUTSIDE),
        DepthFit(quantity="error_end", model="power", expected_order=1.0, at_least=True, unless=OUTSIDE),
    ),
    workload_version=1,
)
