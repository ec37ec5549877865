"""The head of a Ray cluster. Ray kills connected processes one minute after losing it."""

from __future__ import annotations

import socket
import time

from dnlbench.errors import EngineError

CHECK_INTERVAL_S = 5.0
"""Seconds between two checks."""
ANSWER_S = 2.0
"""Time limit for accepting a connection."""
HEAD_TIMEOUT_S = 20.0
"""Time without a connection after which the engine gives up, earlier than Ray, which would exit without a message."""


class Head:
    """The reachability of the head, checked regularly."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._checked_at = self._reachable_at = time.monotonic()

    def require(self) -> None:
        """Check whether the head is reachable if the last check is long enough ago.

        Raises:
            EngineError: if it has been unreachable for `HEAD_TIMEOUT_S`.
        """
        now = time.monotonic()
        if now - self._checked_at < CHECK_INTERVAL_S:
            return
        if now - self._checked_at > HEAD_TIMEOUT_S:  # no check in between
            self._reachable_at = now
        self._checked_at = now
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
            self._reachable_at = now
        except OSError as error:
            if now - self._reachable_at >= HEAD_TIMEOUT_S:
                raise EngineError(
                    f"the head of the Ray cluster, {self.address}, is unreachable ({error}). Results so far are saved. When "
                    "the cluster is up again, run the same command with --resume"
                ) from error
