"""Runs as TensorBoard reads them: a folder of event files for each, written by TensorBoard's own package without TensorFlow.

================================  ======================================================================================
tag                               value, at step
================================  ======================================================================================
``loss/train``                    training loss in nats, at the epoch; so for each metric that the study declares,
                                  under its ``tag``
``throughput/seconds_per_epoch``
``curve/<name>``                  a curve that the run has measured, at the place in the list
``by_depth/<name>``               a result of the run, at its depth: over all runs it is a chart over depth
================================  ======================================================================================

What was not measured has no tag. The network, depth and seed of a run and the settings of its spec are its hyperparameters, so
that the results are a table there, too. TensorBoard keeps values in single precision; the tables have all bits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnlbench.errors import ConfigurationError
from dnlbench.events import EpochRecord
from dnlbench.files import new_folder
from dnlbench.profiles import Profile, RunRecord
from dnlbench.report.export import from_extra
from dnlbench.report.export.tables import Labeled
from dnlbench.studies import STUDIES

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

LONGEST_FOLDER = 120
"""Characters of a folder's name: file systems take 255 bytes, and there may be a number behind it."""
FILE_VERSION = "brain.Event:2"
"""Of the form of event files; the first event in each says it."""
_SECONDS = "throughput/seconds_per_epoch"


@dataclass(frozen=True, kw_only=True)
class _Scalars:
    """What is known at one step."""

    step: int
    time: float
    values: Mapping[str, float]
    """By tag."""


def write_runs(profiles: Sequence[Labeled], folder: Path) -> int:
    """Writes ``<folder>/<network>-L<depth>-seed<seed>/`` for each run, below a folder of each profile if there are several.

    Runs that were never started are left out.

    Returns:
        How many runs there are.

    Raises:
        ConfigurationError: if the package tensorboard is not there, or a number is larger than its files hold.
        FileExistsError: if the folder is there and not empty.
    """
    with from_extra("tensorboard", "tensorboard"):
        import tensorboard.compat.proto.event_pb2
        import tensorboard.plugins.hparams.metadata
        import tensorboard.summary.writer.record_writer  # noqa: F401

    written, names = 0, FolderNames()
    with new_folder(folder) as root:
        for each in profiles:
            own = root / names.take(each.label) if len(profiles) > 1 else root
            below = FolderNames()
            for run in each.profile.runs:
                if run.status != "skipped" or run.epochs:
                    name = below.take(f"{run.network}-L{run.depth}-seed{run.seed}")
                    with _reporting(f"{each.label}: {run.run_id}"):
                        _write(own / name, each.profile, run)
                    written += 1
    return written


class FolderNames:
    """Gives out names of folders below one folder, each once, also where upper and lower case are the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        """The name that was wanted, as far as any file system has it.

        Everything but letters and digits of ASCII, dots, dashes and underscores becomes an underscore, and so does a dot at
        the beginning: no name leads to another folder, or hides. Where that makes two names equal, the second ends in ``-2``.
        """
        name = re.sub(r"[^A-Za-z0-9._-]", "_", wanted)[:LONGEST_FOLDER] or "_"
        name = re.sub(r"^\.", "_", name)
        found, number = name, 1
        while found.casefold() in self._taken:
            number += 1
            found = f"{name}-{number}"
        self._taken.add(found.casefold())
        return found


@contextmanager
def _reporting(location: str) -> Iterator[None]:
    """Says where a number stands that event files have no room for."""
    try:
        yield
    except (OverflowError, ValueError) as error:
        raise ConfigurationError(f"{location}: cannot be written for TensorBoard: {error}") from error


def _write(folder: Path, profile: Profile, run: RunRecord) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    first = run.attempts[0].started if run.attempts else profile.created
    start = first.timestamp()
    folder.mkdir(parents=True)
    with (folder / f"events.out.tfevents.{max(0, int(start)):010d}.dnlbench").open("wb") as file:
        records = RecordWriter(file)
        events: list[Event] = [Event(wall_time=start, file_version=FILE_VERSION), _start_event(profile, run, start)]
        events += map(_event, (*_epochs(run, profile), *_results(profile, run)))
        for event in (*events, _end_event(profile, run)):
            records.write(event.SerializeToString())


def _epochs(run: RunRecord, profile: Profile) -> Iterator[_Scalars]:
    metrics = STUDIES[profile.study].epoch_metrics
    for epoch, time in zip(run.epochs, wall_times(run, profile.created), strict=True):
        found = {metric.tag or f"epoch/{metric.name}": epoch.value(metric.name) for metric in metrics}
        known = {tag: value for tag, value in found.items() if value is not None}
        yield _Scalars(step=epoch.epoch, time=time, values={**known, _SECONDS: epoch.seconds})


def _results(profile: Profile, run: RunRecord) -> Iterator[_Scalars]:
    """What is known once a run has ended; its curves, too."""
    end = _end(profile, run)
    quantities = [quantity.name for quantity in STUDIES[profile.study].quantities]
    found = {name: getattr(run, name, None) for name in quantities} | run.measurements
    results = {f"by_depth/{name}": float(value) for name, value in found.items() if isinstance(value, int | float)}
    yield _Scalars(step=run.depth, time=end, values=results)
    for name, value in run.measurements.items():
        if isinstance(value, tuple):
            for location, number in enumerate(value):
                yield _Scalars(step=location, time=end, values={f"curve/{name}": number})


def _end(profile: Profile, run: RunRecord) -> float:
    ended = run.attempts[-1].ended if run.attempts else None
    return (ended or profile.created).timestamp()


def _event(scalars: _Scalars) -> Event:
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.values.items()]
    return _dated(Summary(value=values), scalars.time, scalars.step)


def _dated(summary: Summary, time: float, step: int = 0) -> Event:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time, step=step, summary=summary)


def _start_event(profile: Profile, run: RunRecord, start: float) -> Event:
    """The hyperparameters of a run."""
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionStartInfo(start_time_secs=start)
    for name, value in _hyperparameters(profile, run):
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = value if isinstance(value, str) else json.dumps(value)
    content = plugin_data_pb2.HParamsPluginData(session_start_info=info)
    return _dated(_hidden(metadata.SESSION_START_INFO_TAG, content), start)


def _end_event(profile: Profile, run: RunRecord) -> Event:
    """How a run ended; one that has not is neither a success nor a failure."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    unfinished = run.status in ("cancelled", "skipped")
    name = "STATUS_UNKNOWN" if unfinished else "STATUS_SUCCESS" if run.status == "ok" else "STATUS_FAILURE"
    end = _end(profile, run)
    info = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(name), end_time_secs=end)
    content = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    return _dated(_hidden(metadata.SESSION_END_INFO_TAG, content), end)


def _hidden(tag: str, content: Any) -> Summary:
    """What the hyperparameters' plugin reads, and no chart shows."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    about = metadata.create_summary_metadata(content)
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])


def _hyperparameters(profile: Profile, run: RunRecord) -> Iterable[tuple[str, Any]]:
    """The point, the seed, and each setting that the spec makes, by its key."""
    yield from (("network", run.network), ("depth", run.depth), ("seed", run.seed))
    for section, settings in profile.spec.items():
        if section != "sweep" and isinstance(settings, Mapping):
            for key, value in settings.items():
                if value is not None and value != {}:
                    yield f"{section}.{key}", value


def wall_times(run: RunRecord, created: datetime) -> list[float]:
    """The end of each epoch, in order, in seconds since 1970.

    The epochs of an attempt share its time by the seconds that each took, so that the last one ends with it: warm-up,
    evaluation and all else that lies between epochs is spread over them. An attempt whose end is not known had its epochs one
    after the other from its start on; a run without attempts had them up to when its profile was ``created``.
    """
    if not run.attempts:
        start = created.timestamp() - _total_seconds(run.epochs)
        return _ends(run.epochs, start, _total_seconds(run.epochs))
    ends: list[float] = []
    for attempt, epochs in zip(run.attempts, _by_attempt(run), strict=True):
        start = attempt.started.timestamp()
        lasted = attempt.ended.timestamp() - start if attempt.ended else _total_seconds(epochs)
        ends += _ends(epochs, start, lasted)
    return ends


def _by_attempt(run: RunRecord) -> list[list[EpochRecord]]:
    """What each attempt has contributed: an epoch is of the last one that did not keep it from an attempt before."""
    parts: list[list[EpochRecord]] = [[] for _ in run.attempts]
    for epoch in run.epochs:
        own = [location for location, attempt in enumerate(run.attempts) if attempt.from_epoch < epoch.epoch]
        parts[own[-1] if own else 0].append(epoch)
    return parts


def _ends(epochs: Sequence[EpochRecord], start: float, lasted: float) -> list[float]:
    total, passed, ends = _total_seconds(epochs), 0.0, []
    for number, epoch in enumerate(epochs, 1):
        passed += epoch.seconds
        ends.append(start + lasted * (passed / total if total > 0 else number / len(epochs)))
    return ends


def _total_seconds(epochs: Sequence[EpochRecord]) -> float:
    """Seconds of all of them; 0 where that makes no sense."""
    seconds = [epoch.seconds for epoch in epochs]
    return sum(seconds) if all(0 <= each < math.inf for each in seconds) else 0.0
