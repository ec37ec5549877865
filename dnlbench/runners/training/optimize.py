"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.optim.optimizer import ParamsT

from dnlbench.runners.training.depth_lr import Factors
from dnlbench.studies.training.spec import TrainSettings


def _eager(optimizer: type[optim.Optimizer]) -> Callable[..., optim.Optimizer]:
    """Return the optimizer without the wrappers that import torch's compiler, which costs a worker 1.5 s and 150 MB."""
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in wrapped}
    step = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), {**methods, "step": step})


_SGD, _Adam, _AdamW = _eager(optim.SGD), _eager(optim.Adam), _eager(optim.AdamW)


def parameter_groups(
    train: TrainSettings, network: nn.Module, parameters: Sequence[nn.Parameter], factors: Sequence[Factors]
) -> list[dict[str, Any]]:
    """Split parameters by whether weight decay applies to them, and by their factors (`dnlbench.runners.training.depth_lr`).

    ============================  ==================================================================================
    ``weight_decay_on``           groups
    ============================  ==================================================================================
    ``all``                       one: torch's default, where norms' scales and shifts and all biases decay as well
    ``weights``                   parameters of two dimensions or more, which decay; then all others, which do not
    ============================  ==================================================================================

    Parameters of a pack have a leading axis of seeds. The dimensions are therefore taken from the parameters of ``network``.
    """
    groups: dict[tuple[bool, Factors], list[nn.Parameter]] = {}
    for learned, single, factor in zip(parameters, network.parameters(), factors, strict=True):
        exempt = train.weight_decay_on == "weights" and single.dim() <= 1
        groups.setdefault((exempt, factor), []).append(learned)
    return [
        {
            "params": groups[exempt, factor],
            "lr": train.lr * factor.lr,
            "weight_decay": 0.0 if exempt else train.weight_decay * factor.decay,
            **({} if train.optimizer == "sgd" else {"eps": train.eps * factor.eps}),
        }
        for exempt, factor in sorted(groups, key=lambda key: key[0])
    ]


def create_optimizer(train: TrainSettings, parameters: ParamsT) -> optim.Optimizer:
    """Create SGD with momentum, or Adam or AdamW with ``beta_1 = momentum``, for the groups of `parameter_groups`."""
    if train.optimizer == "sgd":
        return _SGD(
            parameters, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay, nesterov=train.nesterov
        )
    adam = _AdamW if train.optimizer == "adamw" else _Adam
    betas = (train.momentum, train.beta2)
    return adam(parameters, lr=train.lr, betas=betas, eps=train.eps, weight_decay=train.weight_decay)


def create_schedule(train: TrainSettings, optimizer: optim.Optimizer) -> lr_scheduler.LRScheduler:
    """Create the learning-rate schedule, to be stepped after each epoch.

    Rates after ``e`` of ``E`` epochs:

    ====================  =================================================
    ``constant``          ``lr``
    ``cosine``            ``lr (1 + cos(pi e / E)) / 2``
    ``step``              ``lr step_factor^floor(e / step_epochs)``
    ``milestones``        ``lr step_factor^n`` with ``n`` milestones ``<= e``
    ====================  =================================================
    """
    if train.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=train.epochs)
    if train.schedule == "step":
        assert train.step_epochs is not None, "required by the spec for this schedule"
        return lr_scheduler.StepLR(optimizer, train.step_epochs, gamma=train.step_factor)
    if train.schedule == "milestones":
        assert train.milestones is not None, "required by the spec for this schedule"
        return lr_scheduler.MultiStepLR(optimizer, train.milestones, gamma=train.step_factor)
    return lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


def warmup_factor(train: TrainSettings, step: int) -> float:
    """Return the factor on the rate of the schedule at step ``t = 0, 1, …`` of a run: ``min(1, (t + 1) / warmup_steps)``."""
    return min(1.0, (step + 1) / train.warmup_steps) if train.warmup_steps else 1.0
