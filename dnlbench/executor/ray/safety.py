"""Whether a Ray cluster may be trusted with a sweep: found out from outside, before anything is sent to it."""

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
"""How long a machine may take to accept a connection."""
QUERY_TIMEOUT_S = 25.0
"""How long a cluster may take to tell who it is, start of the asking process included."""
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Keeps Ray, which reads it when it is imported, from putting this machine's outward address in the place of loopback."""
_CREDENTIALS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_QUERY_MODULE = "dnlbench.executor.ray.private"
_TOKENS = (
    "Set RAY_AUTH_MODE=token on every machine of the cluster before `ray start`, with one token for all: "
    "`ray get-auth-token --generate` writes it to ~/.ray/auth_token; `chmod 600` that and copy it to the others"
)


@dataclass(frozen=True, kw_only=True)
class TrustedCluster:
    """A cluster that may be connected to."""

    address: str
    """``host:port``, whatever was asked for."""
    enforces: bool
    """Whether it turned away a question without a token."""


def examine(address: str, *, insecure: bool = False) -> TrustedCluster:
    """Ask the cluster without a token, then, if it wants one, with that of the environment; for options see `connected`.

    Raises:
        ConfigurationError: for a cluster that is not there, that does not take our token, that is not safe, of another
            Ray or Python, or of which no node runs on this machine.
        EngineError: for one that does not answer as a cluster does.
    """
    if "://" in address:
        raise ConfigurationError(
            f"--ray-address {address}: sweeps are not run through Ray's client. Run dnlbench on a machine of the "
            "cluster, for example its head, with --ray-address auto; `dnlbench attach` follows it there over SSH"
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
            f"the Ray cluster at {answer['address']} can be reached from other machines (at {outside[0]}) and asks nobody "
            f"for a token: whoever reaches it can run any code as its user. {_TOKENS}; or use --ray-insecure where "
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
            f"--ray-address {address}: nobody answers there ({error}). Is the head up (`ray start --head`), "
            "and is this its address and port?"
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
        return {"status": "failed", "message": f"no answer within {QUERY_TIMEOUT_S:.0f} s"}
    if done.returncode == 0 and done.stdout.strip():
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer
    if "authentication_token_loader" in done.stderr:  # Ray ends a process that is to use a token which cannot be read
        return {"status": "refused"}
    return {"status": "failed", "message": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}


def _without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if name not in _CREDENTIALS}
    return {**kept, "RAY_AUTH_MODE": "disabled"}


def _check(asked: str, answer: Mapping[str, Any]) -> None:
    cluster = "the Ray cluster of this machine" if asked == "auto" else f"the Ray cluster at {asked}"
    if answer["status"] == "absent":
        raise ConfigurationError(
            "--ray-address auto: no Ray cluster runs on this machine. Start one (`ray start --head`), name its address, "
            "or leave --ray-address out for a cluster of this machine alone"
        )
    if answer["status"] == "refused":
        raise ConfigurationError(
            f"{cluster} does not take this process's token. Set RAY_AUTH_MODE=token, and its token in "
            "~/.ray/auth_token, which `ray get-auth-token` prints on a machine of the cluster, or in RAY_AUTH_TOKEN"
        )
    if answer["status"] == "failed":
        raise EngineError(f"{cluster} does not tell who it is: {answer['message']}")
    ours = {"ray": metadata.version("ray"), "python": platform.python_version()}
    theirs = {name: answer[name] for name in ours}
    if theirs != ours:
        raise ConfigurationError(
            f"{cluster} runs Ray {theirs['ray']} on Python {theirs['python']}, this is Ray {ours['ray']} "
            f"on Python {ours['python']}: both have to be the same on every machine"
        )
    if not answer["here"]:
        raise ConfigurationError(
            f"no node of the Ray cluster at {answer['address']} runs on this machine. Run dnlbench on one of its machines, or "
            f"let this one join it: `ray start --address={answer['address']}`, with --num-cpus=0 if it is not to do any work"
        )


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_loopback(host: str) -> bool:
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:  # whoever cannot be found here is somewhere else
        return False
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in addresses)
