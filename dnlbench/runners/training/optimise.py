"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

import torch
from torch import nn, optim
from torch.optim import lr_scheduler

from dnlbench.studies.training.spec import TrainSettings


def _eager(optimizer: type[optim.Optimizer]) -> Callable[..., optim.Optimizer]:
    """The optimizer without the wrappers that import torch's compiler, which takes a worker 1.5 s and 150 MB."""
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in wrapped}
    step = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), {**methods, "step": step})


_SGD, _AdamW = _eager(optim.SGD), _eager(optim.AdamW)


def create_optimizer(train: TrainSettings, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """SGD with momentum, or AdamW with ``beta_1 = momentum``."""
    if train.optimizer == "adamw":
        betas = (train.momentum, 0.999)
        return _AdamW(parameters, lr=train.lr, betas=betas, weight_decay=train.weight_decay)
    return _SGD(parameters, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay)


def create_schedule(train: TrainSettings, optimizer: optim.Optimizer) -> lr_scheduler.LRScheduler:
    """The schedule, to be stepped after each epoch; its rates with ``e`` epochs done of ``E``.

    ====================  =================================================
    ``constant``          ``lr``
    ``cosine``            ``lr (1 + cos(pi e / E)) / 2``
    ``step``              ``lr step_factor^floor(e / step_epochs)``
    ====================  =================================================
    """
    if train.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=train.epochs)
    if train.schedule == "step":
        assert train.step_epochs is not None, "the spec asks for it with this schedule"
        return lr_scheduler.StepLR(optimizer, train.step_epochs, gamma=train.step_factor)
    return lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
