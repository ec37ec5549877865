"""What the memory of the vector form grows like, and what time it saves over a double loop.

``python tests/benchmarks/vector_form.py [repetitions] [threads]``, for a network with ``d = 15`` and a batch of 64 in double
precision. A pass is one forward and backward, with the gradients of all parameters.

First the peak of the memory of a pass, as the growth of the process's largest resident size from before there are any
parameters, each in a new process. The parameters as arrays and their gradients grow like ``L²`` by nature; what is left without
them is printed too.

Then the time of a pass by `states` with arrays, by `states` with curves, and by the loops over ``l`` and ``k`` that Eq. (1)
suggests. The loops are given each matrix as a tensor of its own, so that indexing costs them nothing, and each ``N(x^k)`` is
computed once. All take turns, so that what else the machine does falls on all of them, and only ratios count. On one thread
seconds are those of the processor; on several, by default as many as torch takes, those of the clock.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import psutil
import torch
from torch import Tensor

from dnlbench.architecture import KernelName
from dnlbench.dnl.curves import CosineCurve, CosineSurface, Curves, random_curves
from dnlbench.dnl.extension import sample
from dnlbench.dnl.parameters import Arrays, packed_indices
from dnlbench.dnl.vector import VectorForm, states

KERNELS: tuple[KernelName, ...] = ("local", "attention")
POSITIONS, CHANNELS, BATCH = 5, 3, 64
DEPTH = 256
MEBIBYTE = 2**20

Pass = Callable[[], tuple[Tensor, Sequence[Tensor]]]
"""One forward and backward pass: the states, and the gradients of all parameters."""


def main() -> None:
    """Measures memory, then times the three."""
    defaults = ["5", str(torch.get_num_threads())]
    repetitions, threads = map(int, (sys.argv[1:] + defaults[len(sys.argv) - 1 :]))
    torch.set_num_threads(threads)
    for kernel in KERNELS:  # memory first: a process inherits the peak of the one that starts it
        for kind in ("curves", "arrays"):
            _tell_memory(kernel, kind)
    for kernel in KERNELS:
        _tell_times(kernel, repetitions, time.process_time if threads == 1 else time.perf_counter)


def _tell_times(kernel: KernelName, repetitions: int, clock: Callable[[], float]) -> None:
    form, curves, x0 = VectorForm(kernel=kernel), _curves(kernel), _inputs()
    arrays = sample(curves, DEPTH)
    passes = {
        "arrays": _stored(form, arrays, x0),
        "curves": _sampled(form, curves, x0, DEPTH),
        "double loop": _double_loop(form, arrays, x0),
    }
    _check_gradients(passes, form, curves, x0)
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(repetitions):
        for name, once in passes.items():
            start = clock()
            once()
            seconds[name].append(clock() - start)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    for name, each in seconds.items():
        ratios = [loop / own for loop, own in zip(seconds["double loop"], each, strict=True)]
        print(
            f"{kernel:9s}  {name:11s}  {medians[name]:7.3f} s  ({min(each):.3f} to {max(each):.3f})   "
            f"double loop / this: {medians['double loop'] / medians[name]:5.1f}  ({min(ratios):.1f} to {max(ratios):.1f})"
        )


def _curves(kernel: KernelName) -> Curves:
    return random_curves(kernel, positions=POSITIONS, channels=CHANNELS, seed=0)


def _inputs() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, POSITIONS, CHANNELS, generator=generator, dtype=torch.float64)


def _loss(found: Tensor) -> Tensor:
    """Of all states, so that each parameter counts."""
    return found.square().sum() / len(found)


def _stored(form: VectorForm, arrays: Arrays, x0: Tensor) -> Pass:
    leaves = [*(p for _, p in arrays.one_index()), arrays.K]
    for leaf in leaves:
        leaf.requires_grad_()

    def once() -> tuple[Tensor, Sequence[Tensor]]:
        found = states(form, arrays, x0)
        return found.detach(), torch.autograd.grad(_loss(found), leaves)

    return once


def _sampled(form: VectorForm, curves: Curves, x0: Tensor, depth: int) -> Pass:
    leaves = [coefficients.requires_grad_() for coefficients in _coefficients(curves)]

    def once() -> tuple[Tensor, Sequence[Tensor]]:
        found = states(form, curves, x0, depth=depth)
        return found.detach(), torch.autograd.grad(_loss(found), leaves)

    return once


def _coefficients(curves: Curves) -> list[Tensor]:
    one_index = [cast(CosineCurve, curve).coefficients for _, curve in curves.one_index()]
    return [*one_index, cast(CosineSurface, curves.K).coefficients]


def _double_loop(form: VectorForm, arrays: Arrays, x0: Tensor) -> Pass:
    """Gradients in the order of `_stored`, those of ``K`` packed; putting them together is not part of the pass."""
    L = arrays.depth
    lists = {name: _leaves(p) for name, p in arrays.one_index()}
    A, b, inner = lists["A"], lists["b"], [lists[name] for name in ("V", "Q", "R") if name in lists]
    packed = _leaves(arrays.K)
    indices = packed_indices(L).tolist()
    K = [[packed[indices[l][k]] for k in range(l + 1)] for l in range(L)]  # noqa: E741
    leaves = [leaf for leaves in (*lists.values(), packed) for leaf in leaves]

    def once() -> tuple[Tensor, Sequence[Tensor]]:
        flat = x0.reshape(BATCH, -1)
        made, transformed = [x0], []
        for l in range(L):  # noqa: E741
            transformed.append(form.transform(made[l], *(p[l] for p in inner)).reshape(BATCH, -1))
            total = transformed[0] @ K[l][0].mT
            for k in range(1, l + 1):
                total = total + transformed[k] @ K[l][k].mT
            made.append(form.sigma(flat @ A[l].mT + b[l] + total / L).reshape(x0.shape))
        found = torch.stack(made)
        return found.detach(), torch.autograd.grad(_loss(found), leaves)

    return once


def _leaves(values: Tensor) -> list[Tensor]:
    return [value.clone().requires_grad_() for value in values.detach()]


def _check_gradients(passes: dict[str, Pass], form: VectorForm, curves: Curves, x0: Tensor) -> None:
    """That all three compute the same; it warms them up, too."""
    stored_states, stored = passes["arrays"]()
    loop_states, loop = passes["double loop"]()
    torch.testing.assert_close(loop_states, stored_states, rtol=1e-11, atol=1e-11)
    for gradient in stored:
        parts, loop = loop[: len(gradient)], loop[len(gradient) :]
        torch.testing.assert_close(torch.stack(list(parts)), gradient, rtol=1e-9, atol=1e-11)
    # Gradients of coefficients are those of the samples, carried on through the sampling.
    sampled_states, sampled = passes["curves"]()
    torch.testing.assert_close(sampled_states, stored_states, rtol=1e-11, atol=1e-11)
    arrays = sample(curves, DEPTH)
    outputs = [*(p for _, p in arrays.one_index()), arrays.K]
    carried = torch.autograd.grad(outputs, _coefficients(curves), list(stored))
    for ours, expected in zip(sampled, carried, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)
    print(f"{form.kernel:9s}  states and gradients of all three agree")


def _tell_memory(kernel: KernelName, kind: str) -> None:
    def once(depth: int) -> tuple[float, float]:
        command = [sys.executable, str(Path(__file__).resolve()), "memory", kernel, kind, str(depth)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        total, parameters = (int(word) / MEBIBYTE for word in done.stdout.split())
        return total, parameters

    shallow, deep = ([once(depth) for _ in range(3)] for depth in (DEPTH, 2 * DEPTH))

    def line(what: str, numbers: Callable[[tuple[float, float]], float]) -> str:
        small, large = (statistics.median(map(numbers, measured)) for measured in (shallow, deep))
        return f"{kernel:9s}  {kind}, {what:42s}  {small:6.1f} MiB, {large:6.1f} MiB at twice the depth: × {large / small:.2f}"

    print(line("peak of the pass", lambda measured: measured[0]))
    if kind == "arrays":
        print(line("without parameters and gradients", lambda measured: measured[0] - 2 * measured[1]))


def _memory(kernel: KernelName, kind: str, depth: int) -> None:
    """Prints the growth of the peak by one pass, and the size of the parameters if they are arrays, in bytes."""
    torch.set_num_threads(1)
    form, curves, x0 = VectorForm(kernel=kernel), _curves(kernel), _inputs()
    _sampled(form, curves, x0, 2)()
    _stored(form, _drawn(curves, 2), x0)()
    before = _peak()
    assert psutil.Process().memory_info().rss > before - MEBIBYTE, "a peak before, here or in the parent, hides growth"
    if kind == "curves":
        _sampled(form, curves, x0, depth)()
        print(_peak() - before, 0)
    else:
        arrays = _drawn(curves, depth)
        _stored(form, arrays, x0)()
        parameters = [*(p for _, p in arrays.one_index()), arrays.K]
        print(_peak() - before, sum(p.nbytes for p in parameters))


def _drawn(curves: Curves, depth: int) -> Arrays:
    """Arrays of the shapes of samples, made without the square from which samples are packed."""
    shapes = {name: curve(torch.zeros(1, dtype=torch.float64)).shape[1:] for name, curve in curves.one_index()}
    d = POSITIONS * CHANNELS
    K = torch.full((depth * (depth + 1) // 2, d, d), 0.01, dtype=torch.float64)
    return Arrays(
        **{name: torch.full((depth, *shape), 0.1, dtype=torch.float64) for name, shape in shapes.items()}, K=K
    )


def _peak() -> int:
    """The largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        _memory(cast(KernelName, sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main()
