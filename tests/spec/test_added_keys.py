"""Specs of versions with fewer keys keep their meaning and identity."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, create_model

from dnlbench.comparison import compare
from dnlbench.errors import SpecError
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, read_listed, read_profile, save_profile
from dnlbench.spec import parse_spec, read_preset
from dnlbench.store import RunDir
from dnlbench.store.sweep_file import settings_differences
from dnlbench.studies import STUDIES
from dnlbench.studies.added import Added, completed, essential
from dnlbench.studies.training import TrainingSpec

MINE = """
name = "before"
[sweep]
networks = ["densenet", "dense-attention"]
depths = [2]
seeds = 1
"""
AS_BEFORE = ("network.initialization=torch", "network.attention_initialization=torch", "train.batch_norm=running")
ADDED = {
    "network": ["stem", "dropout", "initialization", "attention_initialization"],
    "data": ["normalize", "augment", "crop_padding"],
    "train": [
        "warmup_steps",
        "nesterov",
        "beta2",
        "eps",
        "clip_norm",
        "weight_decay_on",
        "milestones",
        "batch_norm",
        "nudge_ulps",
    ],
}
BEFORE: dict[str, Any] = {
    "stem": None,
    "dropout": 0.0,
    "normalize": False,
    "augment": [],
    "crop_padding": 4,
    "warmup_steps": 0,
    "nesterov": False,
    "beta2": 0.999,
    "eps": 1e-8,
    "clip_norm": None,
    "milestones": None,
    "initialization": "torch",
    "attention_initialization": "torch",
    "weight_decay_on": "all",
    "batch_norm": "running",
    "nudge_ulps": 0,
}


class Inner(BaseModel):
    old: int = 1
    new: Annotated[int, Added(before=0)] = 7


class Outer(BaseModel):
    inner: Inner = Inner()
    free: dict[str, Any] = {}
    new: Annotated[str, Added(before="was")] = "is"


def saved(plan: Plan) -> dict[str, Any]:
    """Return a plan's spec as saved by version 0.7.0."""
    spec = plan.spec.model_dump(mode="json")
    return {
        name: {key: value for key, value in table.items() if key not in ADDED.get(name, ())}
        if isinstance(table, dict)
        else table
        for name, table in spec.items()
    }


def keys_of(form: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str, Added]]:
    for name, field in form.model_fields.items():
        yield from ((form, name, each) for each in field.metadata if isinstance(each, Added))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation)


def test_absent_keys_have_their_values_from_before() -> None:
    assert completed(Outer, {}) == {"inner": {"new": 0}, "new": "was"}
    assert completed(Outer, {"inner": {"new": 7}, "free": {"x": 1}}) == {
        "inner": {"new": 7},
        "free": {"x": 1},
        "new": "was",
    }
    assert completed(Outer, {"inner": 3}) == {"inner": 3, "new": "was"}, "the model is what refuses it"


def test_identities_omit_values_from_before() -> None:
    assert essential(Outer, {"inner": {"old": 0, "new": 0}, "free": {"new": 0}, "new": "was"}) == {
        "inner": {"old": 0},
        "free": {"new": 0},
    }
    assert essential(Outer, {"inner": {"new": 7}, "new": "is"}) == {"inner": {"new": 7}, "new": "is"}


def test_every_added_key_accepts_its_value_from_before() -> None:
    result = [key for study in STUDIES.values() for key in keys_of(study.spec)]
    assert {name for _, name, _ in result} >= BEFORE.keys()
    for form, name, added in result:
        alone: Any = create_model("Alone", **{name: (form.model_fields[name].rebuild_annotation(), ...)})  # type: ignore[call-overload]
        accepted = alone.model_validate_json(json.dumps({name: added.before}), strict=True)
        assert accepted.model_dump(mode="json")[name] == added.before


def test_a_spec_of_version_0_7_has_its_hash_and_run_ids() -> None:
    plan = Plan(parse_spec(MINE, "mine.toml", AS_BEFORE))
    assert plan.spec_hash == "a0f0212ed7e7cd0e"
    assert plan.settings_hash == "9d91509315dd03a8"
    assert [run.run_id for run in plan.runs] == ["densenet-L2-s0-aa344faf", "dense-attention-L2-s0-bc18e0cc"]
    assert Plan(TrainingSpec.from_saved(saved(plan))) == plan


PRESETS = {  # spec hashes before the keys of the protocol were added
    "digits-quick": "79072901d4c52353",
    "embedding": "b65c73f84294edbf",
    "fig3-cifar10": "2b81306dca630217",
    "fig3-svhn": "29f4055c89a8a566",
    "forward-limit": "1cb68cfc8513a03e",
    "optimum-limit": "8cf77a0942797512",
    "optimum-limit-digits": "a597a093723527e0",
    "relu-limit": "f7cbd2cbad3311da",
    "stability": "b66056495489eee6",
}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_keep_their_hashes(preset: str) -> None:
    assert Plan(parse_spec(read_preset(preset).text, preset)).spec_hash == PRESETS[preset]


@pytest.mark.parametrize(
    "change",
    [
        *(
            f"{line.split('=')[0]}={to}"
            for line, to in zip(AS_BEFORE, ("kaiming", "unit-scores", "recalibrated"), strict=True)
        )
    ],
)
def test_another_value_makes_other_runs(change: str) -> None:
    here, there = (Plan(parse_spec(MINE, "mine.toml", [*AS_BEFORE, *more])) for more in ([change], []))
    assert not here.by_id.keys() & there.by_id.keys()
    key, _, value = change.partition("=")
    before = BEFORE[key.partition(".")[2]]
    assert settings_differences(there, here) == [f"{key} is {before} there and {value} here"]


def test_a_run_directory_of_version_0_7_is_read(tmp_path: Path) -> None:
    plan = Plan(parse_spec(MINE, "mine.toml", AS_BEFORE))
    content = {"schema": "dnlbench.sweep/2", "execution": {}, "study": "training", "spec": saved(plan)}
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    read = RunDir(tmp_path).read_plan()
    assert isinstance(read.spec, TrainingSpec)
    assert read.spec.network.initialization == "torch"
    assert read.by_id.keys() == plan.by_id.keys()


def test_a_profile_of_version_0_7_is_read(tmp_path: Path, make_profile: Callable[..., Profile]) -> None:
    profile = make_profile({("densenet", 2): [0.3, 0.4]})
    content = json.loads(profile.to_json())
    for table, keys in ADDED.items():
        for key in keys:
            del content["spec"][table][key]
    path = tmp_path / "old.json"
    for text in (
        json.dumps(content),
        json.dumps(dict(reversed(content.items()))),
    ):  # as ours are written, and otherwise
        path.write_text(text)
        for read in (read_profile, read_listed):
            spec = read(path).spec
            assert {key: spec[table][key] for table, keys in ADDED.items() for key in keys} == BEFORE
    new = save_profile(make_profile({("densenet", 2): [0.3, 0.4]}), tmp_path / "new.json")
    message = compare(read_profile(path), read_profile(new)).differences
    assert [(each.what, each.reference, each.candidate) for each in message] == [
        ("spec network.initialization", "torch", "kaiming"),
        ("spec network.attention_initialization", "torch", "unit-scores"),
        ("spec train.batch_norm", "running", "recalibrated"),
    ]


def test_the_schema_and_overrides_know_the_keys() -> None:
    definitions = TrainingSpec.model_json_schema()["$defs"]
    for table, keys in (("NetworkSettings", ADDED["network"]), ("TrainSettings", ADDED["train"])):
        for key in keys:
            shown = definitions[table]["properties"][key]
            assert "enum" not in shown or {BEFORE[key], shown["default"]} <= set(shown["enum"])
    with pytest.raises(SpecError, match=r"network\.initialization.*xavier.*torch"):
        parse_spec(MINE, "mine.toml", ["network.initialization=xavier"])
    spec = parse_spec(MINE, "mine.toml", ["train.weight_decay_on=weights"])
    assert isinstance(spec, TrainingSpec)
    assert spec.train.weight_decay_on == "weights"


# --- Renamed values. ---

RENAMED = {"lean": "memory-efficient", "plain": "standard"}
IDENTITIES_0_7 = {  # spec hash, settings hash and run ids of version 0.7
    "lean": ("dbb6da62a16fdb95", "a6ee0a696738f4f8", ["densenet-L2-s0-2db724c4", "dense-attention-L2-s0-44200f3f"]),
    "plain": ("5afef8680cd7b0f1", "addf5b08ec9fb4c2", ["densenet-L2-s0-2e46182c", "dense-attention-L2-s0-96f88e50"]),
}


def with_implementation(name: str) -> Plan:
    return Plan(parse_spec(MINE, "mine.toml", [*AS_BEFORE, f"network.implementation={name}"]))


@pytest.mark.parametrize("old", RENAMED)
def test_both_names_of_an_implementation_are_the_same_spec_with_its_old_identity(old: str) -> None:
    plan, same = with_implementation(RENAMED[old]), with_implementation(old)
    assert plan == same
    assert plan.spec.model_dump(mode="json")["network"]["implementation"] == RENAMED[old]
    for each in (plan, same):
        assert (each.spec_hash, each.settings_hash, [run.run_id for run in each.runs]) == IDENTITIES_0_7[old]


@pytest.mark.parametrize("old", RENAMED)
def test_a_run_directory_with_an_old_implementation_name_is_read(tmp_path: Path, old: str) -> None:
    plan = with_implementation(old)
    spec = saved(plan)
    spec["network"]["implementation"] = old
    content = {"schema": "dnlbench.sweep/2", "execution": {}, "study": "training", "spec": spec}
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    read = RunDir(tmp_path).read_plan()
    assert read == plan
    assert settings_differences(read, with_implementation(RENAMED[old])) == []


@pytest.mark.parametrize("old", RENAMED)
def test_profiles_with_either_name_have_equal_settings(
    tmp_path: Path, make_profile: Callable[..., Profile], old: str
) -> None:
    content = json.loads(make_profile({("densenet", 2): [0.3, 0.4]}).to_json())
    profiles = []
    for name in (old, RENAMED[old]):
        content["spec"]["network"]["implementation"] = name
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        profiles += [read_profile(path), read_listed(path)]
    assert {profile.spec["network"]["implementation"] for profile in profiles} == {RENAMED[old]}
    assert compare(read_profile(tmp_path / f"{old}.json"), read_profile(path)).differences == ()


def test_only_the_new_names_are_offered() -> None:
    shown = TrainingSpec.model_json_schema()["$defs"]["NetworkSettings"]["properties"]["implementation"]
    assert shown["enum"] == ["auto", "memory-efficient", "standard"]
    with pytest.raises(SpecError, match=r"= 'leaner': allowed: auto, memory-efficient, standard\."):
        with_implementation("leaner")


STEPS = {"none": (0.0, "densenet-L2-s0-d5868076"), "1/L": (1.0, "densenet-L2-s0-6be8ca1a")}
"""The exponents and run ids of the steps' old names."""


@pytest.mark.parametrize("old", STEPS)
def test_old_names_of_steps_are_exponents_with_the_old_identity(tmp_path: Path, old: str) -> None:
    exponent, run_id = STEPS[old]
    plans = [Plan(parse_spec(MINE, "mine.toml", [f"network.step_scaling={value}"])) for value in (old, exponent)]
    assert plans[0] == plans[1]
    assert plans[0].spec.model_dump(mode="json")["network"]["step_scaling"] == exponent
    assert plans[0].spec.identity()["network"]["step_scaling"] == old
    assert {plan.runs[0].run_id for plan in plans} == {run_id}
    spec = saved(plans[0])
    spec["network"] |= {"step_scaling": old, **{key: BEFORE[key] for key in ("initialization",)}}
    content = {"schema": "dnlbench.sweep/2", "execution": {}, "study": "training", "spec": spec}
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    (read,) = {RunDir(tmp_path).read_plan().spec.model_dump()["network"]["step_scaling"]}
    assert read == exponent


def test_other_exponents_have_ids_of_their_own() -> None:
    half = Plan(parse_spec(MINE, "mine.toml", ["network.step_scaling=0.5"]))
    assert half.runs[0].run_id not in {run_id for _, run_id in STEPS.values()}
    with pytest.raises(SpecError, match=r"step_scaling = '2/L'"):
        parse_spec(MINE, "mine.toml", ["network.step_scaling=2/L"])
