"""The runner of the training study."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self, cast

import torch

from dnlbench.errors import DataError, NetworkError, SpecError
from dnlbench.events import (
    DataInfo,
    EpochDone,
    NetworkMeasured,
    PointMemory,
    Prepared,
    RunEnded,
    RunError,
    RunEvent,
    RunPaused,
)
from dnlbench.imports import FAILURES, describe
from dnlbench.machine import Slot, Sources
from dnlbench.plan import Plan, Run
from dnlbench.runners.base import CHECKPOINT_S, Job, Member
from dnlbench.runners.checkpoint import Checkpoints, State
from dnlbench.runners.device import device_name, make_repeatable, open_device, run_started, set_float32_precision
from dnlbench.runners.failures import blame, classify
from dnlbench.runners.training.build import check_point
from dnlbench.runners.training.data import Dataset, Split, epoch_order, load_dataset
from dnlbench.runners.training.epoch_metrics import EpochEnd, measure
from dnlbench.runners.training.evaluate import Score, has_running_statistics, recalibrate, score, undisturbed
from dnlbench.runners.training.gradients import first_steps
from dnlbench.runners.training.learner import Learner
from dnlbench.runners.training.objectives import Outcome, check_targets
from dnlbench.runners.training.progress import Progress, Stopwatch, position_of
from dnlbench.runners.training.setup import TrainingSetup
from dnlbench.runners.training.sources import Tracker
from dnlbench.runners.training.step import Step
from dnlbench.runners.training.utilization import matrix_peak
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.spec import is_factory


class TrainingRunner:
    """Trains the runs of a plan on a slot's device. The dataset is loaded once and stays on the device."""

    def __init__(self, plan: Plan, slot: Slot, *, checkpoint_s: float = CHECKPOINT_S) -> None:
        self.plan = plan
        self.checkpoint_s = checkpoint_s
        self.slot = slot
        self.spec = cast(TrainingSpec, plan.spec)
        self.device = open_device(slot)
        self._tracker = Tracker(plan.custom_parts, Path.cwd())
        self._shared: Self | None = None
        self._peak_flops: float | None = None
        """Peak rate of the slot; None before `prepare`."""
        make_repeatable(self.device, slot.threads)

    @cached_property
    def setup(self) -> TrainingSetup:
        return TrainingSetup(self.spec, self.device, self.data)

    @cached_property
    def data(self) -> Dataset:
        if self._shared is not None:
            return self._shared.data
        return load_dataset(self.spec.data, evaluate=self.spec.train.evaluate).to(self.device)

    def prepare(self) -> Prepared:
        """Load the data, check the network of each point and measure the peak rate of the slot."""
        set_float32_precision(self.spec.train.precision)
        data, batch = self.data.info, self.spec.train.batch_size
        if data.samples % batch == 1:
            raise DataError(
                f"train.batch_size = {batch}: the last batch of {data.samples} training samples would have a single sample, "
                "which batch norm does not support. Choose another batch size or data.limit"
            )
        if self.spec.train.precision == "tf32" and self.device.type != "cuda":
            raise SpecError(f"train.precision = 'tf32': available only on CUDA devices, not on {self.slot.device.name}")
        check_targets(self.spec.train, self.data)
        code = self.code
        self._peak_flops = self._measured_peak()
        return Prepared(
            data=data,
            code=code,
            torch=str(torch.__version__),
            device_name=device_name(self.device, self.slot),
            warnings=self.data.warnings,
            memory=tuple(self._tried()),
        )

    def _measured_peak(self) -> float | None:
        shared = self._shared
        if shared is not None and shared.spec.train.precision == self.spec.train.precision:
            return shared._peak_flops
        return matrix_peak(self.device, self.spec.train.precision)

    def _tried(self) -> Iterator[PointMemory]:
        """Train the custom network of each point for a few steps on a few samples, and yield its memory.

        Raises:
            NetworkError: if a step fails for another reason than the memory of the device.
        """
        first = {run.point: run for run in reversed(self.plan.runs) if is_factory(run.point.network)}
        for point, run in first.items():
            try:
                step_bytes = self.setup.extrapolated_bytes(run)
            except FAILURES as error:
                if isinstance(error, SpecError) or blame(error) is not None:
                    raise
                if classify(error) == "oom":
                    continue
                title = f"{point.network} at depth {point.depth}"
                raise NetworkError(f"{title} fails in training on 2 or 3 samples: {describe(error)}") from error
            yield PointMemory(network=point.network, depth=point.depth, step_bytes=step_bytes)

    @cached_property
    def code(self) -> Sources:
        """Build each point's network once, and record the files and packages of custom networks."""
        with self._tracker.watch():
            outcome, targets = Outcome.of(self.spec.train), self.data.training.targets[:2].to(self.device)
            for point in self.spec.points:
                check_point(self.spec, point, self.data.info, self.device, outcome, targets)
        return self._tracker.sources()

    def code_changes(self, recorded: Sources) -> Sequence[str]:
        if not recorded.networks:
            return ()
        return recorded.differences(self.code) or self._tracker.changed_inputs(self.code)

    @property
    def data_info(self) -> DataInfo:
        return self.data.info

    def take_over(self, other: Self) -> None:
        """Use the other runner's data, which are equal: those of a grid's runners with equal settings of the data."""
        self._shared = other

    def run(self, job: Job) -> Iterator[RunEvent]:
        """Train the members together from their last checkpoints; see `dnlbench.runners.base.Runner`.

        Members whose checkpoints are from different training steps form groups, which are trained one after another.
        """
        set_float32_precision(self.spec.train.precision)
        groups: dict[tuple[int, int], list[_MemberState]] = {}
        for member in job.members:
            checkpoints = Checkpoints(member.folder)
            state = checkpoints.load()
            if state and state["epoch"] > member.epochs_known:
                state = None
            groups.setdefault(position_of(state), []).append(
                _MemberState(member=member, checkpoints=checkpoints, state=state)
            )
        for group in groups.values():
            yield from self._train(group, job.should_suspend)

    def _train(self, group: Sequence[_MemberState], should_suspend: Callable[[], bool]) -> Iterator[RunEvent]:
        runs = [saved.member.run for saved in group]
        states = [saved.state for saved in group if saved.state]
        progress = Progress.restore(states, self.device) if states else self._start(len(group))
        parameters = self.setup.learner(runs).parameter_count
        for saved in group:
            yield run_started(
                saved.member,
                self.slot,
                self.device,
                pack_size=len(group),
                parameters=parameters,
                samples=self.data.info.samples,
                flops_per_sample=self.setup.flops(saved.member.run),
                peak_flops=self._peak_flops,
                from_epoch=progress.epoch,
                from_step=progress.step,
            )
        memory_bytes = self.setup.warm_up(runs)
        ratios = [] if progress.epoch else self.setup.gradient_ratios(runs)
        learner = self.setup.learner(runs)
        if states:
            learner.restore(states)
        training = _Training(runs, learner, progress, self.setup.step(runs, learner, progress.tally), group)
        while training.active and progress.epoch < runs[0].epochs:
            if not self._train_epoch(training, should_suspend):
                for index in training.active:
                    yield RunPaused(run_id=runs[index].run_id, epoch=progress.epoch, step=progress.step)
                return
            for index, event in self._epoch_events(training).items():
                yield event  # written before the checkpoint that relies on it
                if ratios:
                    yield self._measured_at_start(training, index, ratios[index])
                if not _finite(event):
                    yield _diverged(runs[index], event, memory_bytes)
                    training.active.pop(index).checkpoints.clear()
            progress.end_epoch()
            training.save()
            ratios = []
        for index, saved in training.active.items():
            yield self._measured_at_end(training, index)
            yield RunEnded(run_id=runs[index].run_id, status="ok", peak_memory_bytes=memory_bytes)
            saved.checkpoints.keep_last()

    def _epoch_events(self, training: _Training) -> dict[int, EpochDone]:
        learner, progress, samples = training.learner, training.progress, len(self.data.training)
        losses = progress.tally.total_losses.tolist()
        learner.end_epoch()
        end = EpochEnd(
            learner=learner,
            data=self.data,
            gradient_norms=progress.tally.gradient_norms,
            full_batches=self._full_batches,
            evaluate=lambda index: self._evaluate(learner, index, self._evaluated_splits),
        )
        return {
            index: EpochDone(
                run_id=training.runs[index].run_id,
                epoch=progress.epoch + 1,
                train_loss=losses[index] / samples,
                seconds=progress.seconds,
                samples_per_s=samples / progress.seconds,
                **measure(end, index),
            )
            for index in training.active
        }

    @property
    def _evaluated_splits(self) -> Mapping[str, Split]:
        """The splits on which networks are evaluated after each epoch, by the form of names of results."""
        training = self.data.training if self.spec.train.evaluate_training else None
        splits = {"train_{}_evaluation": training, "evaluation_{}": self.data.evaluation}
        return {form: split for form, split in splits.items() if split is not None}

    def _evaluate(self, learner: Learner, index: int, splits: Mapping[str, Split]) -> dict[str, float]:
        """Evaluate a network on splits, and return its loss and metrics by name."""
        if not splits:
            return {}
        with undisturbed(learner):
            if self.spec.train.batch_norm == "recalibrated" and has_running_statistics(learner.network):
                self._recalibrate(learner, index)
            scores = {form: score(learner, index, split, bf16=self.setup.bf16) for form, split in splits.items()}
        return {form.format(key): value for form, values in scores.items() for key, value in values.items()}

    def _recalibrate(self, learner: Learner, index: int) -> Score:
        return recalibrate(learner, index, self.data.training, self.spec.train.batch_size, bf16=self.setup.bf16)

    def _measured_at_start(self, training: _Training, index: int, ratio: float | None) -> NetworkMeasured:
        """Create the event with gradient norms of the first steps. Call it at the end of epoch 1."""
        start, largest = first_steps(training.progress.tally.gradient_norms, self._full_batches)[index]
        values = {"gradient_norm_start": start, "gradient_norm_first_steps": largest}
        if ratio is not None:
            values["gradient_ratio_start"] = ratio
        return NetworkMeasured(run_id=training.runs[index].run_id, stage="start", epoch=1, measurements=values)

    def _measured_at_end(self, training: _Training, index: int) -> NetworkMeasured:
        """Evaluate the final weights on the full training split, and on the evaluation split if requested."""
        learner, running = training.learner, self.spec.train.batch_norm == "running"
        with undisturbed(learner):
            before = score(learner, index, self.data.training, bf16=self.setup.bf16) if running else None
            batch = self._recalibrate(learner, index)
            evaluated = before or score(learner, index, self.data.training, bf16=self.setup.bf16)
        values = {f"train_{key}_batch": value for key, value in batch.items()}
        values |= {f"train_{key}_evaluation": value for key, value in evaluated.items()}
        if self.data.evaluation is not None:
            evaluation = self._evaluate(learner, index, {"evaluation_{}": self.data.evaluation})
            values["evaluation_loss"] = evaluation["evaluation_loss"]
        run = training.runs[index]
        return NetworkMeasured(run_id=run.run_id, stage="final", epoch=training.progress.epoch, measurements=values)

    def _start(self, size: int) -> Progress:
        return Progress.start(self.device, size, math.ceil(len(self.data.training) / self.spec.train.batch_size))

    @property
    def _full_batches(self) -> int:
        """Number of full batches in an epoch. They come first."""
        return len(self.data.training) // self.spec.train.batch_size

    def _train_epoch(self, training: _Training, should_suspend: Callable[[], bool]) -> bool:
        """Train the rest of the current epoch, or until the job is suspended.

        Nothing synchronizes with the device between checkpoints. The time for saving a checkpoint is not counted.

        Returns:
            True if the epoch is complete, False if the job was suspended.
        """
        progress, watch = training.progress, Stopwatch(self.device)
        training.learner.network.train()
        orders = [epoch_order(len(self.data.training), run.seed, progress.epoch + 1) for run in training.runs]
        batches = torch.split(torch.stack(orders).to(self.device), self.spec.train.batch_size, dim=1)

        def save() -> None:
            progress.seconds += watch.stop()
            training.save()

        training.step.start_epoch(progress.epoch + 1)
        saved = time.monotonic()
        watch.start()
        for indices in self.data.training.ahead(batches[progress.step :]):
            if should_suspend():
                save()
                return False
            if time.monotonic() - saved >= self.checkpoint_s:
                save()
                saved = time.monotonic()
                watch.start()
            training.learner.set_rates(progress.epoch * len(batches) + progress.step)
            training.step(indices)
            progress.step += 1
        progress.seconds += watch.stop()
        return True


@dataclass(frozen=True, kw_only=True)
class _MemberState:
    """A member of a job with its checkpoints and the state to resume from."""

    member: Member
    checkpoints: Checkpoints
    state: State | None


class _Training:
    """Runs that train together. A diverged run stays in the computation but is no longer ``active``."""

    def __init__(
        self, runs: Sequence[Run], learner: Learner, progress: Progress, step: Step, group: Sequence[_MemberState]
    ) -> None:
        self.runs = runs
        self.learner = learner
        self.progress = progress
        self.step = step
        self.active = dict(enumerate(group))

    def save(self) -> None:
        positions, networks = self.progress.states(), self.learner.states()
        for index, saved in self.active.items():
            saved.checkpoints.save({**positions[index], **networks[index]})


def _finite(epoch: EpochDone) -> bool:
    return math.isfinite(epoch.train_loss) and math.isfinite(epoch.value("regulariser") or 0.0)


def _diverged(run: Run, epoch: EpochDone, peak_memory_bytes: int) -> RunEnded:
    text, remedy = f"the training loss of epoch {epoch.epoch} is {epoch.train_loss}", "a smaller train.lr"
    if (regularizer := epoch.value("regulariser")) is not None:
        text, remedy = f"{text} and R_L {regularizer}", f"{remedy} or train.regulariser_weight"
    return RunEnded(
        run_id=run.run_id,
        status="diverged",
        peak_memory_bytes=peak_memory_bytes,
        error=RunError(type="Diverged", message=f"{text}; {remedy} may help"),
    )
