"""The Python API: `run` a sweep, `load` a profile and `compare` profiles, from a script or a notebook."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import ValidationError

from dnlbench import comparison, profiles
from dnlbench.charts import mpl
from dnlbench.charts.figure import Kind, check_kind, figure_layout
from dnlbench.engine.outcome import lost_weights_text
from dnlbench.engine.request import RunRequest, pack_size, resumed
from dnlbench.engine.run import run_sweep
from dnlbench.errors import ConfigurationError, NotComparableError, SpecError
from dnlbench.profiles import read_profile, save_profile
from dnlbench.report.comparison import COLUMNS, comparison_rows, summary_line, with_distinct_titles
from dnlbench.report.console import render
from dnlbench.report.export import Labeled, RowKind, make_table
from dnlbench.report.export.frame import setting_columns, to_frame
from dnlbench.report.formats import Compared
from dnlbench.report.html import comparison_fragment, profile_fragment
from dnlbench.report.profile import profile_grids, profile_header
from dnlbench.report.progress import create_progress
from dnlbench.spec import SpecText
from dnlbench.spec.settings import flat_settings
from dnlbench.spec.values import write_value
from dnlbench.studies import TRAIN_LOSS, StudySpec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PathLike: TypeAlias = str | os.PathLike[str]


class Profile(profiles.Profile):
    """The saved result of a sweep, with its tables and figures. `dnlbench.profiles.model` documents the fields."""

    @classmethod
    def of(cls, profile: profiles.Profile) -> Profile:
        """Add the methods of this class to a profile."""
        return cls.model_construct(**dict(profile))

    def to_pandas(self, rows: RowKind = "runs") -> pd.DataFrame:
        """Return the table of ``dnlbench profiles export`` as a data frame.

        Its last columns are the values of the spec, such as ``train.lr``. Columns have the same types in every data frame.

        Args:
            rows: ``runs``, ``epochs``, ``measurements`` (one row for each number of a run without epochs), ``contrasts`` or
                ``tuned``.

        Raises:
            ConfigurationError: if pandas is not installed, or the study has no such rows.
        """
        table = make_table([Labeled(label=self.name, profile=self)], rows)
        columns, values = zip(*setting_columns(self), strict=True)
        return to_frame([*table.columns, *columns], [[*row, *values] for row in table.rows])

    def plot(
        self,
        kind: Kind | Sequence[Kind] = (),
        *,
        quantity: str | Sequence[str] = (),
        width: mpl.Width = "page",
        log: bool | None = None,
    ) -> Figure:
        """Return the Matplotlib figure of ``dnlbench plot``.

        Args:
            kind: ``epochs``, ``transfer``, ``depth``, ``cost``, ``budget`` or several of them. Default: all except
                ``budget`` that apply to the study.
            quantity: names of the quantities over depth. Default: those of the study.
            width: ``column`` (3.3 inches), ``page`` (6.8 inches), or inches.
            log: True for logarithmic y axes, False for linear ones. Default: chosen from the range of the values.

        Raises:
            ConfigurationError: if there is nothing to plot, or an option is unknown.
        """
        return _plot([self], kind, quantity, width, log)

    def save(self, path: PathLike) -> Path:
        """Write the profile as JSON, and return its path."""
        return save_profile(self, Path(path))

    def __repr__(self) -> str:
        ok = sum(run.status == "ok" for run in self.runs)
        return (
            f"<Profile {self.name!r}, study {self.study}, {self.state}: {ok} of {len(self.runs)} runs ok, "
            f"{self.created:%Y-%m-%d %H:%M} UTC>"
        )

    def __str__(self) -> str:
        """Return the tables of ``dnlbench profiles show``."""
        return render([profile_header(self), *profile_grids(self)])

    def _repr_html_(self) -> str:
        return profile_fragment(self)


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """The comparison of one or more candidates with a reference."""

    reference: Profile
    candidates: tuple[Profile, ...]
    results: tuple[comparison.Comparison, ...]
    """The result for each candidate, with differences, cells and overall values."""

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of ``dnlbench compare --format csv`` as a data frame.

        There is a row for each candidate, quantity, network and depth. Rows without a depth are over all depths.

        Raises:
            ConfigurationError: if pandas is not installed.
        """
        return to_frame(COLUMNS, [row for result in self.results for row in comparison_rows(result)])

    def plot(
        self,
        kind: Kind | Sequence[Kind] = (),
        *,
        quantity: str | Sequence[str] = (),
        width: mpl.Width = "page",
        log: bool | None = None,
    ) -> Figure:
        """Return a figure in which all profiles share the panels; see `Profile.plot`."""
        return _plot([self.reference, *self.candidates], kind, quantity, width, log)

    def __str__(self) -> str:
        """Return the tables of ``dnlbench compare``."""
        return render(Compared(reference=self.reference, candidates=self.candidates, comparisons=self.results).tables())

    def __repr__(self) -> str:
        results = "; ".join(f"{each.candidate} vs. {each.reference}: {summary_line(each)}" for each in self.results)
        return f"<Comparison {results}>"

    def _repr_html_(self) -> str:
        return comparison_fragment(self.results)


def run(
    spec: PathLike | Mapping[str, Any] | StudySpec,
    *,
    settings: Mapping[str, Any] | Sequence[str] = (),
    out: PathLike | None = None,
    run_dir: PathLike | None = None,
    resume: bool = False,
    checkpoint_every: float = 30.0,
    device: str = "auto",
    jobs: int | None = None,
    threads: int | None = None,
    pack: int | Literal["auto", "off"] = "auto",
    executor: str = "local",
    keep_weights: bool = False,
    ray_address: str | None = None,
    ray_insecure: bool = False,
    quiet: bool = False,
) -> Profile:
    """Run a sweep, save its profile and return it. The options are those of ``dnlbench run``.

    An interrupt (Ctrl+C, or the stop button of a notebook) suspends the sweep; the same call continues it.

    Args:
        spec: the name of a preset, the path of a TOML file, nested dicts with the keys of such a file, or a spec object.
        settings: values that override the spec, such as ``{"train.lr": 0.01}``, or texts such as ``"train.lr=0.01"``.
        out: file for the profile. Default: ``profiles/<name>-<time>.json``.
        run_dir: directory for events and checkpoints. Default: a directory in ``.dnlbench/runs/`` for each spec.
        resume: require an interrupted sweep in the run directory.
        checkpoint_every: maximum time between checkpoints, in seconds.
        device: ``auto``, ``cpu``, ``mps``, ``cuda``, or some GPUs such as ``cuda:0,1``.
        jobs: number of runs at a time. Default: one for each GPU or CPU core.
        threads: threads of each CPU run. Default: cores / jobs.
        pack: maximum number of seeds that train as one batched computation.
        executor: name of the executor, such as ``local``, ``inline`` (this process) or ``ray``.
        keep_weights: save the final weights beside the profile.
        ray_address: address of a running Ray cluster. Default: the environment variable ``RAY_ADDRESS``, else a private one.
        ray_insecure: connect to a cluster without token authentication.
        quiet: print no progress to stderr.

    Raises:
        DnlbenchError: if the sweep cannot run as requested, or if the engine fails. Failed runs are in the profile.
        KeyboardInterrupt: after the sweep was suspended.
    """
    request = resumed(
        _request(
            spec=_spec_text(spec, settings),
            out=_path(out),
            run_dir=_path(run_dir),
            resume=resume,
            checkpoint_s=checkpoint_every,
            device=device,
            jobs=jobs,
            threads=threads,
            pack=pack_size(str(pack)),
            executor=executor,
            keep_weights=keep_weights,
            ray_address=ray_address or os.environ.get("RAY_ADDRESS"),
            ray_insecure=ray_insecure,
        )
    )
    with create_progress(sys.stderr, quiet=quiet) as progress:
        result = run_sweep(request, progress)
    if result.lost_weights:
        warnings.warn(lost_weights_text(result.lost_weights), stacklevel=2)
    if result.interrupted:
        raise KeyboardInterrupt(f"the sweep is suspended; the same call continues it (run directory: {result.run_dir})")
    assert result.profile is not None, "a sweep that was not interrupted has a profile"
    if not quiet:
        print(f"profile: {result.path}", file=sys.stderr)
    return Profile.of(result.profile)


def load(path: PathLike) -> Profile:
    """Read a saved profile, or the results so far of a run directory.

    Raises:
        ProfileError: if the file is missing, invalid or of a newer version.
        RunDirError: if the directory is not a run directory, or has no results.
    """
    return Profile.of(read_profile(Path(path)))


def compare(
    reference: profiles.Profile | PathLike,
    *candidates: profiles.Profile | PathLike,
    match: comparison.Match = "network",
    networks: tuple[str, str] | None = None,
    twin: profiles.Profile | PathLike | None = None,
) -> Comparison:
    """Compare profiles with a reference, as ``dnlbench compare`` does. Each is a profile, a file or a run directory.

    Args:
        reference: the profile to compare with.
        candidates: one or more profiles.
        match: ``network`` compares equal networks and depths, ``depth`` two networks at equal depth.
        networks: names of the two networks for ``match="depth"``, that of the reference first.
        twin: profile of the reference sweep with ``train.nudge_ulps = 1``; differences within its rounding do not count.

    Raises:
        NotComparableError: if a candidate has nothing in common with the reference.
        ConfigurationError: for options that do not apply, and for files that are not profiles.
    """
    if not candidates:
        raise ConfigurationError("compare: name at least one profile to compare with the reference")
    if networks is not None and match != "depth":
        raise ConfigurationError(f"networks={networks!r}: requires match='depth'")
    base, origin = _profile(reference), _origin(reference, "reference")
    roundings = comparison.measure_rounding(comparison.compare(base, _profile(twin))) if twin is not None else {}
    others = tuple(map(_profile, candidates))
    origins = [_origin(each, f"candidate {number}") for number, each in enumerate(candidates, start=1)]
    results = []
    for other, name in zip(others, origins, strict=True):
        try:
            result = comparison.compare(base, other, match=match, networks=networks)
        except NotComparableError as error:
            raise NotComparableError(f"{name}: not comparable with {origin}: {error}") from error
        results.append(comparison.allow_rounding(result, roundings))
    return Comparison(reference=base, candidates=others, results=tuple(with_distinct_titles(results, origin, origins)))


def _plot(
    shown: Sequence[Profile],
    kind: Kind | Sequence[Kind],
    quantity: str | Sequence[str],
    width: mpl.Width,
    log: bool | None,
) -> Figure:
    kinds = [kind] if isinstance(kind, str) else kind
    quantities = [quantity] if isinstance(quantity, str) else quantity
    layout = figure_layout(
        shown, [check_kind(each) for each in kinds], metric=TRAIN_LOSS, log=log, quantities=quantities
    )
    return mpl.figure(layout, width=width)


def _profile(source: profiles.Profile | PathLike) -> Profile:
    if isinstance(source, Profile):
        return source
    return Profile.of(source) if isinstance(source, profiles.Profile) else load(source)


def _origin(source: profiles.Profile | PathLike, role: str) -> Path:
    """Return what distinguishes profiles of equal name and time: the file or, without one, the role."""
    return Path(role) if isinstance(source, profiles.Profile) else Path(source)


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _request(**options: Any) -> RunRequest:
    try:
        return RunRequest(**options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"{key}={first['input']!r}: {first['msg']}") from error


def _spec_text(spec: PathLike | Mapping[str, Any] | StudySpec, settings: Mapping[str, Any] | Sequence[str]) -> SpecText:
    if isinstance(settings, Mapping):
        overrides = [f"{key}={_setting(value)}" for key, value in flat_settings(_plain(settings, "settings"))]
    else:
        overrides = list(settings)
    if isinstance(spec, StudySpec):
        return replace(SpecText.of(spec), settings=tuple(overrides))
    if isinstance(spec, Mapping):
        return SpecText.of_tables(_without_none(_plain(spec, "spec")), "spec", overrides)
    return SpecText.read(os.fspath(spec), overrides)


def _setting(value: Any) -> str:
    return "none" if value is None else write_value(value)


def _plain(tables: Mapping[str, Any], name: str) -> Any:
    """Convert tuples, ranges, paths, arrays and other values to those that TOML has.

    Raises:
        SpecError: if a value has another type.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, Mapping):
            return dict(value)
        if hasattr(value, "tolist"):  # arrays and numbers of NumPy and torch
            return value.tolist()
        if isinstance(value, Iterable):
            return list(value)
        raise SpecError(
            f"{name}: {value!r} is a value of type {type(value).__name__}; write numbers, strings, lists and dicts"
        )

    return json.loads(json.dumps(dict(tables), default=convert))


def _without_none(tables: dict[str, Any]) -> dict[str, Any]:
    """Leave out keys without a value, which TOML cannot write."""
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in tables.items()
        if value is not None
    }
