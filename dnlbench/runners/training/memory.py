"""Memory of a training step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def step_memory_bytes(device: torch.device, held: Iterable[Tensor], step: Callable[[], object]) -> int:
    """The most bytes that tensors take at any moment of a training step; ``held`` are those that outlive it.

    On CUDA that is the peak of torch's allocator, less what it held before that is none of ours. The CPU's allocator keeps no
    count, and a process's resident memory depends on what was freed before; there, every tensor that an operation gives is
    counted from its making to its end. Scratch memory inside of an operation is not seen.
    """
    held = {tensor.untyped_storage()._cdata: tensor for tensor in held}.values()  # each storage once
    held_bytes: int = sum(tensor.untyped_storage().nbytes() for tensor in held)
    if device.type == "cuda":
        others = int(torch.cuda.memory_allocated(device)) - held_bytes
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return int(torch.cuda.max_memory_allocated(device)) - others
    live = LiveTensors(held)
    with live:
        step()
    return held_bytes + live.peak_bytes


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that come into being while it is active, for as long as each exists."""

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
