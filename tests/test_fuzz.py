"""Whatever a file or an option holds, a command ends with an exit code and a message, and changes nothing but its output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnlbench.engine.placement import find_run_dir
from dnlbench.engine.request import RunRequest
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import check_profile, read_profile
from tests.conftest import TINY, call

SPEC = TINY.replace("depths = [1, 2]", "depths = [1]").replace(', "dense-gaussian"', "").replace("150", "64")
"""Two runs of two epochs."""

pytestmark = pytest.mark.timeout(300)  # nothing may wait for ever

few = settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
"""The same examples each time, so that a red run is about the change at hand; without ``derandomize`` others are tried."""
many = settings(few, max_examples=100)


# -- what is held of every command ---------------------------------------------------------------------------------------------


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder; not a fixture, which all examples of a test would share."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def tree(root: Path) -> dict[str, object]:
    """All that is in a folder, with the content of its files."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in root.rglob("*")
    }


def try_out(root: Path, *command: object, outputs: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Runs a command in this process, where anything but an error that is meant for the user fails the test."""
    before = tree(root)
    done = call(root, *command)
    after = tree(root)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert done.returncode in (0, 1, 2, 5), done
    assert {path for path in changed if path.partition("/")[0] not in outputs} == set()
    if done.returncode:
        assert done.stderr.strip(), "it failed without a word"
        assert len(done.stderr.splitlines()) <= 40
    if done.returncode == 2:
        assert not changed, "what was refused has left something behind"
    loose = [character for character in done.stdout + done.stderr if character < " " and character not in "\n\t"]
    assert not loose, f"control characters reach the terminal: {loose}"
    return done


# -- inputs --------------------------------------------------------------------------------------------------------------------

words = st.text(max_size=12) | st.sampled_from(
    ["\x1b]52;c;QQ==\x07", "../x", "=1+1", "<b>", "a" * 5000, "naïve", "\x00"]
)
numbers = (
    st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**63, 10**30, 1e308, -0.0, float("nan"), float("inf")])
)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
toml_values = st.one_of(
    json_values.map(
        lambda value: json.dumps(value).replace("null", "none").replace("NaN", "nan").replace("Infinity", "inf")
    ),
    st.sampled_from(
        ["1979-05-27T07:32:00Z", "07:32:00", ".01", "1e1", "2,4", "[a]", "[1, 2", "{x = 1}", "'''", "1" * 5001]
    ),
    st.sampled_from(
        ["[" * 5000 + "]" * 5000, "'\\u001b'", '"\\u001b]52;c;QQ==\\u0007"', "+nan", "0x10", "1_0", "True"]
    ),
    st.text(max_size=20),
)
texts = st.text(max_size=30)
KEYS = (
    *(
        "name",
        "study",
        "sweep",
        "sweep.networks",
        "sweep.depths",
        "sweep.seeds",
        "network.blocks",
        "network.growth_rate",
    ),
    *(
        "network.options",
        "network.options.a",
        "network.window",
        "network.connectivity",
        "data",
        "data.limit",
        "data.root",
    ),
    *("data.dataset", "data.samples", "train.epochs", "train.lr", "train.batch_size", "train.schedule", "train.epohcs"),
    ".".join("abc" * 1000),
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with a piece left out, repeated, put in or overwritten, or with a line in another place."""
    start = draw(st.integers(0, len(content)))
    end = min(len(content), start + draw(st.integers(0, 40)))
    piece = draw(st.binary(max_size=20) | texts.map(lambda text: text.encode(errors="surrogatepass")))
    lines = content.splitlines(keepends=True) or [b""]
    here, there = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    moved = [*lines[:here], *lines[here + 1 :]]
    return draw(
        st.sampled_from(
            [
                content[:start] + content[end:],
                content[:start] + piece + content[end:],
                content[:end] + content[start:],
                content[:start],
                b"\xef\xbb\xbf" + content,
                b"".join([*moved[:there], lines[here], *moved[there:]]),
                b"".join([*lines[:here], lines[there], *lines[here:]]),
                piece,
            ]
        )
    )


@st.composite
def specs(draw: st.DrawFn) -> bytes:
    """A spec with some other values, keys or bytes."""
    lines = SPEC.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[place].partition("=")
        named = key.strip() if equals else draw(st.sampled_from(KEYS)).rpartition(".")[2]
        lines[place] = f"{named} = {draw(toml_values)}"
    whole = "\n".join(lines).encode(errors="surrogatepass")
    return draw(st.just(whole) | damaged(whole) | damaged(SPEC.encode()))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON document are."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def at(document: Any, path: Sequence[Any]) -> Any:
    for key in path:
        document = document[key]
    return document


@st.composite
def documents(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON document with some values removed, replaced by any, or by another one of its own."""
    document = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        known = list(places(document))
        path = draw(st.sampled_from(known))
        parent, key = at(document, path[:-1]), path[-1]
        match draw(st.sampled_from(["remove", "replace", "copy"])):
            case "remove":
                del parent[key]
            case "replace":
                parent[key] = draw(json_values)
            case _:
                parent[key] = deepcopy(at(document, draw(st.sampled_from(known))))
        if not document:
            break
    return json.dumps(document).encode()


# -- specs and options ---------------------------------------------------------------------------------------------------------


class AcceptedError(ConfigurationError):
    """In place of the sweep."""


@pytest.fixture
def no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps end where they would begin, after all that is made of a spec."""

    def look(request: RunRequest, observer: object) -> NoReturn:
        assert len(request.plan.runs) <= 100_000
        assert request.plan.longest_first[0].run_id in request.plan.work
        find_run_dir(request)
        raise AcceptedError("accepted")

    monkeypatch.setattr("dnlbench.engine.run.run_sweep", look)


def check_spec(content: bytes) -> None:
    with folder() as root:
        (root / "s.toml").write_bytes(content)
        done = try_out(root, "run", "s.toml", "--executor", "inline", "--jobs", 1, "--pack", 1)
        assert done.returncode == 2
        assert done.stderr.startswith("dnlbench: error: ")


def check_override(key: str, value: str) -> None:
    with folder() as root:
        (root / "s.toml").write_text(SPEC)
        done = try_out(root, "run", "s.toml", "--executor", "inline", "--jobs", 1, "--set", f"{key}={value}")
        assert done.returncode == 2


@pytest.mark.usefixtures("no_sweep")
@few
@given(specs())
def test_any_spec_is_taken_or_refused_in_words(content: bytes) -> None:
    check_spec(content)


@pytest.mark.usefixtures("no_sweep")
@few
@given(st.sampled_from(KEYS) | texts, toml_values)
def test_any_override_is_taken_or_refused_in_words(key: str, value: str) -> None:
    check_override(key, value)


@pytest.mark.slow
@pytest.mark.usefixtures("no_sweep")
@many
@given(specs(), st.sampled_from(KEYS) | texts, toml_values)
def test_many_more_specs_and_overrides(content: bytes, key: str, value: str) -> None:
    check_spec(content)
    check_override(key, value)


# -- profiles ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(caches: Path) -> Iterator[Path]:
    """A folder with a sweep that ended well: its spec, its profile and its run directory; for reading only."""
    with folder() as root:
        (root / "s.toml").write_text(SPEC)
        done = call(root, "run", "s.toml", "--executor", "inline", "--run-dir", "d", "--out", "p.json", "--quiet")
        assert done.returncode == 0, done.stderr
        yield root


SHOWN: Sequence[Sequence[str]] = (
    ("profiles", "show", "q.json"),
    ("profiles", "show", "q.json", "--format", "html", "-o", "out"),
    ("profiles", "show", "q.json", "--format", "markdown"),
    ("profiles", "show", "q.json", "--format", "latex"),
    ("profiles", "validate", "q.json", "p.json"),
    ("profiles", "list", "."),
    ("profiles", "export", "q.json", "p.json", "--format", "csv", "-o", "out"),
    ("compare", "p.json", "q.json"),
    ("compare", "q.json", "p.json", "--format", "json"),
    ("plot", "q.json", "-o", "out.svg"),
)


def check_profiles(finished: Path, content: bytes, command: Sequence[str]) -> None:
    with folder() as root:
        shutil.copy(finished / "p.json", root)
        (root / "q.json").write_bytes(content)
        try_out(root, *command, outputs=("out", "out.svg"))


@few
@given(st.data(), st.sampled_from(SHOWN))
def test_any_profile_is_shown_or_refused_in_words(finished: Path, data: st.DataObject, command: Sequence[str]) -> None:
    content = (finished / "p.json").read_bytes()
    check_profiles(finished, data.draw(documents(content) | damaged(content)), command)


@pytest.mark.slow
@many
@given(st.data(), st.sampled_from(SHOWN))
def test_many_more_profiles(finished: Path, data: st.DataObject, command: Sequence[str]) -> None:
    content = (finished / "p.json").read_bytes()
    check_profiles(finished, data.draw(documents(content) | damaged(content)), command)


# -- run directories -----------------------------------------------------------------------------------------------------------


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


INSTEAD: dict[str, Callable[[Path], None]] = {
    "nothing": Path.unlink,
    "a folder": _folder_instead,
    "a link to itself": _link_to_itself,
    "a pipe": _pipe_instead,
}
"""What may stand in the place of a file."""


def check_run_dir(finished: Path, data: st.DataObject) -> None:
    """A damaged run directory gives the profile that it would have given, or none."""
    with folder() as root:
        shutil.copytree(finished, root, dirs_exist_ok=True)
        original = read_profile(root / "p.json")
        (root / "p.json").unlink()
        files = sorted(path for path in (root / "d").rglob("*") if path.is_file())
        path = data.draw(st.sampled_from(files), label="file")
        keeps_values = data.draw(st.booleans())
        if keeps_values:
            lines = path.read_bytes().splitlines(keepends=True)
            others = [other.read_bytes() for other in files if other.name == path.name]
            contents = [b"".join(lines * 2), b"".join(lines[::-1]), b"".join(lines[:-1]), *others]
            if data.draw(st.booleans(), label="is a file"):
                path.write_bytes(data.draw(st.sampled_from(contents)))
            else:
                INSTEAD[data.draw(st.sampled_from(sorted(INSTEAD)))](path)
        else:
            path.write_bytes(data.draw(damaged(path.read_bytes())))
        done = try_out_run(root)
        if done.returncode == 0:
            saved = read_profile(root / "p.json")
            assert check_profile(saved) == []
            if keeps_values:
                assert [run.final_train_loss for run in saved.runs] == [run.final_train_loss for run in original.runs]


def try_out_run(root: Path) -> subprocess.CompletedProcess[str]:
    command = ("run", "s.toml", "--executor", "inline", "--run-dir", "d", "--out", "p.json", "--quiet")
    before = {path.name for path in root.iterdir()}
    done = call(root, *command)
    assert done.returncode in (0, 1, 2), done
    assert {path.name for path in root.iterdir()} - before <= {"p.json"}
    assert done.returncode == 0 or done.stderr.strip()
    return done


@settings(few, max_examples=20)
@given(st.data())
def test_any_run_directory_gives_the_results_it_stands_for_or_none(finished: Path, data: st.DataObject) -> None:
    check_run_dir(finished, data)


@pytest.mark.slow
@settings(many, max_examples=30)
@given(st.data())
def test_many_more_run_directories(finished: Path, data: st.DataObject) -> None:
    check_run_dir(finished, data)
