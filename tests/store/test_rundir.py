from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.errors import RunDirError
from dnlbench.events import EngineStarted, EpochDone, RunEnded, RunEvent, RunStarted
from dnlbench.machine import Code, Device, read_machine
from dnlbench.plan import Plan, Run
from dnlbench.store import ANY, Execution, RunDir
from dnlbench.studies import Point

MakePlan = Callable[..., Plan]
RUN = Run(run_id="r", point=Point(network="densenet", depth=1), seed=0, epochs=2)
HOW = Execution(device_kind="cpu", threads=1, pack_size=1, torch="2.0", machine="abc", source="def")


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path, make_plan: MakePlan) -> None:
    run_dir, plan = RunDir(tmp_path / "x"), make_plan()
    run_dir.begin(plan, HOW)
    assert run_dir.read_plan() == plan
    run_dir.begin(plan, HOW)  # going on is fine


def test_another_sweep_is_refused(tmp_path: Path, make_plan: MakePlan) -> None:
    run_dir = RunDir(tmp_path / "x")
    run_dir.begin(make_plan(), HOW)

    def refusal(plan: Plan, **changes: object) -> str:
        with pytest.raises(RunDirError) as caught:
            run_dir.begin(plan, HOW.model_copy(update=changes))
        return str(caught.value)

    assert refusal(make_plan("train.lr=0.5")) == (
        f"{run_dir.root} already contains a sweep with other settings: train.lr is 0.01 there and 0.5 here. "
        "Undo the change, or choose another --run-dir."
    )
    both = refusal(make_plan("network.width=3", "data.limit=140"), threads=2)
    assert "network.width is not set there and 3 here; data.limit is 150 there and 140 here; the number of" in both
    assert "the number of threads is 1 there and 2 here. Undo" in both
    assert "torch is 2.0 there and 2.1 here" in refusal(make_plan(), torch="2.1")
    assert "numpy is not set there and 2.1 here" in refusal(make_plan(), packages={"numpy": "2.1"})
    assert "MKL_CBWR is not set there and AVX2 here" in refusal(make_plan(), environment={"MKL_CBWR": "AVX2"})
    assert "dnlbench's own code is not the same" in refusal(make_plan(), source="ghi")


def test_another_machines_sweep_is_refused_with_both_machines(tmp_path: Path, make_plan: MakePlan) -> None:
    run_dir, here = RunDir(tmp_path / "x"), read_machine()
    run_dir.begin(make_plan(), HOW)
    gpu = Device(kind="cuda", index=0, name="NVIDIA H200", memory_bytes=1)
    there = here.model_copy(update={"cpu": "AMD EPYC 9654", "cores": 96, "devices": (gpu,), "fingerprint": "abc"})
    writer = run_dir.journal_writer()
    writer.write(EngineStarted(pid=1, machine=there, code=Code(version="0"), slots=("cuda:0",)).model_dump_json())
    writer.close()
    with pytest.raises(RunDirError) as caught:
        run_dir.begin(make_plan("train.lr=0.5"), HOW.model_copy(update={"machine": here.fingerprint}))
    assert f"another machine: AMD EPYC 9654, 96 cores, NVIDIA H200; this is {here.title}. Run" in str(caught.value)
    assert f"`dnlbench profiles save {run_dir.root}` to save its results" in str(caught.value)
    with pytest.raises(RunDirError, match="this is a Ray cluster"):
        run_dir.begin(make_plan(), HOW.model_copy(update={"machine": ANY}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 10**5, "is damaged: values are nested too deeply"),
        ("[]", r"sweep\.json is damaged: must be a JSON object\. Choose another --run-dir\."),
        (
            '{"schema": "dnlbench.sweep/9"}',
            "another version of dnlbench: its schema is 'dnlbench.sweep/9', this version",
        ),
        ('{"schema": "dnlbench.sweep/2", "execution": 3}', r"sweep\.json is damaged: \"execution\" must be a table"),
        ('{"schema": "dnlbench.sweep/2", "execution": {}, "study": "x"}', '"study" must be one of training, '),
        ('{"schema": "dnlbench.sweep/2", "execution": {}, "study": []}', '"study" must be one of training, '),
        ('{"schema": "dnlbench.sweep/2", "execution": {}, "study": "training", "spec": {}}', '"spec'),
    ],
)
def test_a_broken_plan_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(RunDirError, match=message):
        RunDir(tmp_path).read_plan()


def test_no_plan_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match=r"not a run directory: it has no sweep\.json"):
        RunDir(tmp_path).read_plan()
    with pytest.raises(RunDirError, match="nowhere: no such run directory"):
        RunDir(tmp_path / "nowhere").read_plan()


def test_a_second_engine_is_refused_with_the_firsts_process_id(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from dnlbench.store import RunDir\n"
        "with RunDir(Path(sys.argv[1])).locked(): print(os.getpid(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None
    pid = holder.stdout.readline().strip()
    with pytest.raises(RunDirError, match=f"in use by another engine, process {pid}"), RunDir(tmp_path).locked():
        pass
    holder.kill()  # leaves its lock file and its process id behind
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with RunDir(tmp_path).locked():
        pass


def test_events_come_back_with_every_bit_and_every_non_finite_number(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    events = [
        RunStarted(run_id="r", attempt=1, device="cpu", device_name="x", threads=1, parameters=3),
        EpochDone(run_id="r", epoch=1, train_loss=0.1 + 0.2, seconds=1 / 3, samples_per_s=1e300, gradient_norm=5e-324),
        EpochDone(
            run_id="r", epoch=2, train_loss=float("inf"), seconds=1, samples_per_s=1, gradient_norm=float("-inf")
        ),
        RunEnded(run_id="r", status="diverged"),
    ]
    writer = run_dir.events_writer("r")
    for event in events:
        writer.write(event.model_dump_json())
    writer.close()
    history = run_dir.read_history(RUN)
    assert list(history.epochs) == events[1:3]
    assert history.ended == events[3]
    assert history.done


def test_an_event_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    path = run_dir.events_path("r")
    path.parent.mkdir(parents=True)
    path.write_text('{"event": "run-ended", "run_id": "r", "status": "ok"}\n{"event": "surprise"}\n')
    with pytest.raises(RunDirError, match=r"events.jsonl:2: not an event"):
        run_dir.read_history(RUN)


def test_events_that_do_not_belong_to_the_run_are_refused(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    path = run_dir.events_path("r")
    path.parent.mkdir(parents=True)

    def refusal(*events: RunEvent) -> str:
        path.write_text("".join(f"{event.model_dump_json()}\n" for event in events))
        with pytest.raises(RunDirError) as caught:
            run_dir.read_history(RUN)
        message = str(caught.value)
        assert message.endswith(f". Delete {path.parent} to train the run again.")
        return message.removeprefix(f"{path}:").partition(". Delete")[0]

    def started(from_epoch: int = 0) -> RunStarted:
        fields = {"attempt": 1, "device": "cpu", "device_name": "x", "threads": 1, "parameters": 3}
        return RunStarted.model_validate({"run_id": "r", **fields, "from_epoch": from_epoch})

    def epoch(number: int, run_id: str = "r") -> EpochDone:
        return EpochDone(run_id=run_id, epoch=number, train_loss=1, seconds=1, samples_per_s=1, gradient_norm=1)

    for number in (0, -2, 2):
        assert refusal(started(), epoch(number)) == f"2: epoch {number} is here in place of epoch 1"
    assert refusal(started(), epoch(1), epoch(1)) == "3: epoch 1 is here in place of epoch 2"
    assert refusal(started(), epoch(1), epoch(3)) == "3: epoch 3 is here in place of epoch 2"
    assert refusal(started(), epoch(1), started(from_epoch=2)) == "3: the run continues after epoch 2, but has only 1"
    assert refusal(started(), epoch(1, "s")) == "2: the event is of another run, s"
    assert refusal(RunEnded(run_id="s", status="ok")) == "1: the event is of another run, s"


def test_runs_that_train_together_have_one_log(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    log = run_dir.open_log({"a": 1, "b": 3})
    assert log == run_dir.log_path("a", 1)
    with log.open("a") as file:
        print("said", file=file)
    assert run_dir.log_tail("a", 1) == run_dir.log_tail("b", 3) == "said"
    assert run_dir.open_log({"a": 1, "b": 3}) == log, "once more, as by whoever adds to it"
    assert run_dir.log_tail("b", 3) == "said"


def test_without_links_the_first_run_has_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    run_dir = RunDir(tmp_path)
    run_dir.open_log({"a": 1, "b": 1}).write_text("said")
    assert (run_dir.log_tail("a", 1), run_dir.log_tail("b", 1)) == ("said", None)
