"""Shell completion of arguments and options. It runs at every press of Tab, so it imports and reads next to nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

from typer import Context

PACKAGE = resources.files("dnlbench")
KEYS = PACKAGE / "cli" / "spec_keys.json"
"""Keys of a spec by study, so that completion need not build the models of `dnlbench.studies`; a test compares both."""
# Names of built-in parts. Their declarations take too long to import; a test compares both.
EXECUTORS = ("inline", "local", "ray")
PROFILE_FORMATS = ("csv", "html", "json", "latex", "markdown", "table")
COMPARISON_FORMATS = (*PROFILE_FORMATS, "junit")
DIAGNOSIS_FORMATS = ("csv", "json", "markdown", "table")
EXPORT_FORMATS = ("csv", "jsonl", "parquet", "tensorboard")
PARTS = ("networks", "datasets", "objectives", "metrics", "studies", "executors", "formats")
"""Kinds of parts, for ``dnlbench list``."""
RUNS = Path(".dnlbench") / "runs"


def specs(incomplete: str) -> list[str]:
    """Return names of presets and paths of TOML files."""
    return [*_matching(_presets(), incomplete), *_paths(incomplete, ".toml")]


def profiles(incomplete: str) -> list[str]:
    """Return paths of profiles: JSON files, those in ``profiles`` even without a folder in the text."""
    saved = (str(path) for path in Path("profiles").glob("*.json"))
    return list(dict.fromkeys([*_matching(saved, incomplete), *_paths(incomplete, ".json")]))


def run_dirs(incomplete: str) -> list[str]:
    """Return paths of run directories, those below ``.dnlbench/runs`` even without a folder in the text."""
    usual = (str(path.parent) for path in RUNS.glob("*/sweep.json"))
    return list(dict.fromkeys([*_matching(usual, incomplete), *_paths(incomplete, None)]))


def sources(incomplete: str) -> list[str]:
    """Return paths of run directories and profiles."""
    return list(dict.fromkeys([*run_dirs(incomplete), *profiles(incomplete)]))


def settings(ctx: Context, incomplete: str) -> list[str]:
    """Return ``KEY=`` for the keys of the spec's study, or of all studies while that is not known."""
    by_study: dict[str, list[str]] = json.loads(KEYS.read_text(encoding="utf-8"))
    keys = by_study.get(_study(str(ctx.params.get("spec") or ""))) or sorted(set().union(*by_study.values()))
    return [f"{key}=" for key in _matching(keys, incomplete)]


def presets(incomplete: str) -> list[str]:
    """Return names of presets."""
    return _matching(_presets(), incomplete)


def topics(incomplete: str) -> list[str]:
    """Return topics of the documentation."""
    pages = (entry.name for entry in (PACKAGE / "docs").iterdir())
    return _matching((name.removesuffix(".md") for name in pages if name.endswith(".md")), incomplete)


def devices(incomplete: str) -> list[str]:
    """Return kinds of devices; which of them this machine has takes too long to find out."""
    return _matching(("auto", "cpu", "cuda", "mps"), incomplete)


def executors(incomplete: str) -> list[str]:
    """Return names of executors."""
    return _matching((*EXECUTORS, *_installed("executors")), incomplete)


def profile_formats(incomplete: str) -> list[str]:
    """Return names of formats of profiles."""
    return _matching((*PROFILE_FORMATS, *_installed("formats")), incomplete)


def comparison_formats(incomplete: str) -> list[str]:
    """Return names of formats of comparisons."""
    return _matching((*COMPARISON_FORMATS, *_installed("formats")), incomplete)


def diagnosis_formats(incomplete: str) -> list[str]:
    """Return names of formats of diagnoses."""
    return _matching((*DIAGNOSIS_FORMATS, *_installed("formats")), incomplete)


def export_formats(incomplete: str) -> list[str]:
    """Return names of formats of exports."""
    return _matching((*EXPORT_FORMATS, *_installed("formats")), incomplete)


def parts(incomplete: str) -> list[str]:
    """Return kinds of parts."""
    return _matching(PARTS, incomplete)


def plot_kinds(incomplete: str) -> list[str]:
    """Return kinds of panels."""
    return _matching(("budget", "cost", "depth", "epochs", "transfer"), incomplete)


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _installed(kinds: str) -> Iterator[str]:
    """Yield the names of parts of installed packages."""
    from importlib import metadata

    return (entry.name for entry in metadata.entry_points(group=f"dnlbench.{kinds}"))


def _presets() -> Iterator[str]:
    names = (entry.name for entry in (PACKAGE / "presets").iterdir())
    return (name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def _paths(incomplete: str, suffix: str | None) -> list[str]:
    """Return folders, and files with the suffix, whose paths begin with the text."""
    folder, _, name = incomplete.rpartition("/")
    base = f"{folder}/" if "/" in incomplete else ""
    try:
        entries = [entry for entry in Path(base or ".").iterdir() if entry.name.startswith(name)]
    except OSError:
        return []
    visible = [entry for entry in entries if name or not entry.name.startswith(".")]
    folders = [f"{base}{entry.name}/" for entry in visible if entry.is_dir()]
    files = [f"{base}{entry.name}" for entry in visible if suffix and entry.suffix == suffix and entry.is_file()]
    return sorted(folders + files)


def _study(spec: str) -> str:
    """Return the study of a preset or TOML file; empty if it cannot be read."""
    import tomllib

    preset = PACKAGE / "presets" / f"{spec}.toml"
    source = preset if spec in _presets() else Path(spec)
    try:
        return str(tomllib.loads(source.read_text(encoding="utf-8")).get("study", ""))
    except (OSError, ValueError):
        return ""
