"""Read CIFAR-10 and SVHN with torchvision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from dnlbench.errors import DataError
from dnlbench.runners.training.data.split import Loaded, choose, make_split
from dnlbench.studies.training.spec import DataSettings


def read_cifar10(settings: DataSettings, training: bool) -> Loaded:
    """Read CIFAR-10: 50,000 training and 10,000 evaluation images."""
    from torchvision.datasets import CIFAR10

    data = _open(
        CIFAR10,
        settings,
        "cifar-10-batches-py/ with data_batch_1 … data_batch_5, test_batch and batches.meta",
        train=training,
    )
    chosen = choose(len(data.targets), settings, training=training)
    return Loaded(split=make_split(data.data.transpose(0, 3, 1, 2), data.targets, chosen), classes=10)


def read_svhn(settings: DataSettings, training: bool) -> Loaded:
    """Read SVHN: 73,257 training and 26,032 evaluation images."""
    from torchvision.datasets import SVHN

    part = "train" if training else "test"
    data = _open(SVHN, settings, f"{part}_32x32.mat", split=part)
    chosen = choose(len(data.labels), settings, training=training)
    return Loaded(split=make_split(data.data, data.labels, chosen), classes=10)


def _open(reader: Callable[..., Any], settings: DataSettings, expected: str, **arguments: Any) -> Any:
    """Open a torchvision dataset.

    Raises:
        DataError: for any failure of torchvision.
    """
    root = Path(settings.root).resolve()
    try:
        with _one_at_a_time(root) if settings.download else nullcontext():
            return reader(root, download=settings.download, **arguments)
    except Exception as error:
        remedy = (
            "The download failed; copy the files there manually"
            if settings.download
            else "Set their folder with --set data.root=FOLDER, or download them with --set data.download=true"
        )
        raise DataError(
            f"data.dataset = {settings.dataset!r}: {root} does not contain the complete original files: {expected} "
            f"({error}). {remedy}"
        ) from error


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Let one worker download the data while others wait, also on other machines with shared storage."""
    lock = FileLock(root / ".download.lock")
    with suppress(OSError):  # a read-only folder may contain complete files already
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
