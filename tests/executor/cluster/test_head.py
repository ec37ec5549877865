"""Whether the loss of a cluster's head is noticed, and nothing else taken for it."""

from __future__ import annotations

import socket
import time

import pytest

from dnlbench.errors import EngineError
from dnlbench.executor.cluster.head import GONE_S, KNOCK_S, Head


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def passing(head: Head, clock: list[float], seconds: float, step: float = 1.0) -> None:
    for _ in range(int(seconds / step)):
        clock[0] += step
        head.require()


def test_a_head_that_answers_is_never_given_up(clock: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        passing(Head(f"127.0.0.1:{server.getsockname()[1]}"), clock, 10 * GONE_S)


def test_a_head_that_is_gone_is_given_up_after_a_while(clock: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        head = Head(address)
        passing(head, clock, 3 * KNOCK_S)
    passing(head, clock, GONE_S - KNOCK_S)
    with pytest.raises(EngineError, match=f"{address}, no longer answers.*--resume"):
        passing(head, clock, 2 * KNOCK_S)


def test_an_engine_that_was_stopped_itself_looks_again_first(clock: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = Head(f"127.0.0.1:{server.getsockname()[1]}")
    clock[0] += 1000.0
    head.require()
    with pytest.raises(EngineError):
        passing(head, clock, GONE_S + KNOCK_S)
