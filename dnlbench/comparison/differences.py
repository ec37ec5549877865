"""The differences of two profiles in spec, machine, code and workload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dnlbench.comparison.hardware import described, listed
from dnlbench.comparison.model import Difference
from dnlbench.profiles import Profile, flat_settings, nodes_of

VOLATILE_KEYS = ("memory_used_bytes", ".utilisation", ".processes")
"""Properties of a machine that change all the time."""


def differences(reference: Profile, candidate: Profile) -> Iterator[Difference]:
    """Yield the differences in spec, machine, code and workload, without labels and values that change all the time.

    Clusters are compared by the models of their machines and their software. Names and the number of runs on each are ignored.
    """
    for group, ours, theirs in (
        ("spec", reference.spec, candidate.spec),
        ("machine", reference.machine.model_dump(mode="json"), candidate.machine.model_dump(mode="json")),
        ("code", _code(reference), _code(candidate)),
        ("workload", {"version": reference.workload_version}, {"version": candidate.workload_version}),
    ):
        flat_ours, flat_theirs = dict(flat_settings(ours)), dict(flat_settings(theirs))
        for key in dict.fromkeys([*flat_ours, *flat_theirs]):
            values = flat_ours.get(key), flat_theirs.get(key)
            if values[0] != values[1] and not key.endswith(VOLATILE_KEYS) and key not in ("name", "fingerprint"):
                yield Difference(what=f"{group} {key}", reference=str(values[0]), candidate=str(values[1]))
    ours, theirs = _cluster(reference), _cluster(candidate)
    if ours.keys() != theirs.keys():
        yield Difference(what="machine nodes", reference=_text(ours), candidate=_text(theirs))


def _code(profile: Profile) -> dict[str, Any]:
    files = {file: sha256[:12] for file, sha256 in profile.custom_code.files.items()}
    return {**profile.code.model_dump(), **files, **profile.custom_code.packages}


def _cluster(profile: Profile) -> dict[str, list[str]]:
    models: dict[str, list[str]] = {}
    for use in nodes_of(profile.runs):
        node = use.node
        models.setdefault(f"{described(node)}, Python {node.python}, torch {node.torch}", []).append(node.name)
    return dict(sorted(models.items()))


def _text(models: dict[str, list[str]]) -> str:
    return "; ".join(f"{model}: {listed(names)}" for model, names in models.items()) or "None"


def other_problem(reference: Profile, candidate: Profile) -> str:
    """Return the settings in which the problems of two profiles differ; empty if they agree.

    A study without epochs measures a property of a problem. The spec without its axes defines that problem.
    """
    if reference.declared.has_epochs:
        return ""
    ours, theirs = (
        dict(flat_settings({key: value for key, value in profile.spec.items() if key not in ("name", "sweep")}))
        for profile in (reference, candidate)
    )
    return ", ".join(
        f"{key} = {ours.get(key)} and {theirs.get(key)}"
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    )
