"""One training run, from the first random weight to the last event."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dnlbench.errors import DataError, SpecError
from dnlbench.events import EpochDone, Prepared, RunEnded, RunError, RunEvent, RunPaused, RunStarted
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.runners.base import CHECKPOINT_S, Job, Member
from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.runners.device import device_name, make_repeatable, open_device, set_float32_precision
from dnlbench.runners.training.build import build_network, check_point, source_hash
from dnlbench.runners.training.clock import Stopwatch
from dnlbench.runners.training.data import Dataset, Split, epoch_order, load_dataset
from dnlbench.runners.training.learner import Learner
from dnlbench.runners.training.memory import step_memory_bytes
from dnlbench.runners.training.progress import Progress
from dnlbench.runners.training.utilisation import matrix_peak, training_flops
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.spec import is_factory

WARM_UP_STEPS = 2
EVALUATION_BATCH = 256


class TrainingRunner:
    """Trains the runs of a plan on a slot's device. The dataset is read once and stays on the device."""

    def __init__(self, plan: Plan, slot: Slot, *, checkpoint_s: float = CHECKPOINT_S) -> None:
        self.plan = plan
        self.checkpoint_s = checkpoint_s
        self.slot = slot
        self.spec = cast(TrainingSpec, plan.spec)
        self.device = open_device(slot)
        self._step_bytes: dict[Point, int] = {}
        """Memory of a training step at each point that has had its first one here; it is the same for all its runs."""
        self._flops: dict[Point, float | None] = {}
        """Of training on one sample, likewise."""
        self._peak_flops: float | None = None
        """Of the slot, as soon as it is prepared."""
        _import_the_rest()
        make_repeatable(self.device, slot.threads)
        set_float32_precision(self.spec.train.precision)

    @cached_property
    def data(self) -> Dataset:
        """The dataset, on the device."""
        loaded = load_dataset(self.spec.data, evaluate=self.spec.train.evaluate)
        evaluation = loaded.evaluation.to(self.device) if loaded.evaluation else None
        return Dataset(info=loaded.info, training=loaded.training.to(self.device), evaluation=evaluation)

    def prepare(self) -> Prepared:
        """Reads the data and builds each point's network once; see `dnlbench.runners.base.Runner`."""
        data, batch = self.data.info, self.spec.train.batch_size
        if data.samples % batch == 1:
            raise DataError(
                f"train.batch_size = {batch}: of {data.samples} training samples a last batch of a single one would be "
                "left, which batch norm cannot take. Choose another batch size or data.limit"
            )
        if self.spec.train.precision == "tf32" and self.device.type != "cuda":
            raise SpecError(f"train.precision = 'tf32': exists on CUDA devices only, not on {self.slot.device.name}")
        for point in self.spec.points:
            check_point(self.spec, point, data, self.device)
        self._peak_flops = matrix_peak(self.device, self.spec.train.precision)
        return Prepared(
            data=data,
            code=self.code,
            torch=str(torch.__version__),
            device_name=device_name(self.device, self.slot),
        )

    @cached_property
    def code(self) -> dict[str, str]:
        """See `dnlbench.runners.base.Runner`."""
        return {network: source_hash(network) for network in self.spec.sweep.networks if is_factory(network)}

    @property
    def data_sha256(self) -> str:
        """See `dnlbench.runners.base.Runner`."""
        return self.data.info.sha256

    def carry_out(self, job: Job) -> Iterator[RunEvent]:
        """Trains the members one after the other; see `dnlbench.runners.base.Runner`."""
        for member in job.members:
            yield from self._carry_out_one(member, job)

    def _carry_out_one(self, member: Member, job: Job) -> Iterator[RunEvent]:
        """Trains one network, from its last checkpoint if there is one."""
        run, checkpoints = member.run, Checkpoints(member.folder)
        state = checkpoints.load()
        if state and state["epoch"] > member.epochs_known:
            state = None
        progress = Progress.restore(state, self.device) if state else Progress.start(self.device)
        learner = self._learner(run)
        yield self._started(member, len(job.members), learner, progress)
        if run.point not in self._step_bytes:
            self._step_bytes[run.point] = self._warm_up(learner)
            learner = self._learner(run)  # as if nothing had happened
        memory_bytes = self._step_bytes[run.point]
        if state:
            learner.restore(state)
        while progress.epoch < run.epochs:
            if not self._train_epoch(run, job.aside, learner, progress, checkpoints):
                yield RunPaused(run_id=run.run_id, epoch=progress.epoch, step=progress.step)
                return
            event = self._epoch_done(run, learner, progress)
            yield event  # written before the checkpoint that counts on it
            if not _finite(event):
                yield _diverged(run, event, memory_bytes)
                checkpoints.clear()
                return
            progress.end_epoch()
            checkpoints.save({**progress.state(), **learner.state()})
        yield RunEnded(run_id=run.run_id, status="ok", peak_memory_bytes=memory_bytes)
        checkpoints.keep_last()

    def _learner(self, run: Run) -> Learner:
        return Learner(self._build(run), self.spec.train)

    def _epoch_done(self, run: Run, learner: Learner, progress: Progress) -> EpochDone:
        """What the epoch that was just trained gave."""
        samples = len(self.data.training)
        gradients = [p.grad for p in learner.network.parameters() if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients))
        learner.schedule.step()
        loss, accuracy = self._evaluate(learner.network)
        return EpochDone(
            run_id=run.run_id,
            epoch=progress.epoch + 1,
            train_loss=float(progress.total_loss) / samples,
            seconds=progress.seconds,
            samples_per_s=samples / progress.seconds,
            gradient_norm=norm,
            evaluation_loss=loss,
            evaluation_accuracy=accuracy,
            regulariser=learner.regulariser(),
        )

    def _build(self, run: Run) -> nn.Module:
        """The run's network with the initial weights of its seed, the same on every device."""
        torch.manual_seed(run.seed)
        network = build_network(self.spec, run.point, self.data.info)
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _started(self, member: Member, pack_size: int, learner: Learner, progress: Progress) -> RunStarted:
        point = member.run.point
        if point not in self._flops:
            self._flops[point] = training_flops(learner.network, self.spec, point, self.data.info)
        return RunStarted(
            run_id=member.run.run_id,
            attempt=member.attempt,
            device=self.slot.device.label,
            device_name=device_name(self.device, self.slot),
            threads=self.slot.threads,
            jobs=self.slot.jobs,
            shared_device=self.slot.shared,
            pack_size=pack_size,
            parameters=learner.parameter_count,
            flops_per_sample=self._flops[point],
            peak_flops=self._peak_flops,
            from_epoch=progress.epoch,
            from_step=progress.step,
        )

    def _warm_up(self, learner: Learner) -> int:
        """A few training steps with a learner that is thrown away, so that no first-time cost falls into the clock.

        Returns:
            The bytes that the last of these steps takes.
        """
        learner.network.train()
        first = torch.arange(min(self.spec.train.batch_size, len(self.data.training)), device=self.device)

        def step() -> None:
            self._step(learner, *self.data.training.batch(first))

        for _ in range(WARM_UP_STEPS - 1):
            step()
        learner.optimizer.zero_grad(set_to_none=True)
        return step_memory_bytes(self.device, learner.held_tensors(), step)

    def _train_epoch(
        self, run: Run, aside: Callable[[], bool], learner: Learner, progress: Progress, checkpoints: Checkpoints
    ) -> bool:
        """Goes on with the epoch under way to its end, or until the run is to be put aside: whether it came to the end.

        Between checkpoints nothing waits for the device. The clock stands while one is saved.
        """
        learner.network.train()
        training, watch = self.data.training, Stopwatch(self.device)
        order = epoch_order(len(training), run.seed, progress.epoch + 1).to(self.device)
        batches = torch.split(order, self.spec.train.batch_size)

        def save() -> None:
            progress.seconds += watch.stop()
            checkpoints.save({**progress.state(), **learner.state()})

        saved = time.monotonic()
        watch.start()
        for indices in batches[progress.step :]:
            if aside():
                save()
                return False
            if time.monotonic() - saved >= self.checkpoint_s:
                save()
                saved = time.monotonic()
                watch.start()
            progress.total_loss += self._step(learner, *training.batch(indices)) * len(indices)
            progress.step += 1
        progress.seconds += watch.stop()
        return True

    def _step(self, learner: Learner, images: Tensor, labels: Tensor) -> Tensor:
        """One training step; the mean loss of the batch before it, detached."""
        learner.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss = functional.cross_entropy(learner.network(images), labels)
        learner.backward(loss)
        learner.optimizer.step()
        return loss.detach()

    # --- stand-in, until packs train together for real ---

    def step_seconds(self, point: Point, pack_size: int, steps: int) -> float:
        """Median seconds of a training step of a pack, after a warm-up."""
        if pack_size != 1:
            raise NotImplementedError(f"a pack of {pack_size}")
        learner = self._learner(next(run for run in self.plan.runs if run.point == point))
        learner.network.train()
        first = torch.arange(min(self.spec.train.batch_size, len(self.data.training)), device=self.device)
        watch, seconds = Stopwatch(self.device), []
        for _ in range(WARM_UP_STEPS + steps):
            watch.start()
            self._step(learner, *self.data.training.batch(first))
            seconds.append(watch.stop())
        return statistics.median(seconds[WARM_UP_STEPS:])

    # --- end of the stand-in ---

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.spec.train.precision == "bf16")

    @torch.no_grad()
    def _evaluate(self, network: nn.Module) -> tuple[float | None, float | None]:
        """Mean loss and accuracy on the evaluation split; None without one."""
        split: Split | None = self.data.evaluation
        if split is None:
            return None, None
        network.eval()
        loss, correct = 0.0, 0
        for indices in torch.split(torch.arange(len(split), device=self.device), EVALUATION_BATCH):
            images, labels = split.batch(indices)
            with self._precision():
                logits = network(images)
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(dim=1) == labels).sum())
        return loss / len(split), correct / len(split)


def _import_the_rest() -> None:
    """Torch imports its compiler when the first optimizer is made, which takes a second that is not to fall into a run."""
    torch.optim.SGD([nn.Parameter(torch.zeros(1))])


def _finite(epoch: EpochDone) -> bool:
    return math.isfinite(epoch.train_loss) and math.isfinite(epoch.regulariser or 0.0)


def _diverged(run: Run, epoch: EpochDone, peak_memory_bytes: int) -> RunEnded:
    found, remedy = f"the training loss of epoch {epoch.epoch} is {epoch.train_loss}", "a smaller train.lr"
    if epoch.regulariser is not None:
        found, remedy = f"{found} and R_L {epoch.regulariser}", f"{remedy} or train.regulariser_weight"
    return RunEnded(
        run_id=run.run_id,
        status="diverged",
        peak_memory_bytes=peak_memory_bytes,
        error=RunError(type="Diverged", message=f"{found}; {remedy} may help"),
    )
