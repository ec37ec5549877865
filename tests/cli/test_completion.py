"""Shell completion: its candidates, and the protocol that a shell speaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

from dnlbench.cli import complete
from dnlbench.cli.app import app
from dnlbench.cli.list import registries
from dnlbench.docs import topics
from dnlbench.engine.executors import EXECUTORS
from dnlbench.report.formats import FORMATS, Content
from dnlbench.spec import list_presets
from dnlbench.studies import STUDIES


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "mine.toml",
        "notes.md",
        ".hidden.toml",
        "profiles/a.json",
        ".dnlbench/runs/b-1/sweep.json",
        "other/c.json",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{key}.")
        else:
            yield key


def test_the_file_of_keys_lists_those_of_the_models() -> None:
    expected = {name: list(keys(study.spec)) for name, study in STUDIES.items()}
    if os.environ.get("UPDATE_GOLDEN"):
        Path(str(complete.KEYS)).write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    assert json.loads(complete.KEYS.read_text(encoding="utf-8")) == expected


def test_names_of_built_in_parts_are_those_of_their_declarations() -> None:
    assert sorted(complete.EXECUTORS) == sorted(EXECUTORS.built_in)
    assert sorted(complete.PARTS) == sorted(registries())
    names: dict[Content, tuple[str, ...]] = {
        "profile": complete.PROFILE_FORMATS,
        "comparison": complete.COMPARISON_FORMATS,
        "diagnosis": complete.DIAGNOSIS_FORMATS,
        "export": complete.EXPORT_FORMATS,
    }
    for content, known in names.items():
        assert sorted(known) == sorted(name for name, each in FORMATS.built_in.items() if each.renders(content))


def test_specs_are_presets_and_toml_files() -> None:
    assert complete.specs("") == [*sorted(preset.name for preset in list_presets()), "mine.toml", "other/", "profiles/"]
    assert complete.specs("digits") == ["digits-quick"]
    assert complete.specs("./m") == ["./mine.toml"]


def test_profiles_and_run_directories_are_found_without_their_folders() -> None:
    assert complete.profiles("") == ["profiles/a.json", "other/", "profiles/"]
    assert complete.profiles("other/") == ["other/c.json"]
    assert complete.run_dirs("") == [".dnlbench/runs/b-1", "other/", "profiles/"]
    assert complete.run_dirs("nowhere/x") == []
    assert complete.sources("p") == ["profiles/", "profiles/a.json"]


@pytest.mark.parametrize(
    ("spec", "text", "expected", "missing"),
    [
        ("digits-quick", "train.e", ["train.epochs="], "curves.modes="),
        ("forward-limit", "", ["curves.modes="], "train.epochs="),
        ("mine.toml", "", ["curves.modes=", "train.epochs="], "x"),  # an empty file could be for any study
        ("missing.toml", "", ["curves.modes=", "train.epochs="], "x"),
    ],
)
def test_settings_are_the_keys_of_the_study(spec: str, text: str, expected: list[str], missing: str) -> None:
    context = typer.Context(typer.main.get_command(app))
    context.params = {"spec": spec}
    candidates = complete.settings(context, text)
    assert set(expected) <= set(candidates)
    assert missing not in candidates
    assert all(key.startswith(text) for key in candidates)


def test_topics_are_those_of_the_documentation() -> None:
    assert complete.topics("") == sorted(topics())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dnlbench run digits", ["digits-quick"]),
        ("dnlbench run digits-quick --set train.epo", ["train.epochs="]),
        ("dnlbench compare profiles/", ["profiles/a.json"]),
        ("dnlbench attach .dnlbench/runs/", [".dnlbench/runs/b-1", ".dnlbench/runs/b-1/"]),
        ("dnlbench docs tut", ["tutorial"]),
        ("dnlbench compare a b --match ", ["network", "depth"]),
    ],
)
def test_a_shell_gets_candidates_without_slow_imports(words: str, expected: list[str]) -> None:
    code = (
        "import sys\nfrom dnlbench.cli.app import main\nsys.argv = ['dnlbench']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "slow = {'torch', 'numpy', 'textual', 'dnlbench.studies', 'dnlbench.spec'} & sys.modules.keys()\n"
        "assert not slow, slow"
    )
    variables = {"_DNLBENCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected
