from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets
from filelock import FileLock
from PIL import Image

from dnlbench.errors import DataError
from dnlbench.runners.training.data import Dataset, epoch_order, load_dataset, synthetic
from dnlbench.runners.training.data import split as split_module
from dnlbench.runners.training.data.split import choose
from dnlbench.studies.training.spec import DataSettings

RANDOM = np.random.default_rng(3)


def load(dataset: str, *, evaluate: bool = False, **settings: Any) -> Dataset:
    return load_dataset(DataSettings.model_validate({"dataset": dataset, **settings}), evaluate=evaluate)


def test_digits_are_scikit_learns_scaled_to_bytes() -> None:
    from sklearn.datasets import load_digits

    data = load("digits", evaluate=True)
    assert data.evaluation is not None
    assert (len(data.training), len(data.evaluation)) == (1500, 297)
    both = torch.cat([data.training.inputs, data.evaluation.inputs])[:, 0]
    assert both.dtype == torch.uint8
    assert np.array_equal(np.rint(both.numpy() / 255 * 16), load_digits().images)
    assert (both == 255).any()
    assert data.info.input_shape == (1, 8, 8)
    assert data.info.classes == 10


# CIFAR-10 in its original format: pickled dicts of rows of 3,072 bytes, red values first, then green, then blue


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray[Any, Any], list[int]]:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = RANDOM.integers(0, 256, (60, 3, 32, 32), dtype=np.uint8)
    labels = [int(label) for label in RANDOM.integers(0, 10, 60)]
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    for n, name in enumerate(names):
        part = slice(10 * n, 10 * n + 10)
        batch = {"data": images[part].reshape(10, 3072), "labels": labels[part], "batch_label": name}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {n}" for n in range(10)]}, protocol=2))
    _trust(monkeypatch, folder, names)
    return images, labels


def _trust(monkeypatch: pytest.MonkeyPatch, folder: Path, names: list[str]) -> None:
    """Disable the check of the MD5 of the original files."""
    import hashlib

    def md5(name: str) -> str:
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    reader = torchvision.datasets.CIFAR10
    monkeypatch.setattr(reader, "train_list", [[name, md5(name)] for name in names[:5]])
    monkeypatch.setattr(reader, "test_list", [["test_batch", md5("test_batch")]])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": md5("batches.meta")})


def test_cifar10_is_read_from_its_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = write_cifar10(tmp_path, monkeypatch)
    data = load("cifar10", root=str(tmp_path), evaluate=True)
    assert data.evaluation is not None
    assert np.array_equal(data.training.inputs.numpy(), images[:50])
    assert data.training.targets.tolist() == labels[:50]
    assert np.array_equal(data.evaluation.inputs.numpy(), images[50:])
    assert data.info.input_shape == (3, 32, 32)


def test_svhn_is_read_from_its_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = RANDOM.integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)  # MATLAB order: row, column, colour, sample
    labels = np.arange(20) % 10 + 1  # the digit 0 has the label 10
    scipy.io.savemat(tmp_path / "train_32x32.mat", {"X": images, "y": labels[:, None].astype(np.uint8)})
    monkeypatch.setattr(torchvision.datasets.svhn, "check_integrity", lambda *_: True)
    data = load("svhn", root=str(tmp_path))
    assert np.array_equal(data.training.inputs.numpy(), images.transpose(3, 2, 0, 1))
    assert data.training.targets.tolist() == (labels % 10).tolist()
    assert data.info.classes == 10


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("cifar10", "cifar-10-batches-py/ with data_batch_1"), ("svhn", "train_32x32.mat")],
)
def test_absent_files_are_named_with_folder_and_remedy(tmp_path: Path, dataset: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        load(dataset, root=str(tmp_path / "nowhere"))
    message = str(caught.value)
    for part in (str(tmp_path / "nowhere"), expected, "--set data.root=FOLDER", "--set data.download=true"):
        assert part in message


def test_a_failed_download_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", offline)
    with pytest.raises(DataError, match=r"network is unreachable\). The download failed; copy the files there"):
        load("svhn", root=str(tmp_path), download=True)


def test_workers_that_want_the_same_data_download_them_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each download lasts until all others have started too, or failed to acquire the lock."""
    everyone, try_to_lock = threading.Condition(), FileLock._acquire
    arrived: set[int] = set()
    at_it, most = 0, 0

    def arrive() -> None:
        arrived.add(threading.get_ident())
        everyone.notify_all()

    def try_as_seen(lock: FileLock) -> None:
        try_to_lock(lock)
        if not lock.is_locked:
            with everyone:
                arrive()

    def download(*_: object, **__: object) -> None:
        nonlocal at_it, most
        with everyone:
            at_it += 1
            most = max(most, at_it)
            arrive()
            assert everyone.wait_for(lambda: len(arrived) == 3, timeout=100)
            at_it -= 1
        raise OSError("as it was asked to")

    monkeypatch.setattr(FileLock, "_acquire", try_as_seen)
    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", download)

    def fetch(_: int) -> None:
        with pytest.raises(DataError, match="as it was asked to"):
            load("svhn", root=str(tmp_path), download=True)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(fetch, range(3)))
    assert most == 1


def test_existing_data_need_no_writable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    def reached(*_: object, **__: object) -> None:
        raise OSError("the reader was asked")

    monkeypatch.setattr(FileLock, "acquire", refused)
    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", reached)
    with pytest.raises(DataError, match="the reader was asked"):
        load("svhn", root=str(tmp_path), download=True)


# Image folders


def write_images(root: Path, split: str, sizes: dict[str, list[tuple[int, int]]]) -> None:
    for name, all_sizes in sizes.items():
        (root / split / name).mkdir(parents=True)
        for n, (width, height) in enumerate(all_sizes):
            pixels = RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / name / f"{n}.png")


def test_image_folders_are_read_as_rgb_with_classes_by_name(tmp_path: Path) -> None:
    write_images(tmp_path, "train", {"b": [(6, 4)] * 2, "a": [(6, 4)]})
    Image.fromarray(np.full((4, 6), 7, dtype=np.uint8)).save(tmp_path / "train" / "a" / "9-grey.png")
    data = load("image-folder", root=str(tmp_path))
    assert data.info.input_shape == (3, 4, 6)
    assert data.training.targets.tolist() == [0, 0, 1, 1]
    assert (data.training.inputs[1] == 7).all()
    original = np.asarray(Image.open(tmp_path / "train" / "b" / "0.png"))
    assert np.array_equal(data.training.inputs[2].numpy(), original.transpose(2, 0, 1))


def test_the_evaluation_split_has_the_classes_of_the_training_split(tmp_path: Path) -> None:
    write_images(tmp_path, "train", {"a": [(2, 2)], "b": [(2, 2)], "c": [(2, 2)]})
    write_images(tmp_path, "test", {"c": [(2, 2)], "b": [(2, 2)]})
    data = load("image-folder", root=str(tmp_path), evaluate=True)
    assert data.evaluation is not None
    assert data.evaluation.targets.tolist() == [1, 2]
    write_images(tmp_path, "test", {"d": [(2, 2)]})
    with pytest.raises(DataError, match="test has classes that are not in the training split: d"):
        load("image-folder", root=str(tmp_path), evaluate=True)


def test_images_are_resized_on_request(tmp_path: Path) -> None:
    write_images(tmp_path, "train", {"a": [(6, 4)], "b": [(9, 9)]})
    assert load("image-folder", root=str(tmp_path), image_size=8).info.input_shape == (3, 8, 8)
    with pytest.raises(DataError, match=r"a/0.png is 4×6, .*b/0.png is 9×9. Resize them .*--set data.image_size"):
        load("image-folder", root=str(tmp_path))


def test_a_limit_is_a_fixed_choice_over_all_classes(tmp_path: Path) -> None:
    write_images(tmp_path, "train", {"a": [(2, 2)] * 20, "b": [(2, 2)] * 20})
    data, again = (load("image-folder", root=str(tmp_path), limit=10) for _ in range(2))
    assert len(data.training) == 10
    assert set(data.training.targets.tolist()) == {0, 1}
    assert data.info == again.info


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    write_images(tmp_path, "train", {"a": [(2, 2)], "b": [(2, 2)]})
    broken = tmp_path / "train" / "b" / "broken.jpg"
    broken.write_bytes(content)
    with pytest.raises(DataError, match=f"{broken} cannot be read as an image"):
        load("image-folder", root=str(tmp_path))


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    write_images(tmp_path, "train", {"only": [(2, 2)] * 3})
    with pytest.raises(DataError, match="has 3 samples of 1 class; a classifier needs at least two classes"):
        load("image-folder", root=str(tmp_path))


def test_an_image_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"the folder {tmp_path}/train does not exist. Expected: .*--set data.root=FOLDER"
    ):
        load("image-folder", root=str(tmp_path))
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"train: no class folders. Expected: "):
        load("image-folder", root=str(tmp_path))


def test_synthetic_images_have_the_requested_shape_and_distinct_classes() -> None:
    data = load("synthetic", evaluate=True, image_size=8, channels=2, classes=3, samples=90)
    assert data.info.input_shape == (2, 8, 8)
    assert data.evaluation is not None
    train, test = data.training, data.evaluation
    means = torch.stack([train.inputs[train.targets == c].float().mean(0).flatten() for c in range(3)])
    nearest = torch.cdist(test.inputs.float().flatten(1), means).argmin(dim=1)
    assert (nearest == test.targets).float().mean() > 0.95


@pytest.mark.parametrize("chunk_bytes", [1, 5000, 2**24])
@pytest.mark.parametrize("training", [True, False])
def test_synthetic_images_do_not_depend_on_the_chunk_size(
    monkeypatch: pytest.MonkeyPatch, training: bool, chunk_bytes: int
) -> None:
    """Create the images in one piece, as versions before 0.8 did."""
    samples, classes, shape = 37, 50, (3, 5, 5)
    patterns = np.random.default_rng(0).integers(0, 256, (classes, *shape))
    noise = np.random.default_rng(1 if training else 2).integers(0, 256, (samples, *shape))
    expected = (patterns[np.arange(samples) % classes] + 3 * noise) // 4
    monkeypatch.setattr(synthetic, "CHUNK_BYTES", chunk_bytes)
    for limit in (None, 11):
        asked = {"dataset": "synthetic", "image_size": 5, "classes": classes, "samples": samples, "limit": limit}
        settings = DataSettings.model_validate(asked)
        split = synthetic.make_synthetic(settings, training).split
        chosen = choose(samples, settings, training=training)
        assert len(split) == (limit if limit and training else samples)
        assert np.array_equal(split.inputs.numpy(), expected[chosen])
        assert split.targets.tolist() == (chosen % classes).tolist()


def test_the_hash_of_synthetic_data_is_that_of_earlier_versions() -> None:
    assert load("synthetic", samples=300, limit=200).info.sha256.startswith("27aa8bfe175b40dbe4554477eee4f7f7")
    assert load("digits").info.sha256.startswith("17de5066fa7d9ed333878aed38f48fe5")


def test_data_that_do_not_fit_into_memory_are_refused_before_allocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split_module, "cpu_memory", lambda: (16 * 2**30, 6 * 2**30))
    write_images(tmp_path, "train", {"a": [(2, 2)] * 7, "b": [(2, 2)] * 7})
    with pytest.raises(DataError, match="not enough memory for the data") as caught:
        load("image-folder", root=str(tmp_path), image_size=16384)
    assert str(caught.value).endswith(
        "14 images of 3×16384×16384 need 10.5 GiB; 10.0 GiB of 16.0 GiB are free. Choose a smaller data.image_size or "
        "data.limit"
    )
    with pytest.raises(DataError, match=r"data\.image_size, data\.limit or data\.samples$"):
        load("synthetic", samples=14, image_size=16384, classes=2)


def test_a_refused_allocation_is_reported_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_module, "cpu_memory", lambda: (2**62, None))
    with pytest.raises(
        DataError,
        match=r" 10000000 images .* need .*; the system refused the allocation. Choose a smaller data.image_size",
    ):
        load("synthetic", samples=10**7, image_size=2**14, channels=1024, classes=10**6)


def test_the_hash_covers_the_training_data() -> None:
    full, part = load("digits"), load("digits", limit=1499)
    assert full.info.sha256 == load("digits", root="/elsewhere").info.sha256
    assert full.info.sha256 != part.info.sha256


# Order and batches


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = epoch_order(100, seed=3, epoch=2)
    torch.manual_seed(2)
    assert torch.equal(first, epoch_order(100, seed=3, epoch=2))
    assert first.sort().values.tolist() == list(range(100))
    others = [epoch_order(100, seed=s, epoch=e) for s, e in ((3, 1), (2, 3), (3, 3), (32, 2))]
    assert not any(torch.equal(first, other) for other in others)


def test_a_batch_is_scaled_to_the_unit_interval() -> None:
    split = load("digits").training
    images, labels = split.batch(torch.tensor([5, 0]))
    assert torch.equal(images, split.inputs[[5, 0]].float() / 255)
    assert labels.tolist() == split.targets[[5, 0]].tolist()
    assert images.max() == 1.0
