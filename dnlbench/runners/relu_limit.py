"""Runs of the relu-limit study."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from dnlbench.dnl import relu
from dnlbench.dnl.near_identity import Decay, LayerForm, draw_directions, near_identity
from dnlbench.events import DataInfo
from dnlbench.plan import Run
from dnlbench.runners.measuring import Check, Measurements, MeasuringRunner, derived_seed, normal, tensors_sha256
from dnlbench.studies.relu_limit import AT_ONCE, RELU_LIMIT, ReluLimitSpec, ReluName

EXPLICIT_TOLERANCE = 1e-12
"""Largest difference between the explicit form and the recursion, relative to the largest state or point: rounding only."""


class ExplicitFormError(Exception):
    """The states of the explicit form differ from those of the recursion."""


class ReluLimitRunner(MeasuringRunner[ReluLimitSpec]):
    """Compares the states of a network with those of the same network continued to twice the depth."""

    @cached_property
    def data(self) -> DataInfo:
        """The points of seed 0. Their hash shows whether the random generators still produce the same numbers."""
        settings = self.spec.network
        return DataInfo(
            name="random points",
            sha256=tensors_sha256(self._points(0)),
            samples=self.spec.data.points,
            input_shape=(1, settings.positions, settings.channels),
            classes=None,
        )

    @torch.no_grad()
    def measure(self, run: Run, check: Check) -> Measurements:
        name, L = self.spec.networks[run.point.network], run.point.depth
        weights, biases = self._decays(name)
        network = self._network(name, run.seed, 2 * L)
        x = relu.states(network, self._points(run.seed))
        at_depth, continued = x[L], x[2 * L]
        measured: dict[str, float | tuple[float, ...]] = {
            "change": _largest(continued - at_depth),
            "state_size": _largest(at_depth),
            "weight_sum": float(weights.norms(L).sum()),
            "bias_sum": float(biases.norms(L).sum()),
            **self._theory(name, weights, biases),
        }
        if not x.isfinite().all():
            return measured  # diverged
        check()  # the rest takes most of the time
        active = relu.activations(x)
        domains = relu.find_domains(active)
        explicit = relu.explicit_states(network, active, domains, x[0], at_once=AT_ONCE)
        return measured | {
            "domains": float(domains.count[L - 1]),
            "domains_of_layers": tuple(float(domains.count[k - 1]) for k in (2**j for j in range(L.bit_length()))),
            "stable_share": relu.stable_fraction(active[L:]),
            "explicit_error": self._deviation(explicit, x),
        }

    def _theory(self, name: ReluName, weights: Decay, biases: Decay) -> Measurements:
        """Return the index of theory's verdict about a network, and the expected order if there is one."""
        (depth_fit,) = RELU_LIMIT.fits
        assert depth_fit.verdict is not None
        exponents, gain = (weights.effective_exponent, biases.effective_exponent), self.spec.network.gain
        order = relu.expected_order(*exponents, name.direction, gain=gain)
        condition = relu.condition(*exponents, gain=gain)
        return {
            "condition": float(depth_fit.verdict.by_theory.index(condition)),
            **({} if order is None else {"expected_order": order}),
        }

    def _deviation(self, explicit: Tensor, x: Tensor) -> float:
        """Return the error of the explicit last states, relative to the largest of them or of the points.

        Raises:
            ExplicitFormError: if it exceeds rounding.
        """
        deviation = _largest(explicit - x[-1]) / max(_largest(x[-1]), _largest(x[0]))
        if not deviation <= EXPLICIT_TOLERANCE:
            raise ExplicitFormError(
                f"the explicit form differs from the recursion by {deviation:.1e} of the largest state; rounding should stay "
                f"below {EXPLICIT_TOLERANCE:.0e}. Choose smaller sweep.depths, network.gain or network.weight_scale"
            )
        return deviation

    def _network(self, name: ReluName, seed: int, layers: int) -> relu.ReluNetwork:
        settings = self.spec.network
        form = LayerForm(
            kind=name.kind,
            positions=settings.positions,
            channels=settings.channels,
            filter_size=settings.filter,
            padding=settings.padding,
        )
        stream = derived_seed(seed, f"{name.kind} {name.direction} directions")
        directions = draw_directions(form, name.direction, layers=layers, seed=stream)
        weights, biases = self._decays(name)
        network = near_identity(directions, weights=weights, biases=biases, gain=settings.gain)
        return relu.ReluNetwork(W=network.W.to(self.device), b=network.b.to(self.device))

    def _decays(self, name: ReluName) -> tuple[Decay, Decay]:
        settings = self.spec.network
        return (
            Decay(scale=settings.weight_scale, exponent=name.exponent),
            Decay(scale=settings.bias_scale, exponent=name.bias_exponent),
        )

    def _points(self, seed: int) -> Tensor:
        settings = self.spec.network
        shape = (self.spec.data.points, settings.positions * settings.channels)
        return normal(shape, derived_seed(seed, "points")).to(self.device)


def _largest(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dim=-1).max())
