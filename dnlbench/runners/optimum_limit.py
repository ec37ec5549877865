"""Runs of the optimum-limit study."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

from dnlbench.dnl.curves import random_curves
from dnlbench.dnl.extension import distances, prolong, sample
from dnlbench.dnl.learning import LearningProblem, Minimum, minimise
from dnlbench.dnl.parameters import Arrays
from dnlbench.dnl.vector import VectorForm
from dnlbench.events import DataInfo
from dnlbench.plan import Run
from dnlbench.runners.measuring import Measurements, MeasuringRunner, PutAsideError, derived_seed, tensors_sha256
from dnlbench.runners.problems import load_digit_images, pose_problem
from dnlbench.studies.optimum_limit import OptimumLimitSpec

Aside = Callable[[], bool]


class OptimumLimitRunner(MeasuringRunner):
    """Minimises along a chain of doubled depths, and from scratch.

    What the chain found at smaller depths is remembered, so a worker that has done the deepest run of a seed has the others.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.spec = cast(OptimumLimitSpec, self.plan.spec)
        self._chain: dict[tuple[str, int, int], Minimum] = {}
        """By network, seed and depth."""

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

    def measure(self, run: Run, aside: Aside) -> Measurements:
        """See `MeasuringRunner`."""
        network, seed, depth = run.point.network, run.seed, run.point.depth
        best = self._minimum(network, seed, depth, aside)
        found = {
            "optimal_value": best.value,
            "data_loss": best.data_loss,
            "regulariser": best.regulariser,
            "gradient_norm": best.gradient_norm,
            "iterations": float(best.iterations),
            "evaluations": float(best.evaluations),
            "converged": float(best.converged),
        }
        scratch = self._minimise(network, seed, self._start(network, seed, depth, "scratch"), aside)
        found |= {"scratch_value": scratch.value, "scratch_iterations": float(scratch.iterations)}
        if depth > self.spec.minimiser.first_depth:
            half = self._minimum(network, seed, depth // 2, aside)
            far = distances(half.arrays, best.arrays)
            found |= {"distance": sum(far.values()), **{f"distance_{name}": value for name, value in far.items()}}
        return {**found, "values": best.values, "scratch_values": scratch.values}

    def _minimum(self, network: str, seed: int, depth: int, aside: Aside) -> Minimum:
        """The chain's minimiser at a depth."""
        key = (network, seed, depth)
        if key not in self._chain:
            if depth == self.spec.minimiser.first_depth:
                starts = range(self.spec.minimiser.starts)
                found = [
                    self._minimise(network, seed, self._start(network, seed, depth, f"start {number}"), aside)
                    for number in starts
                ]
                self._chain[key] = min(found, key=lambda minimum: minimum.value)
            else:
                half = self._minimum(network, seed, depth // 2, aside)
                self._chain[key] = self._minimise(network, seed, prolong(half.arrays), aside)
        return self._chain[key]

    def _minimise(self, network: str, seed: int, start: Arrays, aside: Aside) -> Minimum:
        def check() -> None:
            if aside():
                raise PutAsideError

        settings = self.spec.minimiser
        return minimise(
            self._problem(network, seed),
            start,
            tolerance=settings.tolerance,
            max_iterations=settings.max_iterations,
            check=check,
        )

    def _problem(self, network: str, seed: int) -> LearningProblem:
        kernel, activation = self.spec.networks[network]
        settings = self.spec.network
        form = VectorForm(kernel=kernel, activation=activation, bandwidth=settings.bandwidth, slope=settings.slope)
        x0, loss = pose_problem(self.spec, seed)
        return LearningProblem(form=form, x0=x0.to(self.device), loss=loss, weight=self.spec.objective.weight)

    def _start(self, network: str, seed: int, depth: int, stream: str) -> Arrays:
        """Samples of random smooth curves."""
        kernel, _ = self.spec.networks[network]
        settings, curves = self.spec.network, self.spec.curves
        random = random_curves(
            kernel,
            positions=settings.positions,
            channels=settings.channels,
            seed=derived_seed(seed, f"{stream} {depth}"),
            modes=curves.modes,
            scale=curves.scale,
            device=self.device,
        )
        return sample(random, depth)
