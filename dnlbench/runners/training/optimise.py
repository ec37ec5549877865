"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn, optim
from torch.optim import lr_scheduler

from dnlbench.studies.training.spec import TrainSettings


def create_optimizer(train: TrainSettings, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """SGD with momentum, or AdamW with ``beta_1 = momentum``."""
    if train.optimizer == "adamw":
        betas = (train.momentum, 0.999)
        return optim.AdamW(parameters, lr=train.lr, betas=betas, weight_decay=train.weight_decay)
    return optim.SGD(parameters, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay)


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
