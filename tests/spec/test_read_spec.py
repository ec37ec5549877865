from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from dnlbench.errors import SpecError
from dnlbench.spec import list_presets, parse_spec, read_preset, read_spec, spec_hash
from dnlbench.spec.explain import Source
from dnlbench.studies.training import TrainingSpec

GOOD = """\
name = "good"

[sweep]
# a comment
networks = ["densenet"]
depths = [
  2,
  4,
]
[train]
lr = 0.1
"""


def read(text: str, *overrides: str) -> TrainingSpec:
    spec = parse_spec(text, "sweep.toml", overrides)
    assert isinstance(spec, TrainingSpec)
    return spec


def test_a_good_spec_is_read_and_frozen() -> None:
    spec = read(GOOD)
    assert spec.sweep.depths == (2, 4)
    assert spec.seeds == (0, 1, 2)
    assert spec.train.lr == 0.1
    with pytest.raises(Exception, match="frozen"):
        spec.train.lr = 0.2  # type: ignore[misc]


def test_a_count_of_seeds_is_the_list() -> None:
    assert spec_hash(read(GOOD, "sweep.seeds=4")) == spec_hash(read(GOOD, "sweep.seeds=[0,1,2,3]"))


def line_of(text: str, key: tuple[str, ...]) -> int | None:
    location = Source(origin="x", text=text, overrides={}).location(key)
    return int(location.removeprefix("x:")) if ":" in location else None


def test_the_line_is_that_of_the_statement() -> None:
    assert line_of("a = 1\nb = 2\n[t]\nc = [\n1,\n2]\nd = 3\n", ("t", "d")) == 7
    assert line_of("a = 1\nb = 2\n[t]\nc = [\n1,\n2]\nd = 3\n", ("t", "c")) == 4
    assert line_of("a = {b = {c = 3}}", ("a", "b", "c")) == 1
    assert line_of("a = 1", ("b",)) is None
    assert line_of("# x\n\na = 1\n", ("a",)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("[train]", "[trian]"),
            r"sweep.toml:10: trian: unknown key; did you mean 'train'\? Allowed: name, study, sweep",
        ),
        (
            ("lr = 0.1", "epohcs = 3"),
            r"sweep.toml:11: train.epohcs: unknown key; did you mean 'epochs'\? Allowed: epochs, ",
        ),
        (("lr = 0.1", 'lr = "fast"'), r"sweep.toml:11: train.lr = 'fast': must be a number"),
        (("lr = 0.1", "lr = -1"), r"sweep.toml:11: train.lr = -1: must be greater than 0"),
        (("[\n  2,\n  4,\n]", "2"), r"sweep.toml:6: sweep.depths = 2: must be a list, as in \[2\]$"),
        (("lr = 0.1", "evaluate = 1"), r"sweep.toml:11: train.evaluate = 1: must be true or false$"),
        (('name = "good"', "name = 12"), r"sweep.toml:1: name = 12: must be a string, in quotes$"),
        (
            ('name = "good"', "name = 2026-11-30"),
            r'sweep.toml:1: name = 2026-11-30: dates and times are not supported; .* quotes: "2026-11-30"$',
        ),
        (
            ("lr = 0.1", "lr = 0.1\n[network.options]\na = [1, {b = -inf}]"),
            r"sweep.toml:13: network.options.a.b = -inf: must be a finite number$",
        ),
        (("lr = 0.1", "epochs = 1" + "0" * 5000), r"^sweep.toml:11: a number has too many digits$"),
        (
            ("lr = 0.1", "epochs = 0x1" + "0" * 5000),
            r"^sweep.toml:11: train.epochs = .*: must be a number of at most 64",
        ),
        (("lr = 0.1", f"lr = {'[' * 5000}{']' * 5000}"), r"^sweep.toml: values are nested more than 50 levels deep$"),
        (("lr = 0.1", f"lr = {'[' * 60}{']' * 60}"), r"^sweep.toml: values are nested more than 50 levels deep$"),
        (("lr = 0.1", f"{'a.' * 3000}a = 1"), r"^sweep.toml: values are nested more than 50 levels deep$"),
        (
            ("lr = 0.1", f"optimizer = '{'x' * 999}'"),
            r"^sweep.toml:11: train.optimizer = 'x{79}…: allowed: sgd, adam, adamw\.$",
        ),
        (("lr = 0.1", "lr = nan"), r"sweep.toml:11: train.lr = nan: must be a finite number"),
        (("lr = 0.1", "epochs = true"), r"sweep.toml:11: train.epochs = True: must be a whole number"),
        (("lr = 0.1", "epochs = 2.5"), r"sweep.toml:11: train.epochs = 2.5: must be a whole number"),
        (
            ('"densenet"', '"densnet"'),
            r"sweep.networks\[0\] = 'densnet': allowed: densenet, dense-attention, .*; did you mean 'densenet'\?",
        ),
        (("  2,\n", "  0,\n"), r"sweep.toml:6: sweep.depths\[0\] = 0: must be greater than or equal to 1"),
        (("  4,\n", "  2,\n"), r"sweep.toml:6: sweep.depths repeats 2: list each value once$"),
        (("  2,\n  4,\n", ""), r"sweep.toml:6: sweep.depths is empty: at least one value is needed"),
        (('["densenet"]', "[]"), r"sweep.networks is empty"),
        (('name = "good"', ""), r"sweep.toml: name: required key is missing"),
        (
            ('name = "good"', 'name = "../x"'),
            r"sweep.toml:1: name = '../x': use only the letters a–z and A–Z, digits, ",
        ),
        (
            ("lr = 0.1", 'optimizer = "adamwd"'),
            r"train.optimizer = 'adamwd': allowed: sgd, adam, adamw; did you mean 'adamw'\?",
        ),
        (
            ("lr = 0.1", 'schedule = "step"'),
            r"sweep.toml:11: train.schedule = 'step': requires train.step_epochs",
        ),
        (("[train]\nlr = 0.1", "train = 3"), r"train"),
        (
            ("lr = 0.1", "lr = 0.1\n[network]\nblocks = 5"),
            r"network.blocks = 5: images of 8×8 pixels have room for at most 4 blocks",
        ),
        (("lr = 0.1", "lr = 0.1\n[network]\nwindow = 3"), r"network.window = 3: has an effect only with"),
        (
            ("lr = 0.1", "lr = 0.1\n[data]\nclasses = 3"),
            r"data.classes = 3: has an effect only with data.dataset = npz or npy or synthetic or package.module:factory",
        ),
        (
            ("lr = 0.1", "lr = 0.1\n[network.options]\na = 3"),
            r"network.options = {'a': 3}: have an effect only on custom networks",
        ),
        (("lr = 0.1", "lr = .1 # fast"), r"^sweep.toml: not valid TOML: .*line 11, column 6\); write lr = 0.1$"),
        (("lr = 0.1", "evaluate = True"), r"line 11, column 12\); write evaluate = true$"),
        (("lr = 0.1", "optimizer = sgd"), r'line 11, column 13\); write optimizer = "sgd"$'),
        (
            ('["densenet"]', "[densenet, plain]"),
            r'line 5, column 13\): \[densenet, plain\] is not a valid list; write it as \["densenet", "plain"\]$',
        ),
        (
            ("lr = 0.1", "lr = None"),
            r'line 11, column 6\): None is not a TOML value; remove the key or, for the word, write it as "None"$',
        ),
        (("lr = 0.1", "epochs = 01"), r"line 11, column 11\)$"),
        (("lr = 0.1", "lr 0.1"), r"line 11, column 4\)$"),
        (("lr = 0.1", "lr = = 1"), r"sweep.toml: not valid TOML: .*line 11"),
        (
            ("name =", 'study = "traning"\nname ='),
            r"sweep.toml:1: study = 'traning': allowed: training, .*; did you mean 'training'\?",
        ),
        (("lr = 0.1", '"foo(bar)" = 1'), r"sweep.toml:11: train.foo\(bar\): unknown key\. Allowed: epochs, "),
        (('name = "good"', 'name = "good"\n".x" = 1'), r"sweep.toml:2: \.x: unknown key\. Allowed: name, "),
    ],
)
def test_errors_name_location_and_remedy(change: tuple[str, str], message: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(SpecError, match=message):
        read(GOOD.replace(*change))


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        read(GOOD.replace("lr", "rl").replace("densenet", "dense"))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.seeds=[1,1]", r"--set sweep.seeds=\[1,1\]: sweep.seeds repeats 1: list each value once$"),
        ("sweep.seeds=0", r"--set sweep.seeds=0: sweep.seeds = 0: must be a list of seeds, or a count"),
        ("train.epoch=3", r"--set train.epoch=3: train.epoch: unknown key; did you mean 'epochs'\?"),
        ("train.epochs", r"--set train.epochs: write it as KEY=VALUE"),
        ("name.x=1", r"--set name.x=1: 'name' is a value, not a table"),
        ("depths[0]=2", r"--set depths\[0\]=2: depths\[0\]: unknown key; did you mean 'sweep.depths'\?"),
        ("sweep.depths[0]=2", r"--set sweep.depths\[0\]=2: sweep.depths\[0\]: unknown key; did you mean 'depths'\?"),
        ("precision=bf16", r"--set precision=bf16: precision: unknown key; did you mean 'train.precision'\?"),
        ("seed=5", r"seed: unknown key; did you mean 'sweep.seeds'\?"),
        ("train.image_siz=5", r"train.image_siz: unknown key; did you mean 'data.image_size'\?"),
        ("train.nam=x", r"train.nam: unknown key; did you mean 'name'\?"),
        ("zzz=1", r"--set zzz=1: zzz: unknown key\. Allowed: name, study"),
        (
            "sweep.networks=[plain",
            r"--set sweep.networks=\[plain: is not a valid list; .* --set 'sweep.networks=\[\"plain\"\]'$",
        ),
        ("sweep.depths=[2, 4", r"is not a valid list; write it as --set 'sweep.depths=\[2, 4\]'$"),
        ("sweep.depths=[[", r"is not a valid list; write it as --set 'sweep.depths=\[2, 4, 8\]'$"),
        ("sweep.network=[plain", r"sweep.network: unknown key; did you mean 'networks'\?"),
        ("sweep.depths=2 4", r"sweep.depths\[0\] = '2 4': must be a whole number$"),
        ("sweep.seeds=0..3", r"sweep.seeds = '0..3': must be a list of seeds, or a count"),
        ("train.epochs=007", r"train.epochs = '007': must be a whole number$"),
        ("train.lr=0,01", r"train.lr = '0,01': must be a number$"),
        ("train.evaluate=1", r"train.evaluate = 1: must be true or false$"),
        ('network.options={"a": 1}', r"is not a valid table; write it as --set 'network.options=\{ key = 1 \}'$"),
        ("network.options.a=None", r"is not a TOML value; remove the key or, .*'network.options.a=\"None\"'$"),
        ("network.options.a=nan", r"^--set network.options.a=nan: network.options.a = nan: must be a finite number$"),
        ("network.options.a=1e999", r"network.options.a = inf: must be a finite number$"),
        ("network.options.a=10:30:00", r"network.options.a = 10:30:00: dates and times are not supported"),
        (f"train.epochs=1{'0' * 5000}", r"^--set train.epochs=10+…: train.epochs = '10+…: must be a whole number$"),
        (f"sweep.seeds={'[' * 5000}", r"is not a valid list"),
        (f"sweep.seeds={'[' * 60}{']' * 60}", r"^--set sweep.seeds=.*: is nested more than 50 levels deep$"),
        (f"{'a.' * 3000}a=1", r"^--set [a.]+…: the key has 3,001 parts; at most 50 are allowed$"),
        ("data.root=\udcff", r"^--set data.root=\\udcff: not valid UTF-8$"),
        ("da\udcffta.root=x", r"^--set da\\udcffta.root=x: not valid UTF-8$"),
        (
            "network.connectivity=window",
            r"--set network.connectivity=window: network.connectivity = 'window': requires network.window",
        ),
    ],
)
def test_invalid_overrides_are_reported(override: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(GOOD, override)


@pytest.mark.parametrize(
    "key",
    [
        f"{table}.{key}"
        for table, field in TrainingSpec.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for key in field.annotation.model_fields
    ],
)
def test_the_location_of_an_error_is_the_key_only(key: str) -> None:
    if key == "data.root":  # any text names a folder
        return
    with pytest.raises(SpecError, match=rf"^--set {key}=nan: {key}(\[0\])? = '?nan'?: "):
        read(GOOD, f"{key}=nan")


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("sweep.seeds", 10_000),
        ("network.blocks", 32),
        ("network.growth_rate", 2**16),
        ("network.window", 10_000),
        ("network.width", 2**16),
        ("data.limit", 10**9),
        ("data.image_size", 2**14),
        ("data.channels", 1024),
        ("data.classes", 10**6),
        ("data.samples", 10**7),
        ("train.epochs", 10**6),
        ("train.batch_size", 2**20),
        ("train.step_epochs", 10**6),
    ],
)
def test_counts_have_bounds(key: str, most: int) -> None:
    needed = [
        "data.dataset=synthetic",
        "data.image_size=16384",
        "network.connectivity=window",
        "network.window=3",
        "train.schedule=step",
        "train.step_epochs=3",
    ]
    if key == "network.blocks":  # no image of a known size has room for as many
        needed = ["data.dataset=image-folder"]
    read(GOOD, *needed, f"{key}={most}")
    with pytest.raises(SpecError) as caught:
        read(GOOD, *needed, f"{key}={most + 1}")
    message = str(caught.value)
    assert message.startswith(f"--set {key}={most + 1}: {key} = {most + 1}: must be ")
    assert f"{most}" in message.replace(",", "").rpartition("must be")[2]


def test_a_typo_in_the_seeds_is_reported_at_once() -> None:
    start = time.process_time()  # which other work on the machine does not lengthen
    with pytest.raises(
        SpecError, match=r"sweep.seeds = 20261120: must be a list of seeds, or a count from 1 to 10,000"
    ):
        read(GOOD, "sweep.seeds=20261120")
    with pytest.raises(SpecError, match=r"sweep.seeds has too many values; at most 10,000 are allowed$"):
        read(GOOD, f"sweep.seeds={list(range(10_001))}")
    with pytest.raises(SpecError, match=r"sweep.seeds repeats 7: list"):
        read(GOOD, f"sweep.seeds={[7, *range(9_999)]}")
    assert time.process_time() - start < 2


def test_depths_have_a_bound() -> None:
    assert read(GOOD, "sweep.depths=[10000]").sweep.depths == (10_000,)
    with pytest.raises(SpecError, match=r"sweep.depths\[0\] = 10001: must be less than or equal to 10000"):
        read(GOOD, "sweep.depths=[10001]")


def test_the_number_of_runs_has_a_bound() -> None:
    networks = "sweep.networks=['densenet','plain']"
    depths = f"sweep.depths={list(range(1, 11))}"
    assert len(read(GOOD, networks, depths, "sweep.seeds=5000").points) * 5000 == 100_000
    message = (
        r"sweep: networks \(2\) × depths \(10\) × seeds \(5,001\) = 100,020 runs; a sweep may have at most 100,000$"
    )
    with pytest.raises(SpecError, match=message):
        read(GOOD, networks, depths, "sweep.seeds=5001")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.lr=.01", 0.01),
        ("train.lr=1.", 1.0),
        ("train.lr=+1.e-3", 1e-3),
        ("train.lr=1_000", 1000.0),
        ("train.epochs=1e1", 10),
        ("train.epochs=10.0", 10),
        ("train.epochs=+1", 1),
        ("sweep.depths=2,4", (2, 4)),
        ("sweep.depths=2, 4,", (2, 4)),
        ("sweep.depths=(2, 4)", (2, 4)),
        ("sweep.depths=4", (4,)),
        ("sweep.depths=[1e0, 2]", (1, 2)),
        ("sweep.seeds=1e1", tuple(range(10))),
        ("sweep.seeds=3,", (3,)),
        ("sweep.seeds=3,5", (3, 5)),
        ("sweep.networks=plain", ("plain",)),
        ("sweep.networks=plain,nets:make", ("plain", "nets:make")),
        ("sweep.networks=[plain]", ("plain",)),
        ("sweep.networks=['plain', densenet]", ("plain", "densenet")),
        ("train.evaluate=True", True),
        ("train.evaluate=off", False),
        ("train.optimizer='adamw'", "adamw"),
        ("data.root=12", "12"),
        ("data.root=2026-11-30", "2026-11-30"),
        ("data.limit=none", None),
        ("data.limit=None", None),
    ],
)
def test_overrides_are_accepted_as_people_type_them(override: str, value: object) -> None:
    table, _, key = override.partition("=")[0].partition(".")
    result = read(GOOD + "[data]\nlimit = 9\n", override)
    assert (getattr(getattr(result, table), key), type(value)) == (value, type(getattr(getattr(result, table), key)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("relu", "relu"),
        ("[1, 2]", [1, 2]),
        ("{a = 'x'}", {"a": "x"}),
    ],
)
def test_options_are_read_without_a_type(text: str, value: object) -> None:
    options = read(GOOD, "sweep.networks=nets:make", f"network.options.a={text}").network.options
    assert options == {"a": value}
    assert type(options["a"]) is type(value)


def test_5000_errors_are_reported_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    text = GOOD + "".join(f"key{number} = {number}\n" for number in range(5000))
    text += "[data]\nroots = [\n" + "2,\n" * 5000 + "]\n"
    read_characters, loads = [0], tomllib.loads

    def counting(content: str) -> dict[str, object]:
        read_characters[0] += len(content)
        return loads(content)

    monkeypatch.setattr("tomllib.loads", counting)
    with pytest.raises(SpecError) as caught:
        read(text)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("sweep.toml:5013: data.roots: unknown key")
    assert lines[1].startswith("sweep.toml:12: train.key0: unknown key")
    assert lines[-1] == "and 4,981 more errors"
    assert len(lines) == 21
    assert read_characters[0] < 3 * len(text)


def test_overrides_replace_values() -> None:
    spec = read(GOOD, "sweep.depths=[1]", "data.dataset=cifar10", "train.lr = 1", 'name="x"')
    assert (spec.sweep.depths, spec.data.dataset, spec.train.lr, spec.name) == ((1,), "cifar10", 1.0, "x")


def test_a_name_that_is_no_file_and_no_preset() -> None:
    with pytest.raises(SpecError, match=r"digits-quik: no such file, and no preset .*; did you mean 'digits-quick'\?"):
        read_spec("digits-quik")


def test_a_path_is_never_taken_for_a_preset(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    assert read_spec(str(tmp_path / "mine.toml")).name == "good"
    with pytest.raises(SpecError, match="mine: no such file, and no preset with this name"):
        read_spec(str(tmp_path / "mine"))
    for name in (str(tmp_path / "mine"), "../presets/stability", "./stability", ""):
        with pytest.raises(KeyError):
            read_preset(name)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r").encode(),
    ],
    ids=["byte order mark", "line breaks of Windows", "carriage returns"],
)
def test_a_spec_may_come_from_any_editor(tmp_path: Path, encode: Callable[[str], bytes]) -> None:
    (tmp_path / "mine.toml").write_bytes(encode(GOOD))
    assert read_spec(str(tmp_path / "mine.toml")) == read(GOOD)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-16", "mine.toml: not UTF-8 text but probably UTF-16; save it as UTF-8$"),
        ("utf-16-le", "mine.toml: not UTF-8 text but probably UTF-16; save it as UTF-8$"),
        ("latin-1", "mine.toml: not UTF-8 text: byte 0xef in line 1; save it as UTF-8$"),
    ],
)
def test_a_spec_in_another_encoding_is_refused(tmp_path: Path, encoding: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(GOOD.replace("good", "naïve"), encoding=encoding)
    with pytest.raises(SpecError, match=message):
        read_spec(str(tmp_path / "mine.toml"))


def test_a_folder_is_no_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        read_spec(str(tmp_path))


def test_a_factory_is_a_custom_network() -> None:
    assert read(GOOD.replace("densenet", "my_package.networks:make")).points[0].network == "my_package.networks:make"


def test_presets_are_valid_and_named_like_their_files() -> None:
    presets = list_presets()
    assert {preset.name for preset in presets} >= {"digits-quick", "fig3-cifar10", "fig3-svhn", "stability"}
    for preset in presets:
        assert parse_spec(preset.text, preset.name).name == preset.name
        assert preset.text.startswith("# ")


@pytest.mark.parametrize(("name", "epochs"), [("fig3-cifar10", 150), ("fig3-svhn", 50)])
def test_figure_3_has_the_papers_protocol(name: str, epochs: int) -> None:
    spec = read_spec(name)
    assert isinstance(spec, TrainingSpec)
    train, network = spec.train, spec.network
    assert (train.epochs, train.optimizer, train.lr, train.momentum, train.weight_decay) == (
        epochs,
        "sgd",
        0.01,
        0.9,
        0.0,
    )
    assert (network.blocks, network.growth_rate, len(spec.seeds)) == (4, 6, 5)


def test_the_hash_ignores_names_and_file_locations() -> None:
    base = spec_hash(read(GOOD))
    assert spec_hash(read(GOOD, "name=other", "data.root=/elsewhere", "data.download=true")) == base
    assert spec_hash(read("# moved\n" + GOOD.replace("lr = 0.1", "lr = 0.10\nepochs = 10"))) == base
    for change in ("train.lr=0.2", "sweep.depths=[2]", "network.growth_rate=5", "data.limit=10", "sweep.seeds=2"):
        assert spec_hash(read(GOOD, change)) != base
