"""Peak memory of a training step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def step_memory_bytes(device: torch.device, persistent: Iterable[Tensor], step: Callable[[], object]) -> int:
    """Measure the peak memory of tensors during a training step. ``persistent`` are the tensors that outlive the step.

    On CUDA, this is the peak of torch's allocator minus the memory of unrelated tensors. The CPU allocator has no such
    statistic, and the resident memory of a process depends on what was freed before. On CPUs, each tensor that an operation
    returns is therefore counted from its creation to its release; scratch memory inside operations is not included.
    """
    persistent = {tensor.untyped_storage()._cdata: tensor for tensor in persistent}.values()  # each storage once
    persistent_bytes: int = sum(tensor.untyped_storage().nbytes() for tensor in persistent)
    if device.type == "cuda":
        unrelated_bytes = int(torch.cuda.memory_allocated(device)) - persistent_bytes
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return int(torch.cuda.max_memory_allocated(device)) - unrelated_bytes
    with LiveTensors(persistent) as live:
        step()
    peak_bytes: int = live.peak_bytes
    return persistent_bytes + peak_bytes


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that are allocated while it is active, until each is released."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._references: dict[int, weakref.ref[Any]] = {}
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self.bytes = 0
        self.peak_bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: torch skips its compiler by importing it, which takes a worker 1.5 s and 150 MB."""
        return False

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in given:
                self._add(tensor)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._references or key in self._known:
            return

        def end(_: object) -> None:
            self.bytes -= size
            del self._references[key]

        self._references[key] = weakref.ref(storage, end)
        self.bytes += size
        self.peak_bytes = max(self.peak_bytes, self.bytes)
