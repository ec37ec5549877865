"""Runs of the embedding study."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.embedding.descent import (
    Moment,
    Samples,
    StepSize,
    constant,
    descend,
    distance,
    largest,
    moment,
    perturbed,
    polyak,
    relative,
)
from dnlbench.dnl.embedding.margin import KKT, kkt, normalized_margins
from dnlbench.dnl.embedding.networks import Network, convolutional, densenet, fully_connected
from dnlbench.dnl.embedding.splitting import Splitting, on_the_sphere, split_alike
from dnlbench.events import DataInfo
from dnlbench.plan import Run
from dnlbench.runners.digits import load_digit_images
from dnlbench.runners.measuring import Check, Measurements, MeasuringRunner, derived_seed, tensors_sha256
from dnlbench.studies.embedding import EmbeddingSpec

STEP_FRACTION = 0.1
"""Step size of the late phase, as a fraction of the step that would bring the linearized loss to 0."""
CURVE_POINTS = 64
"""Maximum number of points of a curve over training steps."""
KKT_POINTS = 4
"""Number of points of the curve of KKT residuals in the late phase."""

Values = dict[str, float | tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A narrow network and the wide network that it was split into, with their weights."""

    splitting: Splitting
    narrow: Tensor
    wide: Tensor

    @property
    def starts(self) -> list[tuple[Network, Tensor]]:
        return [(self.splitting.network, self.narrow), (self.splitting.wide, self.wide)]


@dataclass(kw_only=True)
class Gaps:
    """Relative distances between a wide network and the image of the narrow one, at each training step."""

    splitting: Splitting
    weights: list[float] = field(default_factory=list)
    """``‖eta_k − S theta_k‖ / ‖S theta_k‖``."""
    loss: list[float] = field(default_factory=list)
    gradient: list[float] = field(default_factory=list)
    """``‖∇L(eta_k) − S ∇L(theta_k)‖ / ‖S ∇L(theta_k)‖``."""

    def add(self, narrow: Moment, wide: Moment) -> None:
        self.weights.append(distance(wide.theta, self.splitting.embed(narrow.theta)))
        self.loss.append(relative(abs(wide.loss - narrow.loss), narrow.loss))
        self.gradient.append(distance(wide.gradient, self.splitting.embed(narrow.gradient)))

    @property
    def curve(self) -> tuple[float, ...]:
        """The distances of the weights at evenly spaced steps, including the first and the last."""
        return tuple(self.weights[index] for index in spread(len(self.weights), CURVE_POINTS))


@dataclass(frozen=True, kw_only=True)
class Training:
    """Gradient descent of both networks."""

    gaps: Gaps
    twin_distances: list[float]
    """Relative distance between the narrow network and its rounding twin, whose initial weights differ by rounding, at each
    step."""
    end: Pair


class EmbeddingRunner(MeasuringRunner[EmbeddingSpec]):
    """Trains narrow networks and the wide networks that they were split into."""

    @cached_property
    def data(self) -> DataInfo:
        """All digits. Each seed uses a random sample of them."""
        return DataInfo(
            name="digits {} and {}".format(*self.spec.data.classes),
            sha256=tensors_sha256(*load_digit_images()),
            samples=self.spec.data.samples,
            input_shape=(1, self.spec.data.side, self.spec.data.side),
            classes=2,
        )

    def measure(self, run: Run, check: Check) -> Measurements:
        wiring, factor, rate = self.spec.networks[run.point.network]
        samples = self._samples(run.seed, flat=wiring == "fully-connected")
        network = self._network(run)
        theta = network.draw(self._generator(run.seed, "weights"), self.spec.network.scale).to(self.device)
        splitting = self._splitting(network, factor, run.seed)
        pair = Pair(splitting=splitting, narrow=theta, wide=splitting.embed(theta))
        twin = perturbed(theta, self._generator(run.seed, "perturbation"))
        full_batch = _train(pair, twin, [samples] * self.spec.train.steps, constant(rate), check)
        sgd = _train(pair, twin, self._batches(samples, run.seed), constant(rate), check)
        return {
            "deviation": largest(full_batch.gaps.weights),
            "deviation_sgd": largest(sgd.gaps.weights),
            "perturbation": largest(full_batch.twin_distances),
            "perturbation_sgd": largest(sgd.twin_distances),
            "loss_apart": largest(full_batch.gaps.loss),
            "gradient_apart": largest(full_batch.gaps.gradient),
            **_at_the_start(pair, samples),
            **_margins(full_batch.end, samples),
            **_late(full_batch.end, samples, self.spec.train.late_steps, check),
            "deviations": full_batch.gaps.curve,
            "deviations_sgd": sgd.gaps.curve,
        }

    def _network(self, run: Run) -> Network:
        settings, depth = self.spec.network, run.point.depth
        match self.spec.networks[run.point.network][0]:
            case "fully-connected":
                return fully_connected(depth, inputs=self.spec.data.side**2, width=settings.neurons)
            case "convolutional":
                return convolutional(depth, inputs=1, width=settings.channels)
            case "densenet":
                return densenet(
                    depth,
                    inputs=1,
                    growth_rate=settings.growth_rate,
                    blocks=settings.blocks,
                    compression=settings.compression,
                    connectivity=settings.connectivity,
                    window=settings.window,
                )

    def _splitting(self, network: Network, factor: int, seed: int) -> Splitting:
        """Split every hidden neuron or channel into ``factor`` copies."""
        generator, settings = self._generator(seed, "coefficients"), self.spec.splitting

        def coefficients(channels: int) -> Tensor:
            if settings.coefficients == "random":
                return on_the_sphere((channels, factor), generator)
            return torch.tensor(settings.values or [factor**-0.5] * factor, dtype=torch.float64)

        widths = {state: network.widths[state] for state in network.hidden}
        return Splitting(
            network=network, splits={state: split_alike(width, coefficients(width)) for state, width in widths.items()}
        )

    def _samples(self, seed: int, *, flat: bool) -> Samples:
        """Draw the samples of a seed, half of each class. The first class has the label +1."""
        images, labels = load_digit_images()
        images = functional.avg_pool2d(images.unsqueeze(1), images.shape[-1] // self.spec.data.side)
        generator, count = self._generator(seed, "samples"), self.spec.data.samples
        chosen = []
        for digit, size in zip(self.spec.data.classes, (count - count // 2, count // 2), strict=True):
            indices = (labels == digit).nonzero().squeeze(1)
            chosen.append(indices[torch.randperm(len(indices), generator=generator)[:size]])
        x = (images[torch.cat(chosen)] - images.mean()) / images.std()
        y = torch.cat([torch.ones(len(chosen[0])), -torch.ones(len(chosen[1]))]).to(x)
        return Samples(x=(x.flatten(1) if flat else x).to(self.device), y=y.to(self.device))

    def _batches(self, samples: Samples, seed: int) -> list[Samples]:
        """Return a batch for each step of SGD, cut from consecutive random permutations of the samples."""
        generator, size, steps = self._generator(seed, "order"), self.spec.train.batch_size, self.spec.train.steps
        count = len(samples.y)
        orders = [torch.randperm(count, generator=generator) for _ in range(-(-steps * size // count))]
        pieces = torch.cat(orders)[: steps * size].view(steps, size)
        return [samples.of(piece.to(self.device)) for piece in pieces]

    def _generator(self, seed: int, stream: str) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(seed, stream))


def _at_the_start(pair: Pair, samples: Samples) -> Values:
    """Compare ``f_wide(S theta; x)`` with ``f(theta; x)``, and ``∇L(S theta)`` with ``S ∇L(theta)``."""
    (network, theta), (wide, eta) = pair.starts
    narrow_loss, wide_loss = (moment(each, start, samples) for each, start in pair.starts)
    with torch.no_grad():
        function = distance(wide(eta, samples.x), network(theta, samples.x))
    return {
        "function_start": function,
        "gradient_start": distance(wide_loss.gradient, pair.splitting.embed(narrow_loss.gradient)),
    }


def _train(pair: Pair, twin: Tensor, batches: Sequence[Samples], step_size: StepSize, check: Check) -> Training:
    """Train both networks, and the rounding twin of the narrow one."""
    gaps, twin_distances = Gaps(splitting=pair.splitting), []
    starts = [*pair.starts, (pair.splitting.network, twin)]
    for narrow, wide, other in polled(descend(starts, batches, step_size), check):
        gaps.add(narrow, wide)
        twin_distances.append(distance(other.theta, narrow.theta))
    end = Pair(splitting=pair.splitting, narrow=narrow.theta, wide=wide.theta)
    return Training(gaps=gaps, twin_distances=twin_distances, end=end)


def _margins(pair: Pair, samples: Samples) -> Values:
    """Return the normalized margin, and the largest difference of a sample's margins relative to the largest margin."""
    narrow, wide = (normalized_margins(network, theta, samples) for network, theta in pair.starts)
    difference = relative(float((wide - narrow).abs().max()), float(narrow.abs().max()))
    return {"margin": float(narrow.min()), "margin_apart": difference}


def _late(pair: Pair, samples: Samples, steps: int, check: Check) -> Values:
    """Continue training to late times and compute KKT residuals at several steps.

    ``kkt_difference`` compares the residuals at ``theta`` and ``S theta``: the map preserves KKT points. The residual at the
    trained weights of the wide network is separate: it also contains the effect of rounding on training.

    Returns:
        An empty dict if the narrow network does not separate the samples.
    """
    splitting = pair.splitting
    gaps, kkt_steps = Gaps(splitting=splitting), spread(steps + 1, KKT_POINTS)
    residuals: list[tuple[KKT, KKT]] = []
    for step, (narrow, wide) in enumerate(
        polled(descend(pair.starts, [samples] * steps, polyak(STEP_FRACTION)), check)
    ):
        gaps.add(narrow, wide)
        if step in kkt_steps:
            original = kkt(splitting.network, narrow.theta, samples)
            mapped = kkt(splitting.wide, splitting.embed(narrow.theta), samples)
            if original is None or mapped is None:
                return {}
            residuals.append((original, mapped))
    last, _ = residuals[-1]
    trained = kkt(splitting.wide, wide.theta, samples)
    return {
        "kkt_difference": largest(
            abs(a - b) for both in residuals for a, b in zip(*(each.parts for each in both), strict=True)
        ),
        "kkt_residual": last.residual,
        "kkt_residual_wide": math.nan if trained is None else trained.residual,
        "stationarity": last.stationarity,
        "slackness": last.slackness,
        "deviation_late": largest(gaps.weights),
        "late_loss": narrow.loss,
        "kkt_residuals": tuple(original.residual for original, _ in residuals),
    }


def polled(moments: Iterator[tuple[Moment, ...]], check: Check) -> Iterator[tuple[Moment, ...]]:
    """Yield the moments, and call ``check`` before each."""
    for each in moments:
        check()
        yield each


def spread(count: int, points: int) -> tuple[int, ...]:
    """Return at most ``points`` of the indices 0 … count − 1, evenly spaced, including the first and the last."""
    if count <= points:
        return tuple(range(count))
    return tuple(round(index * (count - 1) / (points - 1)) for index in range(points))
