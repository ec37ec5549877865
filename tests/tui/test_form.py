from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnlbench.machine import Device, Machine, Slot
from dnlbench.plan import Plan
from dnlbench.spec import list_presets, parse_spec, read_preset, read_spec
from dnlbench.spec.lines import Key
from dnlbench.tui.form import TOP, Form, open_form
from dnlbench.tui.plan_preview import preview_plan

PRESETS = [preset.name for preset in list_presets()]


@cache
def form_of(name: str = "digits-quick") -> Form:
    return open_form(read_preset(name).text, f"preset {name}")


def errors_of(changes: dict[Key, str], name: str = "digits-quick") -> dict[Key, str]:
    form = form_of(name)
    return dict(form.check({**form.initial, **changes}).errors)


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_form_writes_is_the_spec_that_it_was_opened_with(name: str) -> None:
    form, spec = form_of(name), parse_spec(read_preset(name).text, name)
    checked = form.check(form.initial)
    assert checked.errors == {}
    assert checked.spec == spec
    assert parse_spec(checked.text, "written") == spec
    assert form.changed(form.initial) == []


@pytest.mark.parametrize("name", PRESETS)
def test_only_what_the_text_had_is_written(name: str) -> None:
    form = form_of(name)
    assert form.check(form.initial).text == read_preset(name).text


def test_comments_and_order_stay_where_values_change() -> None:
    head = "# Head.\nname = 'x'  # mine\n[train]\nepochs = 3 # few\n"
    text = f"{head}[sweep]\n# none other\nnetworks = ['resnet']\ndepths = [\n 1,\n]\n"
    form = open_form(text, "x.toml")
    changes: dict[Key, str] = {("train", "epochs"): "4", ("sweep", "seeds"): "2", ("data", "limit"): "9"}
    changed = text.replace("3 # few", "4 # few") + "seeds = 2\n\n[data]\nlimit = 9\n"
    assert form.check({**form.initial, **changes}).text == changed


@pytest.mark.parametrize("name", PRESETS)
def test_every_field_can_be_written_out(name: str) -> None:
    """The form writes the same spec if all values are typed in."""
    form, spec = form_of(name), parse_spec(read_preset(name).text, name)
    bare = open_form(f'study = "{form.study}"', "bare")
    assert bare.check({**bare.initial, **form.initial}).spec == spec


@given(
    depths=st.lists(st.integers(1, 64), min_size=1, max_size=5, unique=True),
    seeds=st.integers(1, 9),
    lr=st.floats(1e-9, 10, allow_nan=False),
    name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"),
    root=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1).filter(
        lambda text: text.strip() == text
    ),
    optimizer=st.sampled_from(["sgd", "adamw"]),
    evaluate=st.booleans(),
)
def test_changed_values_come_through(
    depths: list[int], seeds: int, lr: float, name: str, root: str, optimizer: str, evaluate: bool
) -> None:
    form = form_of()
    quoted = root if not root.startswith(('"', "'")) else "data"
    checked = form.check(
        {
            **form.initial,
            ("name",): name,
            ("sweep", "depths"): str(depths),
            ("sweep", "seeds"): str(seeds),
            ("train", "lr"): repr(lr),
            ("train", "optimizer"): optimizer,
            ("train", "evaluate"): str(evaluate).lower(),
            ("data", "root"): quoted,
        }
    )
    assert checked.errors == {}
    assert checked.spec is not None
    content = checked.spec.model_dump(mode="json")
    assert (content["name"], content["sweep"]["depths"], len(content["sweep"]["seeds"])) == (name, depths, seeds)
    assert math.isclose(content["train"]["lr"], lr)
    assert (content["train"]["optimizer"], content["train"]["evaluate"]) == (optimizer, evaluate)
    assert content["data"]["root"] == quoted
    again = open_form(checked.text, "again")
    assert again.check(again.initial).spec == checked.spec


def test_defaults_of_an_absent_table_are_not_those_of_an_empty_one() -> None:
    """Without the table, optimum-limit has 2 positions; an empty table has 5."""
    text = 'name = "x"\nstudy = "optimum-limit"\n[sweep]\nkernels = ["local"]\ndepths = [4]\n'
    form = open_form(text, "x.toml")
    assert form.initial["network", "positions"] == "2"
    spec = form.check({**form.initial, ("network", "bandwidth"): "2.0"}).spec
    assert spec is not None
    assert spec.model_dump()["network"] == {"positions": 2, "channels": 2, "bandwidth": 2.0, "slope": 0.25}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[2, 4]", [2, 4]),
        ("2, 4", [2, 4]),
        ("2", [2]),
    ],
)
def test_lists_need_no_brackets(text: str, value: list[int]) -> None:
    form = form_of()
    spec = form.check({**form.initial, ("sweep", "depths"): text}).spec
    assert spec is not None
    assert spec.model_dump(mode="json")["sweep"]["depths"] == value


def test_values_are_read_as_on_the_command_line() -> None:
    form = form_of()
    typed: dict[Key, str] = {("train", "lr"): ".01", ("train", "epochs"): "1e1", ("sweep", "networks"): "[densenet]"}
    spec = form.check({**form.initial, **typed, ("data", "limit"): "none"}).spec
    assert spec is not None
    content = spec.model_dump(mode="json")
    assert (content["train"]["lr"], content["train"]["epochs"]) == (0.01, 10)
    assert (content["sweep"]["networks"], content["data"]["limit"]) == (["densenet"], None)


def test_words_need_no_quotes() -> None:
    form = form_of()
    spec = form.check({**form.initial, ("sweep", "networks"): "densenet, resnet"}).spec
    assert spec is not None
    assert spec.model_dump(mode="json")["sweep"]["networks"] == ["densenet", "resnet"]


@pytest.mark.parametrize(
    ("changes", "key", "part"),
    [
        ({("train", "lr"): "-1"}, ("train", "lr"), "must be greater than 0"),
        ({("train", "lr"): "fast"}, ("train", "lr"), "number"),
        ({("train", "epochs"): ""}, None, ""),
        ({("sweep", "depths"): "2, x"}, ("sweep", "depths"), "[1] = 'x'"),
        ({("sweep", "depths"): "[2, 4"}, ("sweep", "depths"), "not a valid list; write it as [2, 4]"),
        ({("sweep", "depths"): "2, 4]"}, ("sweep", "depths"), "not a valid list; write it as [2, 4]"),
        ({("sweep", "depths"): ""}, ("sweep", "depths"), "required"),
        ({("sweep", "depths"): "[]"}, ("sweep", "depths"), "at least one"),
        ({("sweep", "networks"): "densnet"}, ("sweep", "networks"), "did you mean 'densenet'?"),
        ({("network", "window"): "3"}, ("network", "window"), "has an effect only with"),
        ({("network", "blocks"): "9"}, ("network", "blocks"), "8×8"),
        ({("network", "options"): "{ a ="}, ("network", "options"), "not a valid table; write it as { key = 1 }"),
        ({("sweep", "depths"): "[" * 150 + "]" * 150}, ("sweep", "depths"), "is nested more than 50 levels deep"),
        ({("name",): "a b"}, ("name",), "letters"),
        ({("tune", "over"): "train.lr"}, ("tune", "over"), "is no key of sweep.grid, which has none"),
        ({("tune", "by"): "evaluation_loss"}, ("tune", "by"), "has an effect only with tune.over"),
        ({("sweep", "seeds"): "9000", ("sweep", "depths"): str([*range(1, 60)])}, TOP, "runs; a sweep may have"),
    ],
)
def test_errors_stand_at_their_field(changes: dict[Key, str], key: Key | None, part: str) -> None:
    errors = errors_of(changes)
    assert list(errors) == ([] if key is None else [key])
    if key is not None:
        assert part in errors[key]


def test_unknown_keys_can_be_seen_and_emptied() -> None:
    text = read_preset("digits-quick").text + "\nepoch = 3\n[more]\nx = 1\n"
    form = open_form(text, "x.toml")
    errors = form.check(form.initial).errors
    assert errors["train", "epoch"].startswith("unknown key; did you mean 'epochs'?")
    assert "unknown key" in errors["more",]
    assert form.check({**form.initial, ("train", "epoch"): "", ("more",): ""}).errors == {}


def test_values_that_no_control_could_show_stand_as_text() -> None:
    text = read_preset("digits-quick").text + '\noptimizer = "rmsprop"\nevaluate = "yes"\n'
    form = open_form(text, "x.toml")
    kinds = {field.key: field.kind for field in form.fields}
    assert (kinds["train", "optimizer"], kinds["train", "evaluate"]) == ("value", "value")
    assert set(form.check(form.initial).errors) == {("train", "optimizer"), ("train", "evaluate")}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name = ", "not valid TOML"),
        ('study = "x"', "allowed: training"),
        ("study = [1]", "allowed"),
        (f"x = {'[' * 60}{']' * 60}", "nested"),
    ],
)
def test_of_what_is_no_spec_there_is_an_empty_form_with_the_reason(text: str, part: str) -> None:
    form = open_form(text, "x.toml")
    assert part in form.problem
    assert form.check(form.initial).spec is None


def test_fields_say_what_they_are() -> None:
    fields = {field.key: field for field in form_of().fields}
    assert fields["sweep", "depths"].hint == "list of whole numbers ≥ 1, ≤ 10,000"
    assert fields["sweep", "depths"].about == "Layers per block, L."
    assert fields["train", "optimizer"].type.choices == ("sgd", "adam", "adamw")
    assert fields["train", "optimizer"].hint == "one of sgd, adam, adamw; default sgd"
    assert fields["network", "bottleneck"].kind == "switch"
    assert "densenet" in fields["sweep", "networks"].hint
    assert fields["name",].about.startswith("Name of the sweep")
    assert form_of().sections[2].about == "Settings of all networks of the sweep."


def test_a_changed_preset_does_not_keep_what_the_preset_says_of_itself() -> None:
    form = form_of()
    assert form.check(form.initial).text.startswith(form.header)
    changed = form.check({**form.initial, ("train", "epochs"): "9"}).text
    assert changed.startswith("# Preset digits-quick with changed train.epochs.\n")
    reopened = open_form(form.check(form.initial).text, "sweeps/mine.toml")
    assert reopened.check({**reopened.initial, ("train", "epochs"): "9"}).text.startswith(form.header)
    assert form.header in read_preset("digits-quick").text


MACHINE = Machine(
    os="Linux", cpu="A CPU", cores=2, memory_bytes=2**30, python="3.11", torch="2.11", devices=(), fingerprint="f" * 16
)


def slots(memory: int) -> tuple[Slot, ...]:
    device = Device(kind="cuda", name="A GPU", memory_bytes=memory)
    return (Slot(name="cuda:0/0", device=device, threads=2),)


def test_plan_preview(make_plan: Callable[..., Plan]) -> None:
    preview = preview_plan(make_plan(), MACHINE, slots(2**30), None)
    assert preview.runs == 8
    assert preview.grid.title == "8 runs = 2 networks × 2 depths × 2 seeds"
    assert preview.concurrency == "1 at a time on cuda:0 (A GPU), 2 CPU threads each"
    assert [row[1] for row in preview.grid.rows] == ["1", "2", "1", "2"]
    assert min(row[5] for row in preview.grid.rows) == "× 1.0"
    assert preview.problems == ()
    assert preview.sweep_s is None
    assert any("Time is estimated after the first epochs" in note for note in preview.notes)


def test_an_axis_that_is_left_empty_is_no_factor() -> None:
    preview = preview_plan(Plan(read_spec("relu-limit")), MACHINE, slots(2**30), None)
    assert preview.grid.title == "200 runs = 2 weights × 4 exponents × 1 direction × 5 depths × 5 seeds"
    assert preview.runs == 200
    both = preview_plan(Plan(read_spec("relu-limit", ["sweep.bias_exponents=[1]"])), MACHINE, slots(2**30), None)
    assert both.grid.title == "200 runs = 2 weights × 4 exponents × 1 bias exponent × 1 direction × 5 depths × 5 seeds"


def test_the_preview_lists_what_does_not_fit(make_plan: Callable[..., Plan]) -> None:
    preview = preview_plan(make_plan("sweep.depths=[1,200]"), MACHINE, slots(2**26), None)
    assert [row[-1] for row in preview.grid.rows] == ["", "too large", "", "too large"]
    assert "does not fit" in preview.summary
    assert "cuda:0 (A GPU) has 64.0 MiB" in preview.problems[0]


def test_the_preview_of_unknown_images_states_the_assumption(make_plan: Callable[..., Plan]) -> None:
    preview = preview_plan(make_plan("data.dataset=image-folder"), MACHINE, slots(2**34), None)
    assert any("assume" in note for note in preview.notes)
