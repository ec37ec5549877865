from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnlbench.plan import Plan
from dnlbench.progress import Observer, ProgressReporter
from dnlbench.store import Execution, RunDir
from dnlbench.watch import Watcher


class Heard(Observer):
    """An observer that keeps the news."""

    def __init__(self) -> None:
        self.news: list[str] = []
        self.looks = 0
        self.has_looked = threading.Event()
        self.has_news = threading.Event()

    def on_message(self, news: str) -> None:
        self.news.append(news)
        self.has_news.set()

    def on_update(self, view: Any) -> None:
        self.looks += 1
        self.has_looked.set()


def test_a_journal_that_is_damaged_in_mid_sweep_is_news_and_no_crash(
    tmp_path: Path, make_plan: Callable[..., Plan]
) -> None:
    run_dir, heard = RunDir(tmp_path / "rd"), Heard()
    run_dir.begin(make_plan(), Execution.here(device_kind="cpu", threads=1, pack_size=1, machine=""))
    reporter = ProgressReporter(heard)
    reporter.follow(Watcher(run_dir, make_plan()))
    assert heard.has_looked.wait(60)
    run_dir.journal_path.write_text("no event\n")
    assert heard.has_news.wait(60)
    seen = heard.looks
    reporter.close()
    assert heard.looks == seen
    (problem,) = heard.news
    assert problem.startswith(f"{run_dir.journal_path}:1: not an event")
