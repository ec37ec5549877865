"""The forward-limit study: at what rate do networks with smooth parameters approach their integral equation?

With the parameters of Eq. (1) sampled from smooth curves, Corollary 5 of arXiv 2510.02049 says that
``max_l ‖x^l − x(t_l)‖ <= C / L``, where ``x`` solves Eq. (7) with these curves. Each run draws curves and a few inputs from
its seed and measures that error at one depth; the orders between depths are what the corollary is tested with. It is an upper
bound: an order above 1 agrees with it.

Rough curves (``curves.roughness``) are controls. The corollary says nothing of them, and a study that could show no other
order than 1 would test nothing.
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
"""The measurement that marks the runs of which Corollary 5 says nothing: 1."""


def rough_time(steps: int) -> Fraction:
    """``t_0`` near ½: a fraction over the smallest odd prime that does not divide ``steps``.

    No grid whose depth divides ``steps`` has it as a point. Its distance from such grids stays the same share of the step, or
    takes turns, as depths double.
    """
    prime = 3
    while steps % prime == 0 or any(prime % factor == 0 for factor in range(3, prime, 2)):
        prime += 2
    return Fraction(prime // 2, prime)


class ForwardCurveSettings(CurveSettings):
    """``[curves]``, with a rough part where asked for."""

    roughness: Annotated[Roughness, Added(before="smooth")] = "smooth"
    """Rough function of t to add to all parameters: none, a kink, a square root, a Weierstrass function of exponent ½, or a
    jump."""


class ReferenceSettings(Section):
    """``[reference]``: the solution of Eq. (7) that the states are compared with.

    For rough curves its grids are finer by the factor that makes the rough place a point of them: 3, or the next prime that
    does not divide ``steps``.
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
        """Of the coarsest grid: finer for rough curves, so that the rough place is a point of it."""
        smooth = self.curves.roughness == "smooth"
        return self.reference.steps * (1 if smooth else rough_time(self.reference.steps).denominator)

    @model_validator(mode="after")
    def _depths_divide_the_reference(self) -> Self:
        steps = self.reference.steps
        bad = [depth for depth in self.sweep.depths if steps % depth]
        if bad:
            reason = (
                f"must be a multiple of every depth, to compare states on its grid; depth {bad[0]} does not divide it"
            )
            refuse("reference.steps", steps, reason)
        return self


def estimate(spec: ForwardLimitSpec, point: Point, shape: InputShape | None, classes: int | None) -> Estimate:
    """Foresees a run: the work of all pairs of layers, and that of the reference, which runs share as it happens."""
    kernel, _ = spec.networks[point.network]
    finest = spec.reference_steps * 2 ** (spec.reference.levels - 1)
    d = spec.network.positions * spec.network.channels
    return Estimate(
        parameters=parameter_count(spec.network, kernel, point.depth),
        memory_bytes=8 * d * d * 3 * max(point.depth, finest),  # A at all times, and the columns of K that are at work
        work=float(point.depth**2 + finest**2 / 10),
    )


_error = partial(Quantity, better="lower", range="positive", mean="geometric")
_assumption = partial(Quantity, range="positive", table=ASSUMPTIONS)

FORWARD_LIMIT = Study(
    name="forward-limit",
    question="At what rate do the states of a network with smooth parameters approach the integral equation?",
    spec=ForwardLimitSpec,
    quantities=(
        _error(name="error_max", label="largest error"),
        _error(name="error_end", label="error of the last state"),
        _assumption(name="state_seen", label="largest state"),
        _assumption(name="state_bound", label="bound of Lemma 2"),
        _assumption(name="lipschitz_seen", label="Lipschitz of N seen"),
        _assumption(name="lipschitz_bound", label="Lipschitz bound"),
        _assumption(name="growth_seen", label="growth of N seen"),
        _assumption(name="growth_bound", label="growth bound"),
        _assumption(name="reference_error", label="error of the solution"),
        _assumption(name="sigma_lipschitz", label="Lipschitz of sigma"),
        _assumption(name="state_bound_sharp", label="Lemma 2 as a recursion"),
    ),
    estimate=estimate,
    to_save_memory="smaller depths, fewer network.positions or fewer network.channels",
    fits=(
        DepthFit(quantity="error_max", model="power", expected_order=1.0, at_least=True, unless=OUTSIDE),
        DepthFit(quantity="error_end", model="power", expected_order=1.0, at_least=True, unless=OUTSIDE),
    ),
    workload_version=1,
)
