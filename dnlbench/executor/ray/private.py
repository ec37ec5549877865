"""All that uses interfaces which Ray does not promise to keep.

As a process of its own it asks a Ray cluster who it is, for `dnlbench.executor.ray.safety`: Ray's library reads the environment
once, ends the process where a token is wanted that cannot be read, and keeps trying for most of a minute where nobody answers,
nothing that a sweep's engine should find out for itself. Prints one JSON object with ``status``: ``answered``, with
``address``, ``nodes`` (addresses), ``here`` (whether one of them runs on this machine), ``ray`` and ``python`` (versions);
``refused`` for want of the right token; ``absent`` where ``auto`` finds no cluster; ``failed``, with ``message``. Nothing of
ours is sent but the token, if the environment has it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

CALL_TIMEOUT_S = 10.0
"""For each of the two questions."""


def read_environment_again() -> None:
    """Ray's library keeps what it read of the environment before, in a process that had to do with another cluster."""
    from ray import _raylet
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False  # see `dnlbench.executor.ray.safety.LOOPBACK_ONLY`
    _raylet.Config.initialize("")
    _raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def output_suppressed() -> Iterator[None]:
    """Keeps what the cluster reports, such as a node's death, off stdout, which is data. Ray has no switch for that."""
    from ray._private import worker

    printed = getattr(worker, "print_to_stdstream", None)
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printed


def main(address: str) -> None:
    """Prints the answer."""
    from ray.exceptions import AuthenticationError

    try:
        answer = _query(address)
    except AuthenticationError:
        answer = {"status": "refused"}
    except Exception as error:  # whatever it is, the other side is told
        answer = {"status": "failed", "message": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))


def _query(asked: str) -> dict[str, Any]:
    from ray import _raylet
    from ray._private.services import find_node_ids

    address = _find_address(asked)
    if address is None:
        return {"status": "absent"}
    client = _raylet.GcsClient(address=address)
    nodes = client.get_all_node_info(timeout=CALL_TIMEOUT_S)
    metadata = client.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster", timeout=CALL_TIMEOUT_S)
    versions = json.loads(metadata or b"{}")
    alive = {node_id.hex(): node for node_id, node in nodes.items() if node.state == 0}
    return {
        "status": "answered",
        "address": address,
        "nodes": sorted({node.node_manager_address for node in alive.values()}),
        "here": not alive.keys().isdisjoint(find_node_ids()),
        "ray": versions.get("ray_version"),
        "python": versions.get("python_version"),
    }


def _find_address(asked: str) -> str | None:
    """As ``host:port``, by Ray's rules but for a cluster that was, and for one of several; None without one.

    Raises:
        LookupError: if several run here and none of them was started last.
    """
    from ray._private.services import canonicalize_bootstrap_address, find_bootstrap_address, find_gcs_addresses

    if asked != "auto":
        return str(canonicalize_bootstrap_address(asked))
    last, running = find_bootstrap_address(None), find_gcs_addresses()
    if last in running or len(running) == 1:
        return str(last if last in running else next(iter(running)))
    if running:
        raise LookupError(f"several run here, at {', '.join(sorted(running))}: name one")
    return None


if __name__ == "__main__":
    main(sys.argv[1])
