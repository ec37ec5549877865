"""Batched seeds, compared with the same runs alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from dnlbench.events import EpochDone, RunEnded, RunEvent, RunHistory, RunPaused, RunStarted, fold
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.base import Job, Member
from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.data import Split
from dnlbench.runners.training.step import TrainingStep

MakePlan = Callable[..., Plan]

CLOSE, EXACT = 1e-5, 1e-8
"""Relative differences that another order of summation may cause, in float32 and in float64. float64 is for networks that
normalize averages over an image: these are so similar that batch norm amplifies their rounding."""
SMALL = (
    "sweep.depths=[2]",
    "sweep.seeds=3",
    "train.epochs=2",
    "data.limit=76",
    "train.batch_size=16",
    "network.blocks=2",
)


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use networks and images in double precision, which specs do not support."""
    batch = Split.batch

    def in_double(self: Split, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = batch(self, indices)
        return images.double(), labels

    monkeypatch.setattr(Split, "batch", in_double)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def never() -> bool:
    return False


def after(steps: int) -> Callable[[], bool]:
    """Suspend the job after ``steps`` training steps."""
    left = iter(range(steps))
    return lambda: next(left, None) is None


def train(
    plan: Plan,
    slot: Slot,
    folder: Path,
    seeds: Sequence[int],
    *,
    should_suspend: Callable[[], bool] = never,
    before: Sequence[RunEvent] = (),
) -> list[RunEvent]:
    """Return the events of runs of the plan that train together."""
    members = []
    for run in (plan.runs[seed] for seed in seeds):
        known = len(history_of(before, run.run_id).epochs) if before else 0
        run_folder = folder / run.run_id
        run_folder.mkdir(parents=True, exist_ok=True)
        members.append(Member(run=run, attempt=1, folder=run_folder, epochs_known=known))
    return list(TrainingRunner(plan, slot).run(Job(members=tuple(members), should_suspend=should_suspend)))


def history_of(events: Sequence[RunEvent], run_id: str) -> RunHistory:
    return fold([event for event in events if event.run_id == run_id])


def curve(events: Sequence[RunEvent], run_id: str) -> list[tuple[float, ...]]:
    epochs = [event for event in events if isinstance(event, EpochDone) and event.run_id == run_id]
    optional = ((e.value("gradient_norm_max"), e.value("evaluation_loss"), e.value("regulariser")) for e in epochs)
    return [
        (e.train_loss, *(value for value in more if value is not None))
        for e, more in zip(epochs, optional, strict=True)
    ]


def weights(folder: Path, run_id: str) -> dict[str, torch.Tensor]:
    state = Checkpoints(folder / run_id).load()
    assert state is not None
    result: dict[str, torch.Tensor] = state["network"]
    return result


def assert_as_alone(
    plan: Plan, slot: Slot, folder: Path, events: Sequence[RunEvent], seeds: Sequence[int], rel: float = CLOSE
) -> None:
    """Check that each run has the results of the same run alone."""
    for seed in seeds:
        run_id, alone = plan.runs[seed].run_id, folder / "alone"
        expected = train(plan, slot, alone, [seed])
        for here, there in zip(curve(events, run_id), curve(expected, run_id), strict=True):
            assert here[0] == pytest.approx(there[0], rel=rel)
            assert here[1:] == pytest.approx(there[1:], rel=100 * rel), "of one step, not a mean over an epoch"
        ended = history_of(events, run_id).ended
        assert ended is not None
        assert ended.status == "ok"
        ours, theirs = weights(folder, run_id), weights(alone, run_id)
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name].shape == theirs[name].shape
            torch.testing.assert_close(ours[name], theirs[name], rtol=100 * rel, atol=10 * rel)


PROTOCOLS = {
    "sgd": (),
    "adamw": ("train.optimizer='adamw'", "train.lr=0.001", "train.weight_decay=0.01", "train.schedule='cosine'"),
    "regularised": ("train.regulariser_weight=0.001", "train.evaluate=true"),
    "memory-efficient": ("network.implementation='memory-efficient'",),
    "decay on weights": ("train.weight_decay=0.1", "train.weight_decay_on=weights"),
    "before there was a choice": ("network.initialization=torch", "network.attention_initialization=torch"),
}


@pytest.mark.parametrize(
    ("network", "protocol"),
    [
        *(("densenet", protocol) for protocol in PROTOCOLS),
        *((network, "memory-efficient") for network in ("dense-attention", "dense-gaussian", "resnet")),
        ("dense-attention", "before there was a choice"),
        *((network, "regularised") for network in ("dense-attention", "resnet")),  # each has parts of its own
        ("dense-gaussian", "sgd"),
        ("resnet", "adamw"),
    ],
)
def test_a_pack_trains_as_its_runs_do_alone(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, network: str, protocol: str, request: pytest.FixtureRequest
) -> None:
    non_local = network in ("dense-attention", "dense-gaussian")
    if non_local:
        request.getfixturevalue("in_float64")
    plan = make_plan(f"sweep.networks=['{network}']", *SMALL, *PROTOCOLS[protocol])
    events = train(plan, slot, tmp_path, [0, 1, 2])
    started = [event for event in events if isinstance(event, RunStarted)]
    assert [event.pack_size for event in started] == [3, 3, 3]
    assert len({event.parameters for event in started}) == 1
    assert_as_alone(plan, slot, tmp_path, events, [0, 1, 2], EXACT if non_local else CLOSE)
    assert len({curve(events, run.run_id)[0][0] for run in plan.runs}) == 3, "each seed has weights and data of its own"


def test_a_run_that_diverges_does_not_disturb_the_others(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan("sweep.networks=['densenet']", *SMALL)
    undisturbed = train(plan, slot, tmp_path / "undisturbed", [0, 1, 2])
    step = TrainingStep.__call__
    ruined: list[TrainingStep] = []

    def ruin(self: TrainingStep, indices: torch.Tensor) -> None:
        """Destroy the second seed's weights in the middle of the first epoch."""
        totals = self._tally.total_losses
        if totals.any() and self not in ruined:
            ruined.append(self)
            with torch.no_grad():
                for parameter in self._learner.parameters:
                    parameter[1] = torch.nan
        step(self, indices)

    monkeypatch.setattr(TrainingStep, "__call__", ruin)
    events = train(plan, slot, tmp_path / "ruined", [0, 1, 2])
    first, second, third = (run.run_id for run in plan.runs)
    ended = history_of(events, second).ended
    assert ended is not None
    assert ended.status == "diverged"
    assert len(curve(events, second)) == 1
    for run_id in (first, third):
        assert curve(events, run_id) == curve(undisturbed, run_id)
    assert events.index(ended) < events.index(
        next(event for event in events if isinstance(event, RunEnded) and event.status == "ok")
    )


@pytest.mark.parametrize(
    ("steps", "protocol"), [(0, "sgd"), (2, "adamw"), (7, "sgd"), (7, "adamw"), (7, "decay on weights")]
)
def test_a_suspended_pack_resumes_together(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, steps: int, protocol: str
) -> None:
    plan = make_plan("sweep.networks=['densenet']", *SMALL, *PROTOCOLS[protocol])
    undisturbed = train(plan, slot, tmp_path / "undisturbed", [0, 1, 2])
    first = train(plan, slot, tmp_path / "x", [0, 1, 2], should_suspend=after(steps))
    paused = [event for event in first if isinstance(event, RunPaused)]
    assert [event.epoch * 5 + event.step for event in paused] == [steps] * 3
    events = [*first, *train(plan, slot, tmp_path / "x", [0, 1, 2], before=first)]
    for run in plan.runs:
        assert curve(events, run.run_id) == curve(undisturbed, run.run_id), "bit for bit"
        here, there = weights(tmp_path / "x", run.run_id), weights(tmp_path / "undisturbed", run.run_id)
        assert all(torch.equal(here[name], there[name]) for name in here)


def test_members_at_other_steps_resume_too(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    plan = make_plan("sweep.networks=['densenet']", *SMALL)
    first = train(plan, slot, tmp_path, [1], should_suspend=after(2))
    events = train(plan, slot, tmp_path, [0, 1, 2])
    sizes = {event.run_id: (event.pack_size, event.from_step) for event in events if isinstance(event, RunStarted)}
    assert [sizes[run.run_id] for run in plan.runs] == [(2, 0), (1, 2), (2, 0)]
    assert_as_alone(plan, slot, tmp_path, [*first, *events], [0, 1, 2])


def test_each_run_of_a_pack_has_the_order_of_its_seed(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan("sweep.networks=['densenet']", *SMALL, "train.epochs=1")
    step = TrainingStep.__call__
    seen: list[torch.Tensor] = []

    def watched(self: TrainingStep, indices: torch.Tensor) -> None:
        seen.append(indices)
        step(self, indices)

    monkeypatch.setattr(TrainingStep, "__call__", watched)
    train(plan, slot, tmp_path / "pack", [0, 1, 2])
    together = seen[-5:]
    for seed in range(3):
        seen.clear()
        train(plan, slot, tmp_path / "alone", [seed])
        assert torch.equal(torch.cat([one[0] for one in seen[-5:]]), torch.cat([indices[seed] for indices in together]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_a_training_step_as_a_graph_trains_the_same(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: list[int]
) -> None:
    from dnlbench.machine import read_machine
    from dnlbench.runners.training.setup import TrainingSetup

    device = next(device for device in read_machine().devices if device.kind == "cuda")
    slot = Slot(name="cuda:0/0", device=device, threads=1)
    plan = make_plan("sweep.networks=['densenet']", *SMALL, "train.schedule='cosine'")
    graphed = train(plan, slot, tmp_path / "graph", seeds)
    monkeypatch.setattr(TrainingSetup, "_graph_is_equivalent", lambda self, runs: False)
    stepped = train(plan, slot, tmp_path / "steps", seeds)
    for seed in seeds:
        run_id = plan.runs[seed].run_id
        flat = [value for row in curve(stepped, run_id) for value in row]
        assert [value for row in curve(graphed, run_id) for value in row] == pytest.approx(flat, rel=CLOSE)
