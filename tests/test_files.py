from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dnlbench.errors import ConfigurationError
from dnlbench.files import LineFollower, LineWriter, new_folder, read_lines, write_atomically, write_new
from dnlbench.outputs import check_output, write_output

LINES = ['{"a": 1}', '{"b": "ü"}', '{"c": [1, 2, 3]}']


def test_a_file_torn_at_every_byte_of_its_last_line_is_read_and_mended(tmp_path: Path) -> None:
    whole = "".join(line + "\n" for line in LINES).encode()
    start = len("".join(line + "\n" for line in LINES[:2]).encode())
    for cut in range(start, len(whole)):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(whole[:cut])
        kept = [line.encode() for line in LINES[:2]]
        assert read_lines(path) == kept
        writer = LineWriter(path)
        writer.write('{"new": true}', durable=True)
        writer.close()
        assert read_lines(path) == [*kept, b'{"new": true}']


def test_lines_are_added_to_a_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("torn")
    (tmp_path / "link").symlink_to("precious")
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("link", "symbolic links"), ("pipe", "not a regular file")):
        with pytest.raises(OSError, match=reason):
            LineWriter(tmp_path / name)
    assert (tmp_path / "precious").read_text() == "torn"


def test_a_follower_reads_each_line_once_and_waits_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    follower = LineFollower(path)
    assert follower.read() == []
    path.write_bytes(b"one\ntw")
    assert follower.read() == [b"one"]
    assert follower.read() == []
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert follower.read() == [b"two", b"three"]


def test_replacing_a_file_leaves_nothing_else_behind(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_failed_replacement_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_line_that_does_not_fit_the_disk_leaves_no_half_behind(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path; from dnlbench.files import LineWriter\n"
        "writer = LineWriter(Path(sys.argv[1])); writer.write('a' * 50)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (80, resource.RLIM_INFINITY))\n"
        "try: writer.write('b' * 50)\n"
        "except OSError as error: print(error.errno)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY)); writer.write('c')"
    )
    path = tmp_path / "x.jsonl"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "28"
    assert read_lines(path) == [b"a" * 50, b"c"]


def test_links_of_outputs_are_followed_and_pipes_are_written_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_output(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    write_atomically(link, b"a file of a run directory")
    assert not link.is_symlink()
    assert target.read_bytes() == b"new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        write_output(pipe, b"through")
        assert reader.communicate()[0] == b"through"
    assert pipe.is_fifo()


def test_content_is_synced_before_it_takes_its_place_and_the_folder_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, done, fsync, replace = tmp_path / "x.json", list[str](), os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append(
            "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else f"file of {os.fstat(descriptor).st_size}"
        )
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> Path:
        done.append("replace")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_atomically(path, b"new")
    assert done == ["file of 3", "replace", "folder"]
    done.clear()
    writer = LineWriter(tmp_path / "x.jsonl")
    writer.write("{}", durable=True)
    writer.close()
    assert "file of 3" in done


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    code = (
        "import sys; from pathlib import Path; from dnlbench.files import write_atomically\n"
        "n = 0\n"
        "while True: n += 1; write_atomically(Path(sys.argv[1]), (str(n % 10) * 300_000).encode()); print(flush=True)"
    )
    for writes in (1, 3, 7):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert all(process.stdout.readline() for _ in range(writes))
            process.send_signal(signal.SIGKILL)  # it is in the middle of a later write, or close to one
        content = path.read_bytes()
        assert len(content) == 300_000
        assert len(set(content)) == 1


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a" / "new"

    def interrupted() -> None:
        with new_folder(target) as folder:
            (folder / "x").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(target.parent.iterdir()) == []
    with new_folder(target) as folder:
        (folder / "x").write_text("whole")
        assert not target.exists()
    assert (target / "x").read_text() == "whole"
    plain = tmp_path / "plain"
    plain.mkdir()
    assert target.stat().st_mode == plain.stat().st_mode
    with pytest.raises(FileExistsError), new_folder(target):
        pytest.fail("it has something in it")
    assert [path.name for path in target.parent.iterdir()] == ["new"]


def test_a_pipe_is_simply_written_to() -> None:
    code = (
        "from pathlib import Path; from dnlbench.outputs import write_output as w; w(Path('/dev/stdout'), b'all of it')"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout == b"all of it"


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_writers_that_race_for_a_new_name_get_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def unsupported(path: Path, target: Path) -> None:
        if path.exists():
            raise FileExistsError
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", unsupported)
    barrier = threading.Barrier(16)

    def write(number: int) -> Path:
        barrier.wait()
        return write_new((tmp_path / f"x-{n}" for n in range(100)), f"{number}".encode())

    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(write, range(16)))
    assert [path.read_text() for path in paths] == [str(number) for number in range(16)]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.parametrize("name", ["in", "link", "hard", "folder/../in", "folder/deep/new", "loop/in"])
def test_an_output_never_replaces_an_input(tmp_path: Path, name: str) -> None:
    given, folder = tmp_path / "in", tmp_path / "folder"
    folder.mkdir()
    given.touch()
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "hard").hardlink_to(given)
    (tmp_path / "loop").symlink_to(".")
    with pytest.raises(ConfigurationError, match=rf"^--out .*{name}: would overwrite .*(in|folder), which"):
        check_output(tmp_path / name, [given, folder], "--out")
    check_output(tmp_path / "new" / "deep" / "in", [given, folder], "--out")
    assert not (tmp_path / "new").exists()


def test_an_output_that_cannot_be_written_is_refused_with_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^-o /proc/x\.json cannot be written in /proc: No such file"):
        check_output(Path("/proc/x.json"), [])
    with pytest.raises(FileNotFoundError) as caught:
        write_output(Path("/proc/x.json"), b"")
    assert caught.value.filename == "/proc/x.json"
