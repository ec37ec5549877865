"""A Ray cluster of several raylets on this machine, in a process of its own with which it ends; see `ray_clusters`.

Arguments: the address of its nodes; one JSON object for each of them, with Ray's parameters in which it is special. Prints a
JSON object with the address and the nodes' ids and raylets' process ids. Each line of its standard input is a node that joins,
of which the same is printed; the end of it is the cluster's.
"""

from __future__ import annotations

import json
import sys

from ray.cluster_utils import Cluster

SMALL_CLUSTER = {"include_dashboard": False, "object_store_memory": 80 * 2**20}


def main(address: str, *specials: str) -> None:
    cluster = Cluster(shutdown_at_exit=True)

    def add(special: str) -> dict[str, object]:
        node = cluster.add_node(**{**SMALL_CLUSTER, "node_ip_address": address, **json.loads(special)})
        return {"node_id": node.node_id, "raylet_pid": node.all_processes["raylet"][0].process.pid}

    nodes = list(map(add, specials))
    print(json.dumps({"address": cluster.address, "nodes": nodes}), flush=True)
    for line in sys.stdin:
        print(json.dumps(add(line)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
