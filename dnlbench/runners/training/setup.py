"""Setup of training: learners for the runs of a point, their training steps, and the cost of these steps."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor, nn

from dnlbench.dnl.initialization import CALIBRATION_IMAGES, unit_scores
from dnlbench.plan import Run
from dnlbench.runners.training.augment import Augmentation
from dnlbench.runners.training.build import build_network
from dnlbench.runners.training.data import Dataset, epoch_order
from dnlbench.runners.training.depth_lr import depth_factors
from dnlbench.runners.training.gradients import first_over_last
from dnlbench.runners.training.learner import Learner
from dnlbench.runners.training.memory import LiveTensors, step_memory_bytes
from dnlbench.runners.training.pack import PackLearner
from dnlbench.runners.training.progress import Stopwatch, Tally
from dnlbench.runners.training.step import STEPS_BEFORE, GraphedStep, Step, TrainingStep, graph_matches_step
from dnlbench.runners.training.utilization import training_flops
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.spec import is_factory

WARM_UP_STEPS = 2

PackKey = tuple[Point, int]
"""A point, and how many of its runs train together."""


class TrainingSetup:
    """Creates learners and training steps on one device, and caches their measured properties."""

    def __init__(self, spec: TrainingSpec, device: torch.device, data: Dataset) -> None:
        self._spec = spec
        self._device = device
        self._data = data
        self._step_bytes: dict[PackKey, int] = {}
        self._graphs: dict[PackKey, bool] = {}
        self._flops: dict[Point, float | None] = {}

    @property
    def bf16(self) -> bool:
        """True if networks compute in bfloat16 under autocast."""
        return self._spec.train.precision == "bf16"

    def learner(self, runs: Sequence[Run]) -> Learner:
        """Create a learner with the initial weights of the runs' seeds, which are equal on all devices."""
        networks = [self._build(run) for run in runs]
        spec = self._spec.at(runs[0].point)
        factors = depth_factors(spec, runs[0].point, networks[0])
        if len(networks) == 1:
            return Learner(networks[0], spec.train, factors)
        return PackLearner(networks, spec.train, factors)

    def _build(self, run: Run) -> nn.Module:
        torch.manual_seed(run.seed)
        network = build_network(self._spec, run.point, self._data.info)
        if self._spec.network.attention_initialization == "unit-scores" and not is_factory(run.point.network):
            unit_scores(network, self._first_images(run.seed))
        nudge(network, self._spec.train.nudge_ulps)
        return network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _first_images(self, seed: int) -> Tensor:
        """Return the first images of a run's first epoch, on the CPU."""
        training = self._data.training
        first = epoch_order(len(training), seed, 1)[:CALIBRATION_IMAGES]
        return training.batch(first.to(self._device))[0].cpu()

    def step(self, runs: Sequence[Run], learner: Learner, tally: Tally) -> Step:
        """Create the learner's training step, which adds to the tally. It is a CUDA graph if `warm_up` found it equivalent."""
        step = self._eager_step(runs, learner, tally)
        graph = self._graphs.get(_pack_key(runs), False)
        return GraphedStep(step, learner, self._spec.train.batch_size) if graph else step

    def warm_up(self, runs: Sequence[Run]) -> int:
        """Execute a few training steps with throwaway learners, so that one-time costs are not timed.

        Returns:
            The peak memory of a training step in bytes, divided by the number of runs.
        """
        pack_key = _pack_key(runs)
        if pack_key not in self._step_bytes:
            self._step_bytes[pack_key] = self._measured_bytes(runs) // len(runs)
            if self._device.type == "cuda" and not self._data.training.streamed:
                self._graphs[pack_key] = self._graph_is_equivalent(runs)
        return self._step_bytes[pack_key]

    def _measured_bytes(self, runs: Sequence[Run]) -> int:
        learner, indices = self._warm_learner(runs)
        learner.optimizer.zero_grad(set_to_none=True)
        step = self._eager_step(runs, learner)
        return step_memory_bytes(self._device, learner.persistent_tensors(), lambda: step(indices))

    def extrapolated_bytes(self, run: Run) -> int:
        """Train a run for a few steps on 2 and on 3 samples, and extrapolate the memory of a step to a full batch.

        What the forward pass stores is linear in the batch. So is the peak, unless the largest use of memory is at another
        operation in a large batch than in a small one; the steeper line counts.
        """
        batch = min(self._spec.train.batch_size, len(self._data.training))
        few, more = min(2, batch), min(3, batch)
        stored, peak = self._bytes_of(run, few)
        if few == batch:
            return peak
        stored_more, peak_more = self._bytes_of(run, more)
        slope = max(stored_more - stored, peak_more - peak) / (more - few)
        return peak + int(slope * (batch - few))

    def _bytes_of(self, run: Run, samples: int) -> tuple[int, int]:
        """Return the bytes that the forward pass stores, and the peak of a step, without scratch memory of operations."""
        learner, indices = self._warm_learner([run], samples=samples)
        learner.optimizer.zero_grad(set_to_none=True)
        persistent = learner.persistent_tensors()
        step = self._eager_step([run], learner)
        with LiveTensors(persistent) as live:
            losses = step.losses(indices)
            stored = live.bytes
        del losses
        with LiveTensors(persistent) as live:
            step(indices)
        return stored, live.peak_bytes + sum(tensor.nbytes for tensor in persistent)

    def _warm_learner(
        self, runs: Sequence[Run], steps: int = WARM_UP_STEPS - 1, samples: int | None = None
    ) -> tuple[Learner, Tensor]:
        """Return a learner after some steps on the first batch, or on the first ``samples``, and their indices."""
        learner = self.learner(runs)
        learner.network.train()
        learner.set_rates(step=0)
        samples = samples or min(self._spec.train.batch_size, len(self._data.training))
        indices = torch.arange(samples, device=self._device).expand(len(runs), -1)
        step = self._eager_step(runs, learner)
        for _ in range(steps):
            step(indices)
        return learner, indices

    def gradient_ratios(self, runs: Sequence[Run]) -> list[float | None]:
        """Compute `first_over_last` of each run at its initial weights, in training mode, on its first training batch."""
        learner, split = self.learner(runs), self._data.training
        learner.network.train()
        orders = [epoch_order(len(split), run.seed, epoch=1)[: self._spec.train.batch_size] for run in runs]
        self._eager_step(runs, learner)(torch.stack(orders).to(self._device))
        return [first_over_last(learner.network, learner.gradients(index)) for index in range(learner.size)]

    def _graph_is_equivalent(self, runs: Sequence[Run]) -> bool:
        learner, indices = self._warm_learner(runs, steps=0)
        other, _ = self._warm_learner(runs, steps=0)
        tally, other_tally = (Tally.start(self._device, len(runs)) for _ in range(2))
        graphed = GraphedStep(self._eager_step(runs, other, other_tally), other, indices.shape[1])
        return graph_matches_step(self._eager_step(runs, learner, tally), graphed, (tally, other_tally), indices)

    def _eager_step(self, runs: Sequence[Run], learner: Learner, tally: Tally | None = None) -> TrainingStep:
        tally = tally or Tally.start(self._device, learner.size)
        return TrainingStep(learner, self._data.training, tally, self._augmentation(runs), bf16=self.bf16)

    def _augmentation(self, runs: Sequence[Run]) -> Augmentation | None:
        data, samples = self._spec.data, len(self._data.training)
        if not data.augment:
            return None
        return Augmentation(data, [run.seed for run in runs], samples, self._spec.train.batch_size, self._device)

    def flops(self, run: Run) -> float | None:
        """Return the operations of training on one sample; None for a custom network whose operations are unknown."""
        if run.point not in self._flops:
            network = self.learner([run]).network
            self._flops[run.point] = training_flops(network, self._spec, run.point, self._data.info)
        return self._flops[run.point]

    def step_seconds(self, runs: Sequence[Run], steps: int) -> float:
        """Measure the median duration of a training step of these runs together, after warm-up."""
        self.warm_up(runs)
        learner, indices = self._warm_learner(runs, steps=0)
        step = self.step(runs, learner, Tally.start(self._device, len(runs)))
        for _ in range(STEPS_BEFORE + 1):
            step(indices)
        watch, seconds = Stopwatch(self._device), []
        for _ in range(steps):
            watch.start()
            step(indices)
            seconds.append(watch.stop())
        return median(seconds)


@torch.no_grad()
def nudge(network: nn.Module, ulps: int) -> None:
    """Move the values of the first parameter by ``ulps`` units in the last place towards infinity.

    In built-in networks this parameter is the filters of the stem.
    """
    first = next(network.parameters(), None)
    if first is None:
        return
    for _ in range(ulps):
        first.copy_(torch.nextafter(first, torch.full_like(first, torch.inf)))


def _pack_key(runs: Sequence[Run]) -> PackKey:
    return runs[0].point, len(runs)
