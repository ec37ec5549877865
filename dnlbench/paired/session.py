"""A session of a paired benchmark: start both engines, alternate their runs and stop the engines."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from dnlbench import units
from dnlbench.engine.outcome import check_out, check_outcome, used_by
from dnlbench.engine.placement import choose_placement, find_run_dir, slots_of
from dnlbench.engine.request import RunRequest
from dnlbench.errors import ConfigurationError, NotComparableError, SpecError
from dnlbench.machine import Slot, read_machine
from dnlbench.outputs import is_same_file
from dnlbench.paired.engine import PairedEngine, RunEnd
from dnlbench.paired.interpreter import Interpreter, find_interpreter
from dnlbench.paired.record import begin_record, drop_split_pairs
from dnlbench.paired.schedule import Key, Role, RunGroup, alternate_runs
from dnlbench.plan import Plan
from dnlbench.profiles.files import FOLDER
from dnlbench.spec import SpecText, content_hash
from dnlbench.store import RunDir

OnMessage = Callable[[str], None]
COMPARED_WITH_ITSELF = (
    "--against: the base is this environment with the same settings, which would compare the sweep with itself. Name another "
    "environment, change a setting of the base with --against-set, or measure the noise floor with dnlbench calibrate"
)
NOTHING_IN_COMMON = "base and head have no network, depth and seed in common; nothing was trained"


@dataclass(frozen=True, kw_only=True)
class Session:
    """A paired benchmark with all options resolved."""

    request: RunRequest
    """The request of the head."""
    base: Interpreter
    base_settings: tuple[str, ...]
    """Settings of ``--against-set``, for the base only."""
    slots: tuple[Slot, ...]
    run_dir: Path
    base_run_dir: Path
    out: Path
    base_out: Path


@dataclass(frozen=True, kw_only=True)
class SessionEnd:
    """The outcome of a session."""

    saved: bool
    """True if both profiles were saved: not after an interrupt before the first run of each."""
    interrupted: bool
    failed: bool


def plan_session(
    request: RunRequest,
    against: str | None,
    base_settings: Sequence[str],
    base_out: Path | None,
    on_message: OnMessage | None = None,
) -> Session:
    """Resolve the options of a paired benchmark. The default is one run at a time, with the threads of an ordinary run.

    An ordinary sweep uses the fastest placement, a paired benchmark the least noisy one: a single run, which uses one thread on
    a CPU and leaves the other cores to other processes. Threads wait for the slowest among them, which amplifies the effect of
    other processes on shared cores. With ``--jobs N``, N runs of one role share the machine, so that all slots have the same
    kind of load.

    Raises:
        ConfigurationError: if the interpreter does not exist or its dnlbench does not support paired benchmarks, or if base and
            head are identical.
        NotComparableError: if the settings of the base leave no run in common with the head.
    """
    base = find_interpreter(against)
    if base.is_this_one:
        base_plan = _base_plan(request, base_settings)
        if (against is not None or base_settings) and _runs_as(base_plan) == _runs_as(request.plan):
            raise ConfigurationError(COMPARED_WITH_ITSELF)
    base.check()
    machine = read_machine()
    threads = slots_of(replace(request, executor="local"), machine)[0].threads
    request = replace(request, jobs=request.jobs or 1, threads=threads, pack=request.pack or 1)
    placement = choose_placement(request, machine)
    run_dir = request.run_dir or _default_run_dir(request, base, base_settings, on_message)
    out = request.out or _new_path(request.plan.spec.name)
    return Session(
        request=request,
        base=base,
        base_settings=tuple(base_settings),
        slots=placement.slots,
        run_dir=run_dir,
        base_run_dir=run_dir.with_name(f"{run_dir.name}-base"),
        out=out,
        base_out=base_out or out.with_name(f"{out.stem}-base{out.suffix}"),
    )


def run_session(session: Session, on_message: OnMessage) -> SessionEnd:
    """Alternate the unfinished runs of base and head. Each engine saves its profile.

    An interrupt stops both like an ordinary sweep. An engine interrupted before its first run keeps an existing profile.

    Raises:
        ConfigurationError: if base or head cannot run as requested; nothing was trained.
        NotComparableError: if they have no runs in common; nothing was trained.
        EngineError: if an engine exits during a run.
    """
    _check_outs(session)
    head_dir, base_dir = RunDir(session.run_dir), RunDir(session.base_run_dir)
    base, settings = session.base.path, session.base_settings
    name = begin_record(head_dir, base_dir, base, settings, resume=session.request.resume)
    for key in drop_split_pairs(head_dir, base_dir):
        on_message(f"{_title(key)}: restarting the interrupted pair")
    engines: dict[Role, PairedEngine] = {}
    have_started = interrupted = False
    try:
        for role in ("base", "head"):
            _start(session, name, role, engines, on_message)
        groups = _group_runs(engines, on_message)
        have_started = True
        _run_groups(engines, groups, on_message)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        for engine in engines.values():
            engine.interrupt()
        for engine in engines.values():
            engine.end()
    failed = any(engine.exit_code != 0 for engine in engines.values())
    saved = have_started and all(engine.has_saved for engine in engines.values())
    interrupted |= any(engine.exit_code == 130 for engine in engines.values())  # by dnlbench control, for example
    return SessionEnd(saved=saved, interrupted=interrupted, failed=failed)


def _check_outs(session: Session) -> None:
    """Check the paths of both profiles before anything starts."""
    if is_same_file(session.out, session.base_out):
        raise ConfigurationError(
            f"--out-base {session.base_out}: is the profile of the head. Name another file, or remove the option"
        )
    check_outcome(replace(session.request, out=session.out, run_dir=session.run_dir))
    check_out(session.base_out, used_by(replace(session.request, run_dir=session.base_run_dir)), "--out-base")


def _start(session: Session, name: str, role: Role, engines: dict[Role, PairedEngine], on_message: OnMessage) -> None:
    # The engines start one after the other, so that data are not downloaded twice.
    interpreter = session.base if role == "base" else find_interpreter(None)
    on_message(f"{role}: starting {' '.join([interpreter.path, *(session.base_settings if role == 'base' else ())])} …")
    engines[role] = engine = PairedEngine(role, _request(session, name, role), interpreter)
    engine.prepare()
    for warning in engine.prepared.warnings:
        on_message(f"{role}: {warning}")


def _group_runs(engines: dict[Role, PairedEngine], on_message: OnMessage) -> list[RunGroup]:
    base, head = engines["base"], engines["head"]
    there, here = base.run_dir.read_run_ids(), head.run_dir.read_run_ids()
    if not set(there) & set(here):
        raise NotComparableError(NOTHING_IN_COMMON)
    if split := head.prepared.data.differing_split(base.prepared.data):
        raise NotComparableError(f"base and head have different data: their {split} splits differ; nothing was trained")
    size = min(base.slots * base.pack_size, head.slots * head.pack_size)
    groups = alternate_runs(list(base.waiting), list(head.waiting), size)
    left = len(base.waiting) + len(head.waiting)
    done = len(there) + len(here) - left
    at_a_time = "one run at a time" if size == 1 else f"up to {size} runs of base or head at a time"
    on_message(
        f"{units.counted(left, 'run')} in {units.counted(len(groups), 'alternating group')}, {at_a_time}"
        + (f"; {done} already finished" if done else "")
    )
    return groups


def _run_groups(engines: dict[Role, PairedEngine], groups: Sequence[RunGroup], on_message: OnMessage) -> None:
    total, number = sum(len(group.keys) for group in groups), 0
    for engine in engines.values():
        if not engine.waiting:
            engine.finish()
    for group in groups:
        engine = engines[group.role]
        for end in engine.run_group(group.keys):
            number += 1
            on_message(f"[{number}/{total}] {group.role}  {_describe(end)}")
        if not engine.waiting:  # save its profile while no run of the other engine is timed
            engine.finish()


def _request(session: Session, name: str, role: Role) -> RunRequest:
    """Return the request for an engine. It contains the text of the spec: the preset of another version may differ."""
    request, is_base = session.request, role == "base"
    return replace(
        request,
        spec=_base_spec(request, session.base_settings) if is_base else request.spec,
        run_dir=session.base_run_dir if is_base else session.run_dir,
        out=session.base_out if is_base else session.out,
        device=request.device if request.device != "auto" else session.slots[0].device.kind,
        keep_weights=request.keep_weights and not is_base,  # unknown to older versions
        resume=False,
        session=name,
    )


def _base_spec(request: RunRequest, base_settings: Sequence[str]) -> SpecText:
    return replace(request.spec, settings=(*request.spec.settings, *base_settings))


def _base_plan(request: RunRequest, base_settings: Sequence[str]) -> Plan:
    """Check the plan of the base early, with errors that name ``--against-set``. Only for a base in this environment."""
    try:
        base = Plan(_base_spec(request, base_settings).parse())
    except SpecError as error:
        text = str(error)
        for key in {setting.partition("=")[0] for setting in base_settings}:
            text = re.sub(rf"--set (?='?{re.escape(key)})", "--against-set ", text)
        raise SpecError(text) from error
    if not {(run.point, run.seed) for run in request.plan.runs} & {(run.point, run.seed) for run in base.runs}:
        raise NotComparableError(NOTHING_IN_COMMON)
    return base


def _runs_as(plan: Plan) -> tuple[str, int]:
    """Return what determines the training of each run, independent of the set of runs."""
    return plan.settings_hash, plan.spec.epochs


def _default_run_dir(
    request: RunRequest, base: Interpreter, base_settings: Sequence[str], on_message: OnMessage | None
) -> Path:
    """Return a default that differs from the run directory of an ordinary sweep."""
    other = content_hash({"python": base.path, "set": list(base_settings)}, digits=6)
    return find_run_dir(request, suffix=f"-against-{other}", on_message=on_message)


def _new_path(name: str) -> Path:
    """Return a new path with a random part: other sessions may start in the same second."""
    return FOLDER / f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}.json"


def _describe(end: RunEnd) -> str:
    rate = f", {units.count(end.samples_per_s)} samples/s" if end.samples_per_s is not None else ""
    return f"{_title(end.key)}: {end.status}, {units.seconds(end.seconds)}{rate}"


def _title(key: Key) -> str:
    network, depth, seed = key
    return f"{network} L={depth} seed {seed}"
