"""Loss and metrics of a network at its current weights, in evaluation mode and in training mode with batch statistics.

Measurements inside `undisturbed` do not affect training.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dnlbench.runners.training.data import Split, epoch_order
from dnlbench.runners.training.learner import Learner, random_state, restore_random_state

BATCH = 256
"""Batch size in evaluation mode, where results do not depend on it."""


Score = Mapping[str, float]
"""The means of the loss and of the metrics over the samples of a split, by key in results."""


@contextmanager
def undisturbed(learner: Learner) -> Iterator[None]:
    """Restore buffers, momenta of batch norms, extra state of custom modules and the random state on exit.

    Inside, the random state starts from a fixed seed, so results do not depend on earlier draws.
    """
    modules = list(learner.network.modules())
    buffers = [(buffer, buffer.detach().clone()) for buffer in learner.buffers]
    slots = [(module, dict(module._buffers)) for module in modules]
    momenta = [(norm, norm.momentum) for norm in modules if isinstance(norm, _BatchNorm)]
    extra = [(module, copy.deepcopy(module.get_extra_state())) for module in modules if _has_extra_state(module)]
    random = random_state()
    torch.manual_seed(0)
    try:
        yield
    finally:
        restore_random_state(random)
        for module, named in slots:
            module._buffers.update(named)  # a forward pass may have replaced the tensors
        for buffer, value in buffers:
            buffer.copy_(value)
        for norm, momentum in momenta:
            norm.momentum = momentum
        for module, state in extra:
            module.set_extra_state(state)


def _has_extra_state(module: nn.Module) -> bool:
    return type(module).get_extra_state is not nn.Module.get_extra_state


def has_running_statistics(network: nn.Module) -> bool:
    """Return true if the network has batch norms whose evaluation mode uses running statistics."""
    return bool(_norms(network))


def _norms(network: nn.Module) -> dict[str, _BatchNorm]:
    return {name: m for name, m in network.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats}


def score(learner: Learner, index: int, split: Split, *, bf16: bool) -> Score:
    """Score one of the learner's networks on a split, in evaluation mode."""
    learner.network.eval()
    return _score(learner, index, split, split.ahead(torch.split(torch.arange(len(split)), BATCH)), bf16=bf16)


def recalibrate(learner: Learner, index: int, split: Split, batch_size: int, *, bf16: bool) -> Score:
    """Set batch-norm statistics to their averages over one pass over the training split. Use it inside `undisturbed`.

    The average over full batches is cumulative, ``mean_k = mean_{k-1} + (batch_k - mean_{k-1}) / k``, as in
    `torch.optim.swa_utils.update_bn`. The order of samples is equal for all networks and seeds. A smaller last batch
    contributes to the score only.

    Returns:
        The score in training mode, with batch statistics. Batches are weighted by their size.
    """
    norms, values = _norms(learner.network), learner.values(index)
    for name in norms:
        for buffer, start in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
            values[f"{name}.{buffer}" if name else buffer].fill_(start)
    batches = torch.split(epoch_order(len(split), seed=0, epoch=0), batch_size)

    def following() -> Iterator[Tensor]:
        for indices in split.ahead(batches):
            for norm in norms.values():
                norm.momentum = None if len(indices) == len(batches[0]) else 0.0
            yield indices

    learner.network.train()
    return _score(learner, index, split, following(), bf16=bf16)


@torch.no_grad()
def _score(learner: Learner, index: int, split: Split, batches: Iterable[Tensor], *, bf16: bool) -> Score:
    totals, device = defaultdict[str, float](float), split.device
    for indices in batches:
        inputs, targets = split.batch(indices.to(device))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            outputs = learner.outputs(index, inputs)
        for key, total in learner.outcome.totals(outputs, targets).items():
            totals[key] += total
    return {key: total / len(split) for key, total in totals.items()}
