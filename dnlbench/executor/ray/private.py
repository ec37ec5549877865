"""All code that uses private interfaces of Ray.

As a separate process, this module queries a Ray cluster for `dnlbench.executor.ray.safety`. The engine cannot do that
itself: Ray reads the environment only once, exits if a required token cannot be read, and retries for almost a minute if a
cluster does not respond. The process prints one JSON object with the key ``status``:

- ``answered``, with ``address``, ``nodes`` (addresses), ``here`` (True if a node runs on this machine), ``ray`` and ``python``
  (versions)
- ``refused`` if the token is missing or wrong
- ``absent`` if ``auto`` finds no cluster
- ``failed``, with ``message``

It sends nothing but the token, if the environment contains one.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

CALL_TIMEOUT_S = 10.0
"""Time limit for each of the two calls."""


def read_environment_again() -> None:
    """Make Ray read the environment again, in a process that was connected to another cluster before."""
    from ray import _raylet
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False  # see `dnlbench.executor.ray.safety.LOOPBACK_ONLY`
    _raylet.Config.initialize("")
    _raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def output_suppressed() -> Iterator[None]:
    """Keep the cluster's reports, such as a node's death, off stdout. Ray has no option for this."""
    from ray._private import worker

    printed = getattr(worker, "print_to_stdstream", None)
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printed


def main(address: str) -> None:
    """Print the result of the query."""
    from ray.exceptions import AuthenticationError

    try:
        answer = _query(address)
    except AuthenticationError:
        answer = {"status": "refused"}
    except Exception as error:  # any error is reported
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
    """Return ``host:port`` by Ray's rules, ignoring clusters that have ended; None if no cluster runs.

    Raises:
        LookupError: if several clusters run on this machine and none of them was started last.
    """
    from ray._private.services import canonicalize_bootstrap_address, find_bootstrap_address, find_gcs_addresses

    if asked != "auto":
        return str(canonicalize_bootstrap_address(asked))
    last, running = find_bootstrap_address(None), find_gcs_addresses()
    if last in running or len(running) == 1:
        return str(last if last in running else next(iter(running)))
    if running:
        raise LookupError(f"several clusters run here, at {', '.join(sorted(running))}: specify one of them")
    return None


if __name__ == "__main__":
    main(sys.argv[1])
