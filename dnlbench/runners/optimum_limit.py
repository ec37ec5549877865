"""Runs of the optimum-limit study."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

from dnlbench.dnl.extension import distances, prolong, sample
from dnlbench.dnl.learning import LearningProblem, Minimum, minimize
from dnlbench.dnl.parameters import Arrays
from dnlbench.events import DataInfo
from dnlbench.plan import Run
from dnlbench.runners.digits import load_digit_images
from dnlbench.runners.measuring import Check, Measurements, MeasuringRunner, derived_seed, tensors_sha256
from dnlbench.runners.vector import curves_of, form_of, pose_problem
from dnlbench.studies.optimum_limit import PAIRS, OptimumLimitSpec


class NotMinimizedError(Exception):
    """The minimizer stopped before it converged, so the result is not a minimum."""


class OptimumLimitRunner(MeasuringRunner[OptimumLimitSpec]):
    """Minimizes along a chain of doubled depths, and from scratch.

    Minima of smaller depths are cached: a worker that has executed the deepest run of a seed has computed the chains of the
    others.
    """

    @cached_property
    def _chain(self) -> dict[tuple[str, int, int], Minimum]:
        return {}

    @cached_property
    def data(self) -> DataInfo:
        """The inputs of seed 0 and all digits. Their hash shows whether the generators still produce the same numbers."""
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
        measurements = {
            "optimal_value": best.value,
            "data_loss": best.data_loss,
            "regulariser": best.regularizer,
            "gradient_norm": best.gradient_norm,
            "iterations": float(best.iterations),
            "evaluations": float(best.evaluations),
            "converged": float(best.converged),
        }
        scratch = self._minimize(network, seed, self._start(network, seed, depth, "scratch"), check)
        measurements |= {"scratch_value": scratch.value, "scratch_iterations": float(scratch.iterations)}
        measurements["scratch_converged"] = float(scratch.converged)
        if depth > self.spec.minimiser.first_depth:
            half = self._minimum(network, seed, depth // 2, check)
            by_array = distances(half.arrays, best.arrays)
            measurements |= {f"distance_{name}": value for name, value in by_array.items()}
            measurements["distance"] = sum(by_array.values())
        return {**measurements, "values": best.values, "scratch_values": scratch.values}

    def _minimum(self, network: str, seed: int, depth: int, check: Check) -> Minimum:
        key = (network, seed, depth)
        if key not in self._chain:
            self._chain[key] = self._checked(min(self._candidates(*key, check), key=_rank), depth)
        return self._chain[key]

    def _candidates(self, network: str, seed: int, depth: int, check: Check) -> Iterator[Minimum]:
        if depth > self.spec.minimiser.first_depth:
            half = self._minimum(network, seed, depth // 2, check)
            yield self._minimize(network, seed, prolong(half.arrays), check)
            return
        for number in range(self.spec.minimiser.starts):
            start = self._start(network, seed, depth, f"start {number}")
            yield self._minimize(network, seed, start, check)

    def _checked(self, minimum: Minimum, depth: int) -> Minimum:
        if minimum.iterations < self.spec.minimiser.max_iterations:
            return minimum
        raise NotMinimizedError(
            f"not converged at depth {depth} after minimiser.max_iterations = {minimum.iterations}: J_L = "
            f"{minimum.value:.6g}, gradient norm {minimum.gradient_norm:.1e}; raise minimiser.max_iterations"
        )

    def _minimize(self, network: str, seed: int, start: Arrays, check: Check) -> Minimum:
        settings = self.spec.minimiser
        return minimize(
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
    """Sort by value, NaN last."""
    return math.isnan(minimum.value), minimum.value
