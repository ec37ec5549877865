"""Read a custom dataset: what a function of the user returns."""

from __future__ import annotations

from typing import Any

from dnlbench.errors import DataError
from dnlbench.runners.custom_code import FAILURES, a, describe, load_function, restored_settings
from dnlbench.runners.training.data.split import Loaded, choose, from_arrays
from dnlbench.runners.training.data.stream import split_of
from dnlbench.studies.training.datasets import DATASETS
from dnlbench.studies.training.spec import DataSettings


def read_custom(settings: DataSettings, training: bool) -> Loaded:
    """Call the factory of a custom dataset with the keyword arguments ``train`` and ``data``, the ``[data]`` table as a dict.

    It returns a map-style `torch.utils.data.Dataset` of pairs (input, target), or a pair of tensors or arrays.

    Raises:
        DataError: if the factory fails or returns something else.
        NetworkError: if it cannot be imported.
    """
    name, train = settings.dataset, settings.reads_training_files(training=training)
    factory = load_function(DATASETS, name, "data.dataset")
    try:
        with restored_settings():
            result: Any = factory(train=train, data=settings.model_dump())
    except FAILURES as error:
        raise DataError(f"data.dataset: {name} fails with train={train}: {describe(error)}") from error
    if isinstance(result, tuple | list) and len(result) == 2:
        return from_arrays(result[0], result[1], settings, training=training)
    if not (hasattr(result, "__getitem__") and hasattr(result, "__len__")) or isinstance(result, tuple | list | dict):
        raise DataError(
            f"data.dataset: {name} returns {a(type(result).__name__)} with train={train}; it must return a torch Dataset with "
            "__len__ and __getitem__, or a pair of tensors or arrays"
        )
    if len(result) == 0:
        raise DataError(f"data.dataset: {name} returns an empty {type(result).__name__} with train={train}")
    classes = getattr(result, "classes", None)
    return Loaded(
        split=split_of(result, choose(len(result), settings, training=training), settings),
        classes=len(classes) if isinstance(classes, tuple | list) else None,
    )
