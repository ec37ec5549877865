"""Diagnose the networks of a run directory or a profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dnlbench.architecture import ARCHITECTURES
from dnlbench.diagnosis.findings import findings_of, never_learned_findings
from dnlbench.diagnosis.model import Diagnosis, LeftOut, RunMetrics
from dnlbench.diagnosis.summary import summarize_runs
from dnlbench.errors import ConfigurationError, ProfileError, RunDirError
from dnlbench.events import DataInfo
from dnlbench.executor.processes import call
from dnlbench.executor.slots import choose_slots
from dnlbench.executor.weights import weights_folder
from dnlbench.machine import Slot, read_machine
from dnlbench.plan import Plan
from dnlbench.profiles import never_learned, read_profile
from dnlbench.store import RunDir
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.spec import is_factory

FUNCTION = "dnlbench.runners.training.diagnose:diagnose_all"
NAMED_REASONS = 3
CUSTOM_NETWORK = "is a custom network, whose blocks and states are unknown"
ONLY_OURS = f"Only the networks of dnlbench can be diagnosed: {', '.join(ARCHITECTURES)}"
SMALL_PIXELS = 256

OnProgress = Callable[[str, int, int], None]
"""Receives the title of a run, its number from 1, and the number of runs."""


@dataclass(frozen=True, kw_only=True)
class RunWithWeights:
    """A run and the location of its final weights."""

    run_id: str
    network: str
    depth: int
    seed: int
    weights: Mapping[str, Any]
    """Location of the weights in the form of `dnlbench.runners.training.diagnose`."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A sweep that can be diagnosed."""

    name: str
    path: Path
    spec: TrainingSpec
    data: DataInfo
    runs: tuple[RunWithWeights, ...]
    left_out: tuple[LeftOut, ...]
    remedy: str

    @property
    def has_only_custom_networks(self) -> bool:
        """True if all networks are custom networks, which cannot be diagnosed."""
        return all(map(is_factory, self.spec.sweep.networks))

    @property
    def chance_classes(self) -> int | None:
        """Number of classes if the loss of guessing is ln(classes), None otherwise."""
        return self.data.choices if Plan(self.spec).study.has_chance_level else None

    def with_data_at(self, root: Path) -> Source:
        data = self.spec.data.model_copy(update={"root": str(root)})
        return replace(self, spec=self.spec.model_copy(update={"data": data}))


def find_source(path: Path) -> Source:
    """Find the weights of a run directory (its last checkpoints), or of a profile that was saved with weights.

    Raises:
        RunDirError: if a folder is not the run directory of a training sweep that has started.
        ProfileError: if a file is not the profile of a training sweep.
    """
    return _of_run_dir(path) if path.is_dir() else _of_profile(path)


def diagnose(
    source: Source, *, device: str = "auto", samples: int = 128, on_progress: OnProgress | None = None
) -> Diagnosis:
    """Measure every run that has its weights, in a child process.

    ``samples`` is the maximum number of training images for the measurement.

    Raises:
        ConfigurationError: if no run has its weights, with the reasons; if the device or the data is missing.
        EngineError: if the process ends before the measurement.
    """
    slot, runs = _slot(device, source.data), [run for run in source.runs if not is_factory(run.network)]
    by_id, metrics, left_out = {run.run_id: run for run in runs}, [], list(source.left_out)
    left_out += [
        LeftOut(run_id=run.run_id, reason=f"{run.network} {CUSTOM_NETWORK}", ended_well=True)
        for run in source.runs
        if is_factory(run.network)
    ]
    arguments = {
        "spec": source.spec.model_dump(mode="json"),
        "slot": slot.model_dump(mode="json"),
        "samples": samples,
        "data_sha256": source.data.sha256,
        "runs": [{"run_id": r.run_id, "network": r.network, "depth": r.depth, **r.weights} for r in runs],
    }
    for number, part in enumerate(call(FUNCTION, arguments, slot) if runs else ()):
        run = by_id[part["run"]]
        if "left_out" in part:
            left_out.append(LeftOut(run_id=run.run_id, reason=part["left_out"], ended_well=True))
            continue
        if on_progress is not None:
            on_progress(f"{run.network} L={run.depth} seed {run.seed}", number + 1, len(runs))
        metrics.append(_run_metrics(run, part, source.chance_classes))
    if not metrics:
        raise ConfigurationError(_nothing(source, left_out))
    points, trends = summarize_runs(metrics)
    learned = summarize_runs([run for run in metrics if not run.never_learned])
    return Diagnosis(
        name=source.name,
        source=str(source.path),
        samples=min(samples, source.data.samples),
        device=slot.device.name,
        points=points,
        trends=trends,
        findings=findings_of(*learned, never_learned=never_learned_findings(metrics, source.chance_classes)),
        runs=tuple(metrics),
        left_out=tuple(left_out),
    )


def _run_metrics(run: RunWithWeights, part: Mapping[str, Any], classes: int | None) -> RunMetrics:
    training = part.get("training")
    loss = training["loss"] if training else None
    return RunMetrics(
        run_id=run.run_id,
        network=run.network,
        depth=run.depth,
        seed=run.seed,
        blocks=part["blocks"],
        training=training,
        never_learned=never_learned(float(loss), classes) if loss is not None else False,
    )


def _slot(device: str, data: DataInfo) -> Slot:
    """Choose the slot: on CPUs all cores, but one thread for small images, which do not profit from more."""
    machine, pixels = read_machine(), math.prod(data.input_shape[1:])
    threads = 1 if pixels < SMALL_PIXELS else None
    slots = choose_slots(
        machine.devices, machine.cores, device=device, jobs=1, threads=threads, unusable=machine.unusable
    )
    return slots[0]


def _nothing(source: Source, left_out: list[LeftOut]) -> str:
    reasons = [f"\n  {left.run_id}: {left.reason}" for left in left_out[:NAMED_REASONS]]
    more = len(left_out) - len(reasons)
    return "".join(
        [
            f"{source.path}: no run can be diagnosed:",
            *reasons,
            f"\n  and {more} more" if more else "",
            f"\n{ONLY_OURS if source.has_only_custom_networks else source.remedy}",
        ]
    )


def _of_run_dir(path: Path) -> Source:
    run_dir = RunDir(path)
    plan = run_dir.read_plan()
    if not isinstance(plan.spec, TrainingSpec):
        raise RunDirError(_no_networks(path, plan.spec.study))
    _refuse_grid(path, plan.spec)
    preparations = run_dir.read_state().preparations
    if not preparations:
        raise RunDirError(f"{path}: the sweep has not started: its journal names no data")
    runs, left_out = [], []
    for run in plan.runs:
        ended = run_dir.read_history(run).ended
        if ended is not None and ended.status == "ok":
            where = {"folder": str(run_dir.run_path(run.run_id)), "epochs": run.epochs}
            point = run.point
            runs.append(
                RunWithWeights(
                    run_id=run.run_id, network=point.network, depth=point.depth, seed=run.seed, weights=where
                )
            )
        else:
            reason = f"ended as {ended.status}" if ended else "has not finished"
            left_out.append(LeftOut(run_id=run.run_id, reason=reason, ended_well=False))
    return Source(
        name=plan.spec.name,
        path=path,
        spec=plan.spec,
        data=preparations[0].data,
        runs=tuple(runs),
        left_out=tuple(left_out),
        remedy="Finish the sweep (dnlbench run with --resume), or train it again in another --run-dir",
    )


def _of_profile(path: Path) -> Source:
    profile = read_profile(path)
    if profile.declared.spec is not TrainingSpec:
        raise ProfileError(_no_networks(path, profile.study))
    try:
        spec = TrainingSpec.from_saved(profile.spec)
    except ValidationError as error:
        raise ProfileError(f"{path}: this version cannot train its spec: {error}") from error
    _refuse_grid(path, spec)
    runs, left_out = [], []
    for run in profile.runs:
        if run.status == "ok" and run.weights_sha256 is not None:
            file = weights_folder(path) / f"{run.run_id}.pt"
            where = {"file": str(file), "sha256": run.weights_sha256}
            runs.append(
                RunWithWeights(run_id=run.run_id, network=run.network, depth=run.depth, seed=run.seed, weights=where)
            )
        else:
            reason = "its weights were not kept" if run.status == "ok" else f"ended as {run.status}"
            left_out.append(LeftOut(run_id=run.run_id, reason=reason, ended_well=run.status == "ok"))
    return Source(
        name=profile.name,
        path=path,
        spec=spec,
        data=profile.data,
        runs=tuple(runs),
        left_out=tuple(left_out),
        remedy=(
            "Pass the sweep's run directory instead, or run the sweep again with --keep-weights, which retrains nothing if the "
            f"run directory still exists. The weights of this profile belong in {weights_folder(path)}"
        ),
    )


def _refuse_grid(path: Path, spec: TrainingSpec) -> None:
    if spec.sweep.grid:
        keys = ", ".join(spec.sweep.grid)
        raise ConfigurationError(
            f"{path}: its sweep has a grid over {keys}; diagnose measures networks of equal settings. "
            "Run a sweep without the grid at the settings of interest"
        )


def _no_networks(path: Path, study: str) -> str:
    return f"{path}: study {study!r} trains no image networks; diagnose needs study 'training'"
