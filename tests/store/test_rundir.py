from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.errors import RunDirError
from dnlbench.events import EpochDone, RunEnded, RunStarted
from dnlbench.plan import Plan, Run
from dnlbench.store import Execution, RunDir
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
    with pytest.raises(
        RunDirError, match=r"holds another sweep: settings there is \w+, here \w+. Choose another --run-dir"
    ):
        run_dir.begin(make_plan("train.lr=0.5"), HOW)
    with pytest.raises(RunDirError, match=r"holds another sweep: threads there is 1, here 2"):
        run_dir.begin(make_plan(), HOW.model_copy(update={"threads": 2}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "schema None, this version reads 'dnlbench.sweep/2'"),
        ('{"schema": "dnlbench.sweep/9"}', "schema 'dnlbench.sweep/9', this version reads 'dnlbench.sweep/2'"),
        ('{"schema": "dnlbench.sweep/2", "execution": {}, "study": "x"}', "holds no spec"),
    ],
)
def test_a_broken_plan_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(RunDirError, match=message):
        RunDir(tmp_path).read_plan()


def test_no_plan_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="not a run directory"):
        RunDir(tmp_path).read_plan()


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
