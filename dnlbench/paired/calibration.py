"""Measure the noise floor with paired benchmarks of a sweep against itself; see `dnlbench.noise`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dnlbench.comparison import Comparison, compare
from dnlbench.errors import ConfigurationError, EngineError
from dnlbench.noise import Floor, noise_floor
from dnlbench.paired.session import OnMessage, Session, run_session
from dnlbench.profiles import Profile, read_profile

DEFAULT = "digits-quick"
DEFAULT_SETTINGS = (
    'name="calibration"',
    'sweep.networks=["densenet","dense-gaussian"]',
    "sweep.depths=[2,4]",
    "train.epochs=3",
)
"""Settings of the default sweep: three rounds take two to three minutes on two server cores."""


def calibrate(session: Session, rounds: int, on_message: OnMessage) -> Floor:
    """Run a paired benchmark of identical base and head ``rounds`` times, and return the noise floor.

    The base of the session is this environment without settings of its own. Each round uses temporary run directories and
    profiles instead of those of the session. ``rounds`` is at least 1.

    Raises:
        ConfigurationError: if no quantity of the study depends on the hardware.
        KeyboardInterrupt: if a round was interrupted.
        EngineError: if runs failed.
    """
    study = session.request.plan.study
    if not any(quantity.hardware_dependent for quantity in study.quantities):
        raise ConfigurationError(
            f"study {study.name!r}: has no noise floor, because its quantities do not depend on the hardware. "
            "Calibrate with a spec of the study 'training'"
        )
    comparisons, head = [], None
    for number in range(1, rounds + 1):
        on_message(f"round {number} of {rounds}")
        with tempfile.TemporaryDirectory(prefix="dnlbench-calibrate-") as folder:
            head, comparison = _round(_within(session, Path(folder)), on_message)
        comparisons.append(comparison)
    assert head is not None, "there is at least one round"
    return Floor(
        measured=datetime.now(UTC),
        sweep=session.request.plan.spec.name,
        rounds=rounds,
        networks=tuple(dict.fromkeys(overall.network for overall in comparisons[0].overall)),
        device=session.slots[0].device.label,
        threads=session.slots[0].threads,
        torch=head.machine.torch,
        floors={name: noise_floor(logs) for name, logs in furthest(comparisons).items()},
    )


def furthest(comparisons: Sequence[Comparison]) -> dict[str, list[float]]:
    """Return |log of head over base| of the network that differs most, for each comparison, by hardware-dependent quantity.

    All depths and seeds of a network are combined.
    """
    logs: dict[str, list[float]] = {}
    for comparison in comparisons:
        largest: dict[str, float] = {}
        for overall in comparison.overall:
            if overall.quantity.hardware_dependent and overall.ratio is not None:
                name, size = overall.quantity.name, abs(math.log(overall.ratio.estimate))
                largest[name] = max(size, largest.get(name, 0.0))
        for name, size in largest.items():
            logs.setdefault(name, []).append(size)
    return logs


def _round(session: Session, on_message: OnMessage) -> tuple[Profile, Comparison]:
    end = run_session(session, on_message)
    if end.interrupted:
        raise KeyboardInterrupt
    base, head = read_profile(session.base_out), read_profile(session.out)
    for name, profile in (("base", base), ("head", head)):
        bad = next((run for run in profile.runs if run.status != "ok"), None)
        if bad is not None:
            cause = f": {bad.error.type}: {bad.error.message}" if bad.error else ""
            raise EngineError(
                f"{bad.run_id} of the {name} ended as {bad.status}{cause}. Without its runs there is no noise floor"
            )
    return head, compare(base, head)


def _within(session: Session, folder: Path) -> Session:
    return replace(
        session,
        request=replace(session.request, resume=False),
        run_dir=folder / "head",
        base_run_dir=folder / "head-base",
        out=folder / "head.json",
        base_out=folder / "base.json",
    )
