from __future__ import annotations

from pathlib import Path

import pytest

from dnlbench.tui.app import binding_names
from dnlbench.tui.settings import read_settings, settings_path


def keys() -> tuple[str, ...]:
    return ("sweep.pause", "chart.log_y")


def test_theme_and_keys_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('theme = "nord"\n[keys]\n"sweep.pause" = "f5"\n')
    settings = read_settings(path, ["nord"], keys)
    assert (settings.theme, dict(settings.keys), settings.problems) == ("nord", {"sweep.pause": "f5"}, ())


def test_a_file_may_come_from_any_editor(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b'\xef\xbb\xbftheme = "nord"\r\n')
    assert (read_settings(path, ["nord"], keys).theme, read_settings(path, ["nord"], keys).problems) == ("nord", ())
    path.write_text('theme = "nord"', encoding="utf-16")
    assert read_settings(path, ["nord"], keys).problems == (
        f"{path}: cannot be read: not UTF-8 text but probably UTF-16; save it as UTF-8",
    )


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "none.toml", [], keys).problems == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('theme = "nrod"', "theme = 'nrod': no such theme; did you mean 'nord'?"),
        ('[keys]\n"sweep.puase" = "f5"', "keys.sweep.puase: no such key; did you mean 'sweep.pause'?"),
        ('[keys]\n"sweep.pause" = 5', 'keys.sweep.pause = 5: write keys as text, for example "f5"'),
        ("keys = 3", "keys: write it as a table, [keys]"),
        ("color = 1", "color: no such setting; allowed: theme and [keys], for the terminal UI"),
        ("[data]\nroot = 'x'", "data: no such setting; allowed: theme and [keys], for the terminal UI"),
        ('themes = "nord"', "themes: no such setting; did you mean 'theme'?; allowed: theme and [keys]"),
        (f"theme = {'[' * 5000}", "cannot be read: "),
        ("theme = ", "cannot be read"),
    ],
)
def test_invalid_settings_are_reported_and_ignored(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    settings = read_settings(path, ["nord"], keys)
    assert settings.theme is None
    assert not settings.keys
    (problem,) = settings.problems
    assert message in problem
    assert problem.startswith(f"{path}: ")


def test_the_path_of_the_file_can_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DNLBENCH_CONFIG", str(tmp_path / "mine.toml"))
    assert settings_path() == tmp_path / "mine.toml"


def test_key_names_are_unique() -> None:
    names = binding_names()
    assert {"sweep.pause", "chart.log_y", "runs.sort", "app.help"} <= names
    assert all("." in name for name in names)
