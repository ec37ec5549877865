"""A training step of a learner, eager or as a CUDA graph.

With small networks, a GPU mostly waits for the launch of operations. A CUDA graph records the full step once, from the
selection of the batch to the new weights, and launches it as a single unit.
"""

from __future__ import annotations

import warnings
from typing import Protocol

import torch
from torch import Tensor

from dnlbench.runners.training.augment import Augmentation
from dnlbench.runners.training.data import Split
from dnlbench.runners.training.learner import Learner
from dnlbench.runners.training.progress import Tally

STEPS_BEFORE = 3
"""Eager training steps before a step is recorded. The first steps allocate moments and choose algorithms."""


class Step(Protocol):
    """A training step of a learner."""

    def start_epoch(self, epoch: int) -> None:
        """Prepare the steps of an epoch. Epochs count from 1."""
        ...

    def __call__(self, indices: Tensor) -> None:
        """Train on the samples at the indices (S, B)."""
        ...


class TrainingStep:
    """Gathers a batch for each network and takes one optimizer step."""

    def __init__(
        self, learner: Learner, split: Split, tally: Tally, augmentation: Augmentation | None = None, *, bf16: bool
    ) -> None:
        self._learner = learner
        self._split = split
        self._tally = tally
        self._augmentation = augmentation
        self._bf16 = bf16

    def start_epoch(self, epoch: int) -> None:
        if self._augmentation is not None:
            self._augmentation.start_epoch(epoch)

    def __call__(self, indices: Tensor) -> None:
        """Take a step. Add each network's loss and gradient norm at the weights before the step to the tally."""
        learner = self._learner
        learner.optimizer.zero_grad(set_to_none=True)
        losses = self.losses(indices)
        learner.backward(losses)
        norms = learner.gradient_norms()
        self._tally.add(losses.detach() * indices.shape[1], norms)
        learner.clip(norms)
        learner.optimizer.step()

    def losses(self, indices: Tensor) -> Tensor:
        """Compute each network's loss (S,) with its graph."""
        inputs, targets = self._split.batch(indices.flatten())
        if self._augmentation is not None:
            inputs = self._augmentation(inputs, self._tally.row)
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            return self._learner.losses(*(part.view(*indices.shape, *part.shape[1:]) for part in (inputs, targets)))


class GraphedStep:
    """A training step as a CUDA graph for full batches.

    Smaller last batches run eagerly, and so does a step with other learning rates than the step before: a graph contains them
    as constants, so a warm-up would need a new graph for every step.
    """

    def __init__(self, step: TrainingStep, learner: Learner, batch_size: int) -> None:
        self._step = step
        self._learner = learner
        self._batch_size = batch_size
        self._before = 0
        self._rates: list[float] = []
        self._graph: torch.cuda.CUDAGraph | None = None
        self._indices = torch.empty(0)
        self._gradients: list[Tensor | None] = []

    def start_epoch(self, epoch: int) -> None:
        self._step.start_epoch(epoch)

    def __call__(self, indices: Tensor) -> None:
        is_full, rates = indices.shape[1] == self._batch_size, self._learner.rates
        if rates != self._rates:
            self._graph = None
        if not is_full or rates != self._rates or self._before < STEPS_BEFORE:
            self._before += is_full
            self._rates = rates
            self._run_on_side_stream(indices)
            return
        if self._graph is None:
            self._record(indices)
        self._replay(indices)

    def _replay(self, indices: Tensor) -> None:
        assert self._graph is not None
        self._indices.copy_(indices)
        self._graph.replay()
        for parameter, gradient in zip(self._learner.parameters, self._gradients, strict=True):
            parameter.grad = gradient

    def _run_on_side_stream(self, indices: Tensor) -> None:
        """Run the step on a side stream, as CUDA graphs require before recording."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step(indices)
        torch.cuda.current_stream().wait_stream(stream)

    def _record(self, indices: Tensor) -> None:
        """Record the step without computing it. The learning rate becomes a constant of the graph."""
        self._indices = indices.clone()
        self._graph = torch.cuda.CUDAGraph()
        self._learner.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self._graph):
            self._step(self._indices)
        self._gradients = [parameter.grad for parameter in self._learner.parameters]


def graph_matches_step(
    eager: TrainingStep, graphed: GraphedStep, tallies: tuple[Tally, Tally], indices: Tensor
) -> bool:
    """Test on two throwaway learners with equal weights whether a graph trains like the eager step.

    A step that cannot be recorded is not an error, for example if a custom network reads values: it trains without a graph.
    """
    try:
        for _ in range(STEPS_BEFORE + 3):
            random = torch.cuda.get_rng_state()
            eager(indices)
            torch.cuda.set_rng_state(random)  # dropout draws the same numbers
            graphed(indices)
        torch.cuda.synchronize()
    except RuntimeError as error:
        warnings.warn(f"the training step cannot be recorded as a CUDA graph and runs eagerly: {error}", stacklevel=2)
        return False
    eager_tally, graph_tally = tallies
    same = torch.allclose(eager_tally.total_losses, graph_tally.total_losses, rtol=1e-4, atol=0.0)
    if not same:
        warnings.warn(
            "the CUDA graph of the training step is not used: its losses differ from the eager step's", stacklevel=2
        )
    return same
