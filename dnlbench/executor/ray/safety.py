"""Safety checks of a Ray cluster from outside, before anything is sent to it."""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from dnlbench.errors import ConfigurationError, EngineError

CONNECT_TIMEOUT_S = 5.0
"""Time limit for a machine to accept a connection."""
QUERY_TIMEOUT_S = 25.0
"""Time limit for a query of the cluster, including the start of the process that sends it."""
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Keep Ray, which reads this at import, from replacing loopback by the machine's external address."""
_CREDENTIALS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_QUERY_MODULE = "dnlbench.executor.ray.private"
_TOKENS = (
    "Set RAY_AUTH_MODE=token on every machine of the cluster before `ray start`, with one token for all: "
    "`ray get-auth-token --generate` writes it to ~/.ray/auth_token; `chmod 600` that and copy it to the others"
)


@dataclass(frozen=True, kw_only=True)
class TrustedCluster:
    """A cluster that is safe to connect to."""

    address: str
    """Resolved address, ``host:port``."""
    enforces: bool
    """True if the cluster rejected a query without a token."""


def examine(address: str, *, insecure: bool = False) -> TrustedCluster:
    """Query the cluster without a token and, if it requires one, with the token of the environment; see `connected`.

    Raises:
        ConfigurationError: if the cluster does not exist, rejects the token, is not safe, runs another version of Ray
            or Python, or has no node on this machine.
        EngineError: if the response is not that of a cluster.
    """
    if "://" in address:
        raise ConfigurationError(
            f"--ray-address {address}: dnlbench does not support Ray's client. Run dnlbench on a machine of the "
            "cluster, for example its head, with --ray-address auto; follow it over SSH with `dnlbench attach`"
        )
    if address != "auto":
        _check_reachable(address)
    answer = _query(address, anonymous=True)
    enforces = answer["status"] == "refused"
    if enforces:
        answer = _query(address, anonymous=False)
    _check(address, answer)
    outside = [node for node in (_host(answer["address"]), *answer["nodes"]) if not _is_loopback(node)]
    if outside and not enforces and not insecure:
        raise ConfigurationError(
            f"the Ray cluster at {answer['address']} can be reached from other machines (at {outside[0]}) and requires no "
            f"token: anyone who can reach it can run any code as its user. {_TOKENS}; or use --ray-insecure if "
            "nobody else can reach these machines"
        )
    return TrustedCluster(address=answer["address"], enforces=enforces)


def _check_reachable(address: str) -> None:
    try:
        host, port = _host(address), int(address.rpartition(":")[2])
    except ValueError:
        raise ConfigurationError(
            f"--ray-address {address}: write host:port, for example 10.0.0.1:6379, or auto"
        ) from None
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"--ray-address {address}: no response ({error}). Check that the head is running (`ray start --head`) "
            "and that this is its address and port"
        ) from None


def _query(address: str, *, anonymous: bool) -> dict[str, Any]:
    environment = {**os.environ, **LOOPBACK_ONLY, "RAY_USAGE_STATS_ENABLED": "0"}
    if anonymous:
        environment = _without_credentials(environment)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", _QUERY_MODULE, address],
            env=environment,
            capture_output=True,
            text=True,
            timeout=QUERY_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return {"status": "failed", "message": f"no response within {QUERY_TIMEOUT_S:.0f} s"}
    if done.returncode == 0 and done.stdout.strip():
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer
    if "authentication_token_loader" in done.stderr:  # Ray exits if a required token cannot be read
        return {"status": "refused"}
    return {"status": "failed", "message": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}


def _without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if name not in _CREDENTIALS}
    return {**kept, "RAY_AUTH_MODE": "disabled"}


def _check(asked: str, answer: Mapping[str, Any]) -> None:
    cluster = "the Ray cluster of this machine" if asked == "auto" else f"the Ray cluster at {asked}"
    if answer["status"] == "absent":
        raise ConfigurationError(
            "--ray-address auto: no Ray cluster runs on this machine. Start one (`ray start --head`), specify its address, "
            "or omit --ray-address to start a private cluster on this machine"
        )
    if answer["status"] == "refused":
        raise ConfigurationError(
            f"{cluster} rejects this process's token. Set RAY_AUTH_MODE=token. Put the token, which "
            "`ray get-auth-token` prints on a machine of the cluster, into ~/.ray/auth_token or RAY_AUTH_TOKEN"
        )
    if answer["status"] == "failed":
        raise EngineError(f"{cluster} could not be queried: {answer['message']}")
    ours = {"ray": metadata.version("ray"), "python": platform.python_version()}
    theirs = {name: answer[name] for name in ours}
    if theirs != ours:
        raise ConfigurationError(
            f"{cluster} runs Ray {theirs['ray']} on Python {theirs['python']}, this is Ray {ours['ray']} "
            f"on Python {ours['python']}: both versions must be the same on every machine"
        )
    if not answer["here"]:
        raise ConfigurationError(
            f"no node of the Ray cluster at {answer['address']} runs on this machine. Run dnlbench on one of its machines, or "
            f"add this one: `ray start --address={answer['address']}`, with --num-cpus=0 if it should not run any work"
        )


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_loopback(host: str) -> bool:
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:  # an unknown host is not this machine
        return False
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in addresses)
