"""Whether the loss of a cluster's head is noticed, and nothing else taken for it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from dnlbench.errors import EngineError
from dnlbench.executor.ray.head import CHECK_INTERVAL_S, HEAD_TIMEOUT_S, Head


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def address() -> Iterator[str]:
    """Of nobody; no other process comes to listen there."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


@contextlib.contextmanager
def reachable(address: str) -> Iterator[Head]:
    """A head there, which answers for as long as the block lasts."""
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port)), reuse_port=True):
        yield Head(address)


def passing(head: Head, clock: list[float], seconds: float, step: float = 1.0) -> None:
    for _ in range(int(seconds / step)):
        clock[0] += step
        head.require()


def test_a_reachable_head_is_never_given_up(clock: list[float], address: str) -> None:
    with reachable(address) as head:
        passing(head, clock, 10 * HEAD_TIMEOUT_S)


def test_an_unreachable_head_is_given_up_after_a_timeout(clock: list[float], address: str) -> None:
    with reachable(address) as head:
        passing(head, clock, 3 * CHECK_INTERVAL_S)
    passing(head, clock, HEAD_TIMEOUT_S - CHECK_INTERVAL_S)
    with pytest.raises(EngineError, match=f"{address}, is unreachable.*--resume"):
        passing(head, clock, 2 * CHECK_INTERVAL_S)


def test_an_engine_that_was_stopped_checks_the_head_again_first(clock: list[float], address: str) -> None:
    head = Head(address)
    clock[0] += 1000.0
    head.require()
    with pytest.raises(EngineError):
        passing(head, clock, HEAD_TIMEOUT_S + CHECK_INTERVAL_S)
