"""CIFAR-10 and SVHN, as torchvision keeps them."""

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
    """50,000 images to train on and 10,000 to evaluate."""
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
    """73,257 images to train on and 26,032 to evaluate."""
    from torchvision.datasets import SVHN

    part = "train" if training else "test"
    data = _open(SVHN, settings, f"{part}_32x32.mat", split=part)
    chosen = choose(len(data.labels), settings, training=training)
    return Loaded(split=make_split(data.data, data.labels, chosen), classes=10)


def _open(reader: Callable[..., Any], settings: DataSettings, expected: str, **arguments: Any) -> Any:
    """A torchvision dataset; its many ways to fail as one error with a remedy."""
    root = Path(settings.root).resolve()
    try:
        with _one_at_a_time(root) if settings.download else nullcontext():
            return reader(root, download=settings.download, **arguments)
    except Exception as error:
        remedy = (
            "The download failed; copy the files there by hand"
            if settings.download
            else "Name their folder with --set data.root=FOLDER, or fetch them with --set data.download=true"
        )
        raise DataError(
            f"data.dataset = {settings.dataset!r}: {root} does not hold the original, whole {expected} "
            f"({error}). {remedy}"
        ) from error


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Workers on several machines may want the same data at the same moment; one of them fetches them."""
    lock = FileLock(root / ".download.lock")
    with suppress(OSError):  # where nothing can be written nothing is fetched, but all of it may be there
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
