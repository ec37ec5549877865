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
from dnlbench.dnl.embedding.margin import KKT, kkt, normalised_margins
from dnlbench.dnl.embedding.networks import Network, convolutional, densenet, fully_connected
from dnlbench.dnl.embedding.splitting import Splitting, on_the_sphere, split_alike
from dnlbench.events import DataInfo
from dnlbench.plan import Run
from dnlbench.runners.digits import load_digit_images
from dnlbench.runners.measuring import Check, Measurements, MeasuringRunner, derived_seed, tensors_sha256
from dnlbench.studies.embedding import EmbeddingSpec

SHARE = 0.1
"""Of the step that would bring a linearised loss to 0; to late times."""
CURVE_POINTS = 64
"""At most, of a curve over training steps."""
KKT_POINTS = 4
"""Of the curve of KKT residuals to late times."""

Found = dict[str, float | tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A narrow network and the wide one that it was split into, with their weights."""

    splitting: Splitting
    narrow: Tensor
    wide: Tensor

    @property
    def starts(self) -> list[tuple[Network, Tensor]]:
        return [(self.splitting.network, self.narrow), (self.splitting.wide, self.wide)]


@dataclass(kw_only=True)
class Gaps:
    """How far a wide descent is from the image of the narrow one: at each step, all relative."""

    splitting: Splitting
    weights: list[float] = field(default_factory=list)
    """``‖eta_k − S theta_k‖ / ‖S theta_k‖`` of each step."""
    loss: list[float] = field(default_factory=list)
    gradient: list[float] = field(default_factory=list)
    """``‖∇L(eta_k) − S ∇L(theta_k)‖ / ‖S ∇L(theta_k)‖``."""

    def note(self, narrow: Moment, wide: Moment) -> None:
        self.weights.append(distance(wide.theta, self.splitting.embed(narrow.theta)))
        self.loss.append(relative(abs(wide.loss - narrow.loss), narrow.loss))
        self.gradient.append(distance(wide.gradient, self.splitting.embed(narrow.gradient)))

    @property
    def curve(self) -> tuple[float, ...]:
        """At evenly spread steps, the first and the last among them."""
        return tuple(self.weights[place] for place in spread(len(self.weights), CURVE_POINTS))


@dataclass(frozen=True, kw_only=True)
class Training:
    """A descent of both networks."""

    gaps: Gaps
    twins_apart: list[float]
    """How far a narrow network whose start is off by rounding is from the narrow one, relatively, at each step."""
    end: Pair


class EmbeddingRunner(MeasuringRunner[EmbeddingSpec]):
    """Trains narrow networks and the wide ones that they were split into."""

    @cached_property
    def data(self) -> DataInfo:
        """All digits, of which each seed has its choice."""
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
        whole = _train(pair, twin, [samples] * self.spec.train.steps, constant(rate), check)
        sgd = _train(pair, twin, self._batches(samples, run.seed), constant(rate), check)
        return {
            "deviation": largest(whole.gaps.weights),
            "deviation_sgd": largest(sgd.gaps.weights),
            "perturbation": largest(whole.twins_apart),
            "perturbation_sgd": largest(sgd.twins_apart),
            "loss_apart": largest(whole.gaps.loss),
            "gradient_apart": largest(whole.gaps.gradient),
            **_at_the_start(pair, samples),
            **_margins(whole.end, samples),
            **_late(whole.end, samples, self.spec.train.late_steps, check),
            "deviations": whole.gaps.curve,
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
        """Of every hidden neuron or channel into ``factor`` copies."""
        generator, settings = self._generator(seed, "coefficients"), self.spec.splitting

        def drawn(channels: int) -> Tensor:
            if settings.coefficients == "random":
                return on_the_sphere((channels, factor), generator)
            return torch.tensor(settings.values or [factor**-0.5] * factor, dtype=torch.float64)

        widths = {state: network.widths[state] for state in network.hidden}
        return Splitting(
            network=network, splits={state: split_alike(width, drawn(width)) for state, width in widths.items()}
        )

    def _samples(self, seed: int, *, flat: bool) -> Samples:
        """Half of them of each class; the first class is +1."""
        images, labels = load_digit_images()
        images = functional.avg_pool2d(images.unsqueeze(1), images.shape[-1] // self.spec.data.side)
        generator, count = self._generator(seed, "samples"), self.spec.data.samples
        chosen = []
        for digit, wanted in zip(self.spec.data.classes, (count - count // 2, count // 2), strict=True):
            numbers = (labels == digit).nonzero().squeeze(1)
            chosen.append(numbers[torch.randperm(len(numbers), generator=generator)[:wanted]])
        x = (images[torch.cat(chosen)] - images.mean()) / images.std()
        y = torch.cat([torch.ones(len(chosen[0])), -torch.ones(len(chosen[1]))]).to(x)
        return Samples(x=(x.flatten(1) if flat else x).to(self.device), y=y.to(self.device))

    def _batches(self, samples: Samples, seed: int) -> list[Samples]:
        """One for each step of SGD: pieces of random orders of the samples, one order after the other."""
        generator, size, steps = self._generator(seed, "order"), self.spec.train.batch_size, self.spec.train.steps
        count = len(samples.y)
        orders = [torch.randperm(count, generator=generator) for _ in range(-(-steps * size // count))]
        pieces = torch.cat(orders)[: steps * size].view(steps, size)
        return [samples.of(piece.to(self.device)) for piece in pieces]

    def _generator(self, seed: int, stream: str) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(seed, stream))


def _at_the_start(pair: Pair, samples: Samples) -> Found:
    """``f_wide(S theta; x)`` against ``f(theta; x)``, and ``∇L(S theta)`` against ``S ∇L(theta)``."""
    (network, theta), (wide, eta) = pair.starts
    narrow_loss, wide_loss = (moment(each, start, samples) for each, start in pair.starts)
    with torch.no_grad():
        function = distance(wide(eta, samples.x), network(theta, samples.x))
    return {
        "function_start": function,
        "gradient_start": distance(wide_loss.gradient, pair.splitting.embed(narrow_loss.gradient)),
    }


def _train(pair: Pair, twin: Tensor, batches: Sequence[Samples], step_size: StepSize, check: Check) -> Training:
    """Descent of both, beside that of a narrow twin whose start is off by rounding."""
    gaps, twins_apart = Gaps(splitting=pair.splitting), []
    starts = [*pair.starts, (pair.splitting.network, twin)]
    for narrow, wide, other in polled(descend(starts, batches, step_size), check):
        gaps.note(narrow, wide)
        twins_apart.append(distance(other.theta, narrow.theta))
    end = Pair(splitting=pair.splitting, narrow=narrow.theta, wide=wide.theta)
    return Training(gaps=gaps, twins_apart=twins_apart, end=end)


def _margins(pair: Pair, samples: Samples) -> Found:
    """The normalised margin, and how far those of all samples are apart, over the largest."""
    ours, theirs = (normalised_margins(network, theta, samples) for network, theta in pair.starts)
    apart = relative(float((theirs - ours).abs().max()), float(ours.abs().max()))
    return {"margin": float(ours.min()), "margin_apart": apart}


def _late(pair: Pair, samples: Samples, steps: int, check: Check) -> Found:
    """On to late times, with KKT residuals on the way; nothing where the narrow network does not separate the samples.

    That the map leads from KKT points to KKT points is a matter of one point, ``theta`` and ``S theta``; where training of the
    wide network has come to is another, and says how far rounding has taken the two apart.
    """
    splitting = pair.splitting
    gaps, asked = Gaps(splitting=splitting), spread(steps + 1, KKT_POINTS)
    found: list[tuple[KKT, KKT]] = []
    for step, (narrow, wide) in enumerate(polled(descend(pair.starts, [samples] * steps, polyak(SHARE)), check)):
        gaps.note(narrow, wide)
        if step in asked:
            ours = kkt(splitting.network, narrow.theta, samples)
            mapped = kkt(splitting.wide, splitting.embed(narrow.theta), samples)
            if ours is None or mapped is None:
                return {}
            found.append((ours, mapped))
    last, _ = found[-1]
    trained = kkt(splitting.wide, wide.theta, samples)
    return {
        "kkt_difference": largest(
            abs(a - b) for both in found for a, b in zip(*(each.parts for each in both), strict=True)
        ),
        "kkt_residual": last.residual,
        "kkt_residual_wide": math.nan if trained is None else trained.residual,
        "stationarity": last.stationarity,
        "slackness": last.slackness,
        "deviation_late": largest(gaps.weights),
        "late_loss": narrow.loss,
        "kkt_residuals": tuple(ours.residual for ours, _ in found),
    }


def polled(moments: Iterator[tuple[Moment, ...]], check: Check) -> Iterator[tuple[Moment, ...]]:
    """The moments, as long as the run is not put aside."""
    for each in moments:
        check()
        yield each


def spread(count: int, points: int) -> tuple[int, ...]:
    """At most ``points`` of the places 0 … count − 1, evenly spread, the first and the last among them."""
    if count <= points:
        return tuple(range(count))
    return tuple(round(place * (count - 1) / (points - 1)) for place in range(points))
