"""Runs of the optimum-limit study."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

from dnlbench.dnl.extension import distances, prolong, sample
from dnlbench.dnl.learning import LearningProblem, Minimum, minimise
from dnlbench.dnl.parameters import Arrays
from dnlbench.events import DataInfo
from dnlbench.plan import Run
from dnlbench.runners.digits import load_digit_images
from dnlbench.runners.measuring import Check, Measurements, MeasuringRunner, derived_seed, tensors_sha256
from dnlbench.runners.vector import curves_of, form_of, pose_problem
from dnlbench.studies.optimum_limit import PAIRS, OptimumLimitSpec


class NotMinimizedError(Exception):
    """What was found is no minimum, and so nothing that a limit could be taken of."""


class OptimumLimitRunner(MeasuringRunner[OptimumLimitSpec]):
    """Minimises along a chain of doubled depths, and from scratch.

    What the chain found at smaller depths is remembered, so a worker that has done the deepest run of a seed has the others.
    """

    @cached_property
    def _chain(self) -> dict[tuple[str, int, int], Minimum]:
        return {}

    @cached_property
    def data(self) -> DataInfo:
        """The inputs of seed 0, which tell whether the generators give what they gave; and all digits."""
        settings, problem = self.spec.network, self.spec.data.problem
        inputs, _ = pose_problem(self.spec, 0)
        more = load_digit_images() if problem == "digits" else ()
        return DataInfo(
            name=problem,
            sha256=tensors_sha256(inputs, *more),
            samples=len(inputs),
            input_shape=(1, settings.positions, settings.channels),
            classes=None,
        )

    def measure(self, run: Run, check: Check) -> Measurements:
        network, seed, depth = run.point.network, run.seed, run.point.depth
        best = self._minimum(network, seed, depth, check)
        found = {
            "optimal_value": best.value,
            "data_loss": best.data_loss,
            "regulariser": best.regulariser,
            "gradient_norm": best.gradient_norm,
            "iterations": float(best.iterations),
            "evaluations": float(best.evaluations),
            "converged": float(best.converged),
        }
        scratch = self._minimise(network, seed, self._start(network, seed, depth, "scratch"), check)
        found |= {"scratch_value": scratch.value, "scratch_iterations": float(scratch.iterations)}
        found["scratch_converged"] = float(scratch.converged)
        if depth > self.spec.minimiser.first_depth:
            half = self._minimum(network, seed, depth // 2, check)
            far = distances(half.arrays, best.arrays)
            found |= {"distance": sum(far.values()), **{f"distance_{name}": value for name, value in far.items()}}
        return {**found, "values": best.values, "scratch_values": scratch.values}

    def _minimum(self, network: str, seed: int, depth: int, check: Check) -> Minimum:
        key = (network, seed, depth)
        if key not in self._chain:
            self._chain[key] = self._checked(min(self._candidates(*key, check), key=_rank), depth)
        return self._chain[key]

    def _candidates(self, network: str, seed: int, depth: int, check: Check) -> Iterator[Minimum]:
        if depth > self.spec.minimiser.first_depth:
            half = self._minimum(network, seed, depth // 2, check)
            yield self._minimise(network, seed, prolong(half.arrays), check)
            return
        for number in range(self.spec.minimiser.starts):
            start = self._start(network, seed, depth, f"start {number}")
            yield self._minimise(network, seed, start, check)

    def _checked(self, minimum: Minimum, depth: int) -> Minimum:
        if minimum.iterations < self.spec.minimiser.max_iterations:
            return minimum
        raise NotMinimizedError(
            f"minimiser.max_iterations = {minimum.iterations} were used up at depth {depth} with J_L = {minimum.value:.6g}, "
            f"where the gradient's norm is {minimum.gradient_norm:.1e}; allow more of them"
        )

    def _minimise(self, network: str, seed: int, start: Arrays, check: Check) -> Minimum:
        settings = self.spec.minimiser
        return minimise(
            self._problem(network, seed),
            start,
            tolerance=settings.tolerance,
            max_iterations=settings.max_iterations,
            pairs=PAIRS,
            check=check,
        )

    def _problem(self, network: str, seed: int) -> LearningProblem:
        x0, loss = pose_problem(self.spec, seed)
        return LearningProblem(
            form=form_of(self.spec, network), x0=x0.to(self.device), loss=loss, weight=self.spec.objective.weight
        )

    def _start(self, network: str, seed: int, depth: int, stream: str) -> Arrays:
        return sample(curves_of(self.spec, network, derived_seed(seed, f"{stream} {depth}"), self.device), depth)


def _rank(minimum: Minimum) -> tuple[bool, float]:
    """Values by size, and those that are no numbers last."""
    return math.isnan(minimum.value), minimum.value
