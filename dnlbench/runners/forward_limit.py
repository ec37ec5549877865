"""Runs of the forward-limit study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from dnlbench.architecture import Roughness
from dnlbench.dnl.assumptions import assess
from dnlbench.dnl.curves import Curves
from dnlbench.dnl.limit import forward_errors, solve_limit
from dnlbench.dnl.vector import VectorForm, states
from dnlbench.dnl.volterra import VolterraSolution
from dnlbench.events import DataInfo
from dnlbench.plan import Run
from dnlbench.runners.measuring import Check, Measurements, MeasuringRunner, derived_seed, normal, tensors_sha256
from dnlbench.runners.vector import curves_of, form_of
from dnlbench.studies.forward_limit import OUTSIDE, ForwardLimitSpec, rough_time

REFERENCE_TOLERANCE = 0.1
"""Largest error of the reference solution, relative to the error of the network that is measured with it."""

POWERS: dict[Roughness, Sequence[float] | None] = {
    "smooth": None,
    "kink": None,
    "sqrt": (1.5, 2, 2.5, 3, 3.5),
    "hoelder": (),
    "jump": (1, 2, 3, 4, 5),
}
"""Powers of the step in the error of the trapezoidal rule on grids that contain the rough point: Euler and Maclaurin's
formula on each side of it, with an algebraic singularity at one end (I. Navot, Journal of Mathematics and Physics 40, 1961)."""


class InaccurateError(Exception):
    """The reference solution is not accurate enough to measure the error of a network."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The random curves and inputs of one seed for one network, and the solution of its limit equation."""

    form: VectorForm
    curves: Curves
    x0: Tensor
    solution: VolterraSolution


class ForwardLimitRunner(MeasuringRunner[ForwardLimitSpec]):
    """Compares the states of networks of growing depth with the solution of the integral equation."""

    @cached_property
    def _problems(self) -> dict[tuple[str, int], Problem]:
        """Problems by network and seed. Runs of all depths share them."""
        return {}

    @cached_property
    def data(self) -> DataInfo:
        """The inputs of seed 0. Their hash shows whether the random generators still produce the same numbers."""
        settings = self.spec.network
        return DataInfo(
            name="random inputs",
            sha256=tensors_sha256(self._inputs(0)),
            samples=self.spec.data.inputs,
            input_shape=(1, settings.positions, settings.channels),
            classes=None,
        )

    @torch.no_grad()
    def measure(self, run: Run, check: Check) -> Measurements:
        """Measure the errors of a run. It takes about a second, so it is never suspended; see `MeasuringRunner`."""
        problem = self._problem(run.point.network, run.seed)
        x = states(problem.form, problem.curves, problem.x0, depth=run.point.depth)
        errors = forward_errors(x, problem.solution)
        measured: dict[str, float | tuple[float, ...]] = {
            "error_max": float(errors.max()),
            "error_end": float(errors[-1]),
            "errors": tuple(errors.tolist()),
            "reference_error": problem.solution.error,
        }
        if self.spec.curves.roughness != "smooth":
            measured[OUTSIDE] = 1.0
        if not x.isfinite().all():
            return measured  # diverged: the constants of the assumptions hold in a ball only
        if not problem.solution.error <= REFERENCE_TOLERANCE * float(errors.max()):
            raise InaccurateError(
                f"the solution of the integral equation has an error of up to {problem.solution.error:.1e}, too much to "
                f"measure an error of {float(errors.max()):.1e}; raise reference.steps"
            )
        if not problem.solution.error <= REFERENCE_TOLERANCE * float(errors[-1]):
            del measured["error_end"]  # the reference is not accurate enough
        return measured | asdict(assess(problem.form, problem.curves, x))

    def _problem(self, network: str, seed: int) -> Problem:
        if (network, seed) not in self._problems:
            self._problems[network, seed] = self._pose(network, seed)
        return self._problems[network, seed]

    def _pose(self, network: str, seed: int) -> Problem:
        form, reference = form_of(self.spec, network), self.spec.reference
        roughness, t0 = self.spec.curves.roughness, rough_time(reference.steps)
        curves = curves_of(self.spec, network, derived_seed(seed, "curves"), self.device, roughness, float(t0))
        x0, powers = self._inputs(seed), POWERS[roughness]
        steps, levels = self.spec.reference_steps, reference.levels
        solution = solve_limit(form, curves, x0, steps=steps, levels=levels, powers=powers)
        return Problem(form=form, curves=curves, x0=x0, solution=solution)

    def _inputs(self, seed: int) -> Tensor:
        settings = self.spec.network
        shape = (self.spec.data.inputs, settings.positions, settings.channels)
        return normal(shape, derived_seed(seed, "inputs")).to(self.device)
