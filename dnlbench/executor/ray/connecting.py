"""Connections to a Ray cluster: an existing one, or a private one on this machine for as long as it is needed."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnlbench.errors import ConfigurationError, EngineError
from dnlbench.executor.ray.private import output_suppressed, read_environment_again
from dnlbench.executor.ray.reaper import MARK
from dnlbench.executor.ray.safety import LOOPBACK_ONLY, examine
from dnlbench.machine import usable_cores

OBJECT_STORE_BYTES = 200 * 2**20
"""Object store size of a private cluster. Checkpoints pass through it; it is taken from the machine's memory."""
REAP_TIMEOUT_S = 15.0
"""Time limit for killing the processes that Ray leaves behind."""
MAX_FOLDER_LENGTH = 20
"""Maximum length in characters: names of Ray's sockets add about 60, and a socket's path is limited to 107."""
_NO_STATISTICS = {"RAY_USAGE_STATS_ENABLED": "0"}
NORMAL_PRIORITY = {"RAY_worker_niceness": "0"}
"""The default of Ray is niceness 15. With any other load on the machine, workers would then hardly train, and their throughput
would be meaningless."""


@contextlib.contextmanager
def connected(address: str | None, *, insecure: bool = False) -> Iterator[None]:
    """Connect this process to a cluster as its driver.

    Enter this context in a thread that lives as long as the connection: the cluster ends with the thread.

    Args:
        address: ``host:port``; ``auto`` for the cluster that runs on this machine; None to start a private cluster here,
            which accepts no other clients and ends with this process, even if the process is killed.
        insecure: allow a cluster that other machines can reach and that requires no token.

    Raises:
        ConfigurationError: if Ray is not installed, or if `dnlbench.executor.ray.safety.examine` rejects the cluster.
        EngineError: if Ray does not start or does not respond.
    """
    _require_ray()
    with output_suppressed(), _private_cluster() if address is None else _attached(address, insecure=insecure):
        yield


def head_address() -> str:
    """Return ``host:port`` of the head of the connected cluster."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def _require_ray() -> None:
    try:
        with _changed_environment({**_NO_STATISTICS, **LOOPBACK_ONLY}):
            import ray  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "--executor ray needs Ray, which is not installed: pip install 'dnlbench[ray]'"
        ) from None


@contextlib.contextmanager
def _attached(address: str, *, insecure: bool) -> Iterator[None]:
    cluster = examine(address, insecure=insecure)
    with _shut_down_after():
        _init(f"connect to the Ray cluster at {cluster.address}", {}, address=cluster.address)
        yield


@contextlib.contextmanager
def _private_cluster() -> Iterator[None]:
    mark, folder = secrets.token_hex(8), _short_folder()
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # not an argument, which every user could read
        MARK: mark,
        **NORMAL_PRIORITY,
    }
    with _reaped(mark, folder), _shut_down_after():
        _init(
            "start Ray on this machine",
            environment,
            address="local",
            num_cpus=usable_cores(),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder / "ray"),  # Ray makes this folder accessible to all users
        )
        _require_loopback()
        yield


def _short_folder() -> Path:
    """Create a folder that only this user can access."""
    folder = tempfile.gettempdir()
    return Path(
        tempfile.mkdtemp(prefix="dnlbench-", dir=folder if len(folder) <= MAX_FOLDER_LENGTH else "/tmp")
    ).resolve()


@contextlib.contextmanager
def _reaped(mark: str, folder: Path) -> Iterator[None]:
    """Run a reaper that cleans up in any case, even if this process is killed."""
    reaper = subprocess.Popen(
        [sys.executable, "-P", "-m", "dnlbench.executor.ray.reaper", mark, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it must survive a signal to the driver's process group
    )
    try:
        yield
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            reaper.communicate(timeout=REAP_TIMEOUT_S)


@contextlib.contextmanager
def _shut_down_after() -> Iterator[None]:
    import ray

    try:
        yield
    finally:
        ray.shutdown()


def _init(doing: str, environment: Mapping[str, str], **options: Any) -> None:
    """Call ``ray.init`` without its output and without its SIGTERM handler, which would replace the engine's.

    Ray passes ``environment`` on to the processes it starts; other children of this process do not inherit it.

    Raises:
        EngineError: if it fails. The message contains ``doing`` and Ray's error.
    """
    import ray

    with (
        _changed_environment({**_NO_STATISTICS, **LOOPBACK_ONLY, **environment}),
        _kept_handler(signal.SIGTERM),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        read_environment_again()
        try:
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
        except Exception as error:  # Ray raises many types
            raise EngineError(f"could not {doing}: {type(error).__name__}: {error}") from error


def _require_loopback() -> None:
    import ray

    addresses = {str(node["NodeManagerAddress"]) for node in ray.nodes()}
    if addresses != {"127.0.0.1"}:
        raise EngineError(
            f"this version of Ray is not restricted to loopback: it listens on {', '.join(sorted(addresses))}"
        )


@contextlib.contextmanager
def _kept_handler(number: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Ray sets no handler there
        yield
        return
    handler = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, handler)


@contextlib.contextmanager
def _changed_environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ[name] for name in changes if name in os.environ}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            os.environ.pop(name, None)
        os.environ.update(before)
