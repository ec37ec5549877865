"""The head of a Ray cluster, without which Ray ends the process of whoever is connected to it after a minute."""

from __future__ import annotations

import socket
import time

from dnlbench.errors import EngineError

CHECK_INTERVAL_S = 5.0
"""Seconds between two looks whether it is there."""
ANSWER_S = 2.0
"""How long it may take to accept a connection."""
HEAD_TIMEOUT_S = 20.0
"""After that long without an answer it is given up: before Ray does, which says nothing."""


class Head:
    """Whether it still answers, looked at now and then."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._checked_at = self._reachable_at = time.monotonic()

    def require(self) -> None:
        """Looks at it if the last time is long enough ago.

        Raises:
            EngineError: if it has not answered for a while.
        """
        now = time.monotonic()
        if now - self._checked_at < CHECK_INTERVAL_S:
            return
        if now - self._checked_at > HEAD_TIMEOUT_S:  # nobody has looked in between
            self._reachable_at = now
        self._checked_at = now
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
            self._reachable_at = now
        except OSError as error:
            if now - self._reachable_at >= HEAD_TIMEOUT_S:
                raise EngineError(
                    f"the head of the Ray cluster, {self.address}, no longer answers ({error}). What was found until now is "
                    "kept: when the cluster is up again, run the same command with --resume"
                ) from error
