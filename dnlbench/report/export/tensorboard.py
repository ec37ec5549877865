"""Runs for TensorBoard: a folder of event files for each run, written with the tensorboard package, without TensorFlow.

================================  ======================================================================================
tag                               value, at step
================================  ======================================================================================
``loss/train``                    training loss (nats) at the epoch; likewise each metric that the study declares,
                                  with its ``tag``
``throughput/seconds_per_epoch``
``curve/<name>``                  a measured curve, at the index in the list
``by_depth/<name>``               a result of the run, at its depth, which gives a chart over depth for all runs
================================  ======================================================================================

Values that were not measured have no tag. Network, depth, seed and the settings of the spec are hyperparameters, so that
TensorBoard also shows the results as a table. TensorBoard stores values in single precision; exported tables keep all bits.
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

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

LONGEST_FOLDER = 120
"""Maximum length of a folder name in characters. File systems allow 255 bytes, and a number may follow."""
FILE_VERSION = "brain.Event:2"
"""Format version of event files, stored in the first event."""
_SECONDS = "throughput/seconds_per_epoch"


@dataclass(frozen=True, kw_only=True)
class _Scalars:
    """The values at one step."""

    step: int
    time: float
    values: Mapping[str, float]
    """Values by tag."""


def write_runs(profiles: Sequence[Labeled], folder: Path) -> int:
    """Write ``<folder>/<series>-L<depth>-seed<seed>/`` for each run, in a folder for each profile if there are several.

    Runs that were never started are omitted.

    Returns:
        The number of runs written.

    Raises:
        ConfigurationError: if the package tensorboard is not installed, or a number exceeds the range of event files.
        FileExistsError: if the folder exists and is not empty.
    """
    with from_extra("tensorboard", "tensorboard"):
        import tensorboard.compat.proto.event_pb2
        import tensorboard.plugins.hparams.metadata
        import tensorboard.summary.writer.record_writer  # noqa: F401

    written, names = 0, FolderNames()
    with new_folder(folder) as root:
        for each in profiles:
            parent = root / names.take(each.label) if len(profiles) > 1 else root
            run_names = FolderNames()
            for run in each.profile.runs:
                if run.status != "skipped" or run.epochs:
                    name = run_names.take(f"{run.series}-L{run.depth}-seed{run.seed}")
                    with _reporting(f"{each.label}: {run.run_id}"):
                        _write(parent / name, each.profile, run)
                    written += 1
    return written


class FolderNames:
    """Assigns unique folder names within one folder, also on case-insensitive file systems."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        """Return a unique name that is valid on all file systems.

        Characters other than ASCII letters, digits, dots, dashes and underscores become underscores, and so does a leading
        dot. If two names become equal, the second ends in ``-2``.
        """
        name = re.sub(r"[^A-Za-z0-9._-]", "_", wanted)[:LONGEST_FOLDER] or "_"
        name = re.sub(r"^\.", "_", name)
        unique, number = name, 1
        while unique.casefold() in self._taken:
            number += 1
            unique = f"{name}-{number}"
        self._taken.add(unique.casefold())
        return unique


@contextmanager
def _reporting(location: str) -> Iterator[None]:
    """Add the location to the error for a number that exceeds the range of event files."""
    try:
        yield
    except (OverflowError, ValueError) as error:
        raise ConfigurationError(f"{location}: a value cannot be written for TensorBoard: {error}") from error


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
    metrics = profile.declared.epoch_metrics
    for epoch, time in zip(run.epochs, wall_times(run, profile.created), strict=True):
        values = {metric.tag or f"epoch/{metric.name}": epoch.value(metric.name) for metric in metrics}
        known = {tag: value for tag, value in values.items() if value is not None}
        yield _Scalars(step=epoch.epoch, time=time, values={**known, _SECONDS: epoch.seconds})


def _results(profile: Profile, run: RunRecord) -> Iterator[_Scalars]:
    """Yield the results and curves of a finished run."""
    end = _end(profile, run)
    quantities = [quantity.name for quantity in profile.declared.quantities]
    values = {name: getattr(run, name, None) for name in quantities} | run.measurements
    results = {f"by_depth/{name}": float(value) for name, value in values.items() if isinstance(value, int | float)}
    yield _Scalars(step=run.depth, time=end, values=results)
    for name, value in run.measurements.items():
        if isinstance(value, tuple):
            for index, number in enumerate(value):
                yield _Scalars(step=index, time=end, values={f"curve/{name}": number})


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
    """Return the event with the hyperparameters of a run."""
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
    """Return the event with the status of a run, which is unknown for an unfinished run."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    unfinished = run.status in ("cancelled", "skipped")
    name = "STATUS_UNKNOWN" if unfinished else "STATUS_SUCCESS" if run.status == "ok" else "STATUS_FAILURE"
    end = _end(profile, run)
    info = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(name), end_time_secs=end)
    content = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    return _dated(_hidden(metadata.SESSION_END_INFO_TAG, content), end)


def _hidden(tag: str, content: Any) -> Summary:
    """Return a summary for the hyperparameter plugin, which charts ignore."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    summary_metadata = metadata.create_summary_metadata(content)
    return Summary(value=[Summary.Value(tag=tag, metadata=summary_metadata, tensor=metadata.NULL_TENSOR)])


def _hyperparameters(profile: Profile, run: RunRecord) -> Iterable[tuple[str, Any]]:
    """Yield the network, the depth, the seed, and each setting of the run by its key."""
    yield from (("network", run.network), ("depth", run.depth), ("seed", run.seed))
    for section, settings in profile.spec.items():
        if section != "sweep" and isinstance(settings, Mapping):
            for key, value in settings.items():
                if value is not None and value != {} and f"{section}.{key}" not in run.settings:
                    yield f"{section}.{key}", value
    yield from ((key, value) for key, value in run.settings.items() if value is not None)


def wall_times(run: RunRecord, created: datetime) -> list[float]:
    """Return the end of each epoch in seconds since 1970.

    The duration of an attempt is divided among its epochs in proportion to their training time. Warm-up, evaluation and other
    time between epochs is thus spread over them, and the last epoch ends with the attempt. If the end of an attempt is
    unknown, its epochs follow its start without gaps. Without attempts, the last epoch ends when the profile was ``created``.
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
    """Return the epochs of each attempt. An epoch belongs to the last attempt that executed it."""
    parts: list[list[EpochRecord]] = [[] for _ in run.attempts]
    for epoch in run.epochs:
        executed_by = [index for index, attempt in enumerate(run.attempts) if attempt.from_epoch < epoch.epoch]
        parts[executed_by[-1] if executed_by else 0].append(epoch)
    return parts


def _ends(epochs: Sequence[EpochRecord], start: float, lasted: float) -> list[float]:
    total, passed, ends = _total_seconds(epochs), 0.0, []
    for number, epoch in enumerate(epochs, 1):
        passed += epoch.seconds
        ends.append(start + lasted * (passed / total if total > 0 else number / len(epochs)))
    return ends


def _total_seconds(epochs: Sequence[EpochRecord]) -> float:
    """Return the total seconds of epochs; 0 if any value is negative or not finite."""
    seconds = [epoch.seconds for epoch in epochs]
    return sum(seconds) if all(0 <= each < math.inf for each in seconds) else 0.0
