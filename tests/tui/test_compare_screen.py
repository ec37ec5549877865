from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot

from dnlbench.charts.source import letter
from dnlbench.profiles import Profile, RunRecord, save_profile, summarize
from dnlbench.studies import STUDIES
from dnlbench.tui.app import ESCAPE_CONTROLS, DnlbenchApp
from dnlbench.tui.export import write_new
from dnlbench.tui.profile_view import Entry, file_stem, heading
from dnlbench.tui.screens.compare import CompareScreen
from dnlbench.tui.widgets.chart import ChartView
from tests.conftest import MACHINE
from tests.tui.conftest import NARROW as SMALL
from tests.tui.conftest import WIDE as LARGE
from tests.tui.conftest import Drive, Notices, ScreenText, workers_done

MakeProfile = Callable[..., Profile]
LOSSES = {("densenet", L): [0.2 + 0.8 / L + 0.01 * seed for seed in range(3)] for L in (2, 4, 8, 16)}


@pytest.fixture
def save(tmp_path: Path, make_profile: MakeProfile, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Save a profile in an empty current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def write(name: str, factor: float = 1.0, lr: float = 0.01) -> Path:
        losses = {point: [factor * loss for loss in values] for point, values in LOSSES.items()}
        profile = make_profile(losses, name=name)
        spec = {**profile.spec, "train": {**profile.spec["train"], "lr": lr}}
        return save_profile(profile.model_copy(update={"spec": spec}), tmp_path / f"{name}.json")

    return write


@pytest.fixture
def see(drive: Drive, screen_text: ScreenText) -> Callable[..., list[str]]:
    """Return the text of the screen at first, and after each key or change of its size."""

    def see_lines(paths: list[Path], *steps: str | tuple[int, int], size: tuple[int, int] = LARGE) -> list[str]:
        seen: list[str] = []

        async def act(pilot: Pilot[Any]) -> None:
            await workers_done(pilot)
            seen.append(screen_text(pilot.app))
            for step in steps:
                await (pilot.press(step) if isinstance(step, str) else pilot.resize_terminal(*step))
                await workers_done(pilot)
                seen.append(screen_text(pilot.app))

        drive(DnlbenchApp(lambda: CompareScreen(paths)), act, size=size)
        return seen

    return see_lines


Save = Callable[..., Path]
See = Callable[..., list[str]]


def without_epochs(profile: Profile, study: str, name: str) -> Profile:
    runs = tuple(
        RunRecord.model_validate(
            {**run.model_dump(), "epochs": (), "measurements": {name: run.final_train_loss}, "final_train_loss": None}
        )
        for run in profile.runs
    )
    return profile.model_copy(
        update={"study": study, "name": study, "runs": runs, "summary": summarize(runs, STUDIES[study])}
    )


def test_a_comparison_has_differences_verdicts_and_both_profiles(save: Save, see: See) -> None:
    for text in see([save("base"), save("tuned", 0.9, lr=0.5)], SMALL):
        has_both(text)


def has_both(text: str) -> None:
    assert "A reference  base " in text
    assert "▸ B candidate  tuned" in text
    assert "2026-11-20" in text
    assert "A CPU, 2 cores" in text
    assert "B compared with A:  ✓ 4 better  – 4 not comparable  = 4 no difference" in text
    assert text.index("Differences") < text.index("Final training loss (nats)")
    assert "spec train.lr" in text
    assert "✓ better" in text
    assert "0.900 [0.900, 0.900]" in text


def test_where_there_is_room_the_chart_is_beside_the_tables(save: Save, see: See) -> None:
    paths = [save("base"), save("tuned", 0.9)]
    small, chart, tables, large = see(paths, "2", "1", LARGE, size=SMALL)
    assert "Training loss (nats)" not in small
    assert "2 chart" in small
    assert "Training loss (nats)" in chart
    assert "1 tables" in chart
    assert "Final training loss" not in chart
    assert "Final training loss" in tables
    assert "Training loss (nats)" in large
    assert "Solid: A; dashed: B." in large
    assert "2 chart" not in large  # no key is needed between the two


def test_keys_choose_what_is_plotted(save: Save, see: See) -> None:
    paths = [save("base"), save("tuned", 0.9)]
    first, metric, over, depth, quantity, epochs = see(paths, "m", "t", "d", "v", "d")
    assert " epoch" in first
    assert "Gradient norm" in metric
    assert "training step" in over
    assert "Final training loss (nats) vs. depth" in depth
    assert "L → ∞ 0.2" in depth
    assert "Throughput (samples/s) vs. depth" in quantity
    assert "Gradient norm" in epochs


def test_in_a_small_terminal_keys_of_the_chart_show_it(save: Save, see: See) -> None:
    assert "vs. depth" in see([save("base")], "d", size=SMALL)[1]


def test_a_single_profile_shows_metadata_results_and_failed_runs(
    save: Save, see: See, make_profile: MakeProfile, tmp_path: Path
) -> None:
    bad = save_profile(make_profile({("plain", 2): [0.4]}, status="failed", name="bad"), tmp_path / "bad.json")
    _, large, _, small = see([bad], "end", SMALL, "end")
    for text in (large, small):
        assert "1 of 1 runs unsuccessful" in text
        assert "✗ failed" in text
        assert "made up" in text
        assert "profile ▸ bad" in text
    for good in see([save("base")], SMALL):
        assert "base · training · complete" in good
        assert "What training loss does a network" in good


def test_keys_step_through_candidates_and_plot_them_together(save: Save, see: See) -> None:
    paths = [save("base"), save("tuned", 0.9), save("spoilt", 1.1)]
    first, second, back, together = see(paths, "n", "N", "a")
    assert "▸ B candidate  tuned" in first
    assert "▸ C candidate  spoilt" in second
    assert "C compared with A:  ✗ 4 worse" in second
    assert "dashed: C" in second
    assert "B compared with A" in back
    assert "dashed: B, C" in together


def test_profiles_of_different_studies_say_that_they_cannot_be_compared(
    save: Save, see: See, make_profile: MakeProfile, tmp_path: Path
) -> None:
    other = without_epochs(make_profile(LOSSES), "forward-limit", "error_max")
    path = save_profile(other, tmp_path / "limit.json")
    text, base = see([save("base"), path, save("tuned")], "n")
    assert "– B is not comparable with A: studies differ: training and forward-limit" in text
    assert "At what rate do the states" in text
    assert "Training loss (nats)" in base  # its epochs are drawn again
    assert "Largest error vs. depth" in text
    assert "solid:" not in text
    assert "B is not comparable" not in base


@pytest.mark.parametrize(
    ("study", "name", "title"),
    [
        ("forward-limit", "error_max", "Largest error vs. depth"),
        ("optimum-limit", "optimal_value", "Optimal value J_L* vs. depth"),
    ],
)
def test_studies_without_epochs_are_plotted_against_depth(
    see: See, make_profile: MakeProfile, tmp_path: Path, study: str, name: str, title: str
) -> None:
    path = save_profile(without_epochs(make_profile(LOSSES), study, name), tmp_path / "one.json")
    for text in see([path, path], "m", "t", "d"):
        assert title in text
    assert "m metric" not in text


def test_a_broken_file_says_what_is_wrong_and_the_others_are_shown(save: Save, see: See, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"schema": "dnlbench.profile/9"}')
    *candidates, large, small = see([save("base"), broken, save("tuned", 0.9)], SMALL, LARGE, "n", SMALL)
    for candidate in candidates:
        assert "dnlbench" in candidate.replace("dnlbench.profile", "")
        assert "✗ cannot be read" in candidate
    for next_one in (large, small):
        assert "C compared with A" in next_one
    for reference in see([broken, save("tuned")], SMALL):
        assert "the reference cannot be read" in reference
        assert "tuned · training" in reference
    alone = see([Path("absent.json")], "e", "y", "d", "m", "n", size=SMALL)[-1]
    assert "cannot be read: No such file" in alone


def test_without_colours_verdicts_have_words_and_marks(save: Save, see: See, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = see([save("base"), save("spoilt", 1.1)])[0]
    assert "✗ worse" in text
    assert "dashed: B" in text


def test_export_writes_chart_and_table_to_new_files(save: Save, see: See, notices: Notices) -> None:
    paths = [save("base"), save("tuned", 0.9)]
    see(paths, "e", "e")
    assert sorted(path.name for path in Path.cwd().iterdir()) == [
        "base-vs-tuned-2.csv",
        "base-vs-tuned-2.svg",
        "base-vs-tuned.csv",
        "base-vs-tuned.svg",
    ]
    rows = list(csv.DictReader(Path("base-vs-tuned.csv").read_text().splitlines()))
    assert {row["verdict"] for row in rows} == {"better", "no difference", "not comparable"}
    assert "<svg " in Path("base-vs-tuned.svg").read_text()
    assert [len(text.splitlines()) for text, _ in notices] == [3, 3]
    assert str(Path.cwd() / "base-vs-tuned-2.svg") in notices[1][0]


def test_profiles_with_equal_names_are_distinguished_in_the_table(save: Save, see: See, tmp_path: Path) -> None:
    paths = [save("base"), tmp_path / "bad.json", tmp_path / "good.json"]
    for path, factor in zip(paths[1:], (1.5, 1.0), strict=True):
        save("both", factor).replace(path)
    see(paths, "e")
    (table,) = Path.cwd().glob("*.csv")
    rows = csv.DictReader(table.read_text().splitlines())
    losses = {(row["candidate"][-6:], row["verdict"]) for row in rows if row["quantity"] == "final_train_loss"}
    assert losses == {(" (bad)", "worse"), ("(good)", "no difference")}


def test_an_unwritable_folder_is_reported(
    save: Save, see: See, notices: Notices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = save("base")
    (tmp_path / "a-file").write_text("and no folder")
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "a-file")
    see([path], "e")
    assert [text for text, _ in notices] == ["Export failed: File exists"]


def test_the_tables_are_copied_as_markdown(save: Save, drive: Drive) -> None:
    paths = [save("base"), save("tuned", 0.9)]

    async def act(pilot: Pilot[Any]) -> None:
        await workers_done(pilot)
        await pilot.press("y")
        assert pilot.app.clipboard.startswith("### tuned, 2026-11-20 12:00 UTC vs. base")
        assert "| densenet | 2 |" in pilot.app.clipboard

    drive(DnlbenchApp(lambda: CompareScreen(paths)), act, size=SMALL)


def test_a_new_chart_resets_the_zoom(save: Save, drive: Drive) -> None:
    path = save("base")

    async def act(pilot: Pilot[Any]) -> None:
        await workers_done(pilot)
        chart = pilot.app.screen.query_one(ChartView)
        chart.focus()
        await pilot.press("l", "s", "plus", "m")
        await workers_done(pilot)
        assert chart.view.log_y is None
        assert not chart.view.is_zoomed
        assert chart.view.smoothing > 0

    drive(DnlbenchApp(lambda: CompareScreen([path])), act, size=LARGE)


def test_help_explains_marks_and_keys(save: Save, see: See) -> None:
    assert "better" in CompareScreen.HELP
    before, after = see([save("base")], "f1")
    assert before != after


def test_a_heading_of_many_profiles_has_the_chosen_one_and_the_reference(make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.3]})
    entries = [Entry(letter=letter(i), path=Path("x"), profile=profile) for i in range(6)]
    for chosen in range(1, 6):
        lines = heading(entries, chosen, 80, 3).plain.splitlines()
        assert len(lines) == 3
        assert lines[0].startswith("  A reference")
        assert sum(line.startswith(f"▸ {letter(chosen)} candidate {chosen}/5") for line in lines) == 1
    assert len(heading(entries, 1, 80, 8).plain.splitlines()) == 6
    assert max(map(len, heading(entries, 1, 40, 8).plain.splitlines())) <= 40


def test_file_names_replace_unsafe_characters_of_sweep_names(make_profile: MakeProfile) -> None:
    def stem(*names: str) -> str:
        profiles = [make_profile({}).model_copy(update={"name": name}) for name in names]
        return file_stem([Entry(letter="A", path=Path("x"), profile=profile) for profile in profiles])

    assert stem("a", "b") == "a-vs-b"
    assert stem("a", "a") == "a"
    assert stem("../../etc/x y") == "etc-x-y"
    assert stem("…") == "profile"


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mine")
    (tmp_path / "a-2.svg").write_text("mine")
    assert write_new(tmp_path, "a", {".svg": "s", ".csv": "c"}) == [tmp_path / "a-3.svg", tmp_path / "a-3.csv"]
    assert (tmp_path / "a.csv").read_text() == "mine"


@pytest.mark.parametrize("size", [(40, 10), (100, 44), (220, 60)])
def test_other_sizes_show_something_of_both(save: Save, see: See, size: tuple[int, int]) -> None:
    text, chart = see([save("base"), save("tuned", 0.9)], "d", size=size)
    assert "B compared with A" in text
    assert "Final training loss" in chart


def test_no_text_of_a_profile_steers_the_terminal(
    tmp_path: Path, make_profile: MakeProfile, see: Callable[..., list[str]]
) -> None:
    hostile = "net\x1b]52;c;ZXZpbA==\x07\x9b31m\u202e"
    machine = MACHINE.model_copy(update={"cpu": hostile})
    profile = make_profile({(hostile, depth): [0.5, 0.6] for depth in (2, 4)}, name=hostile, machine=machine)
    paths = [save_profile(profile, tmp_path / f"{name}{hostile[3:]}.json") for name in "ab"]
    for seen in (see(paths[:1]), see(paths)):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", "".join(seen))
        assert r"net\x1b]52;c;" in seen[0]


def test_a_line_with_control_characters_stays_as_wide() -> None:
    line = [Segment("a\x1bb"), Segment("c" * 9)]
    assert ESCAPE_CONTROLS.apply(line, Color(0, 0, 0)) == [Segment("a\\x1bb"), Segment("c" * 5)]
    assert ESCAPE_CONTROLS.apply(line[1:], Color(0, 0, 0)) == line[1:]


def test_losses_are_shown_against_budgets(save: Save, see: See) -> None:
    _, depth, parameters, flops, *_, again = see([save("one")], "d", "t", "t", "t", "t", "t")
    assert "Final training loss (nats) vs. depth" in depth
    assert "vs. parameters" in parameters
    assert "no run has final training loss and training FLOPs" in flops
    assert "vs. depth" in again
