"""Computation of objectives and metrics: functions of outputs and targets with the mean over the samples as their value.

To build one in, declare it in `dnlbench.studies.training.objectives` and add its function here. ``B`` is the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.errors import SpecError
from dnlbench.registry import Registry
from dnlbench.runners.custom_code import FAILURES, a, describe, load_function, restored_settings
from dnlbench.runners.training.data import Dataset
from dnlbench.studies.training.objectives import METRICS, OBJECTIVES, key_of, measured_metrics
from dnlbench.studies.training.spec import TrainSettings

Function = Callable[..., Tensor]
"""Maps outputs (B, …) and targets (B, …) to a scalar, the mean over the samples. Functions that are built in return the sum
over all terms with ``reduction="sum"``."""
LOSS = "loss"
"""Key of the loss in results."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """An objective or a metric."""

    title: str
    """Key and value in the spec, for messages."""
    function: Function
    is_custom: bool

    def __call__(self, outputs: Any, targets: Tensor) -> Tensor:
        return self.function(outputs, targets)

    def total(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the sum over the samples, where a sample counts with the mean over its positions or values."""
        if self.is_custom:
            return self.function(outputs, targets) * len(targets)
        return self.function(outputs, targets, reduction="sum") * (len(targets) / targets.numel())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The objective that training minimizes, and the metrics beside it."""

    objective: Measure
    metrics: Mapping[str, Measure]
    """By key in results."""
    predicts_next: bool
    """Outputs are compared with the tokens that follow."""

    @staticmethod
    def of(train: TrainSettings) -> Outcome:
        """Return the objective and the metrics of a spec.

        Raises:
            NetworkError: if a custom function cannot be imported.
        """
        names = measured_metrics({"objective": train.objective, "metrics": train.metrics})
        objective = _measure(OBJECTIVES, train.objective, "train.objective", _OBJECTIVES)
        if train.label_smoothing:
            objective = replace(objective, function=partial(cross_entropy, label_smoothing=train.label_smoothing))
        metrics = {key_of(name): _measure(METRICS, name, "train.metrics", _METRICS) for name in names}
        return Outcome(objective=objective, metrics=metrics, predicts_next=train.objective == "next-token")

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the mean of the objective over a batch, with a gradient."""
        return self.objective(*self._compared(outputs, targets))

    def total_loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the sum of the objective over the samples of a batch, with a gradient."""
        return self.objective.total(*self._compared(outputs, targets))

    def totals(self, outputs: Any, targets: Tensor) -> dict[str, float]:
        """Return the sums of the loss and of each metric over the samples of a batch, by key."""
        compared = self._compared(outputs, targets)
        return {key: float(measure.total(*compared)) for key, measure in {LOSS: self.objective, **self.metrics}.items()}

    def check(self, outputs: Any, targets: Tensor) -> None:
        """Apply the custom functions to a batch.

        Raises:
            SpecError: if a function fails or does not return a floating-point scalar, or the objective has no gradient.
        """
        compared = self._compared(outputs, targets)
        loss = _checked(self.objective, *compared)
        if not loss.requires_grad:
            raise SpecError(f"{self.objective.title}: the value has no gradient; compute it from the outputs")
        for metric in self.metrics.values():
            _checked(metric, *compared)

    def _compared(self, outputs: Any, targets: Tensor) -> tuple[Any, Tensor]:
        """Return the outputs and the targets that they are compared with, for next tokens (B, T − 1, V) and (B, T − 1).

        Outputs of 16 bits, from autocast, are converted to float32. A custom network may return other objects than tensors.
        """
        if isinstance(outputs, Tensor) and outputs.dtype in (torch.bfloat16, torch.float16):
            outputs = outputs.float()
        return (outputs[:, :-1], targets[:, 1:]) if self.predicts_next else (outputs, targets)


def _measure(registry: Registry[Any], name: str, key: str, built_in: Mapping[str, Function]) -> Measure:
    is_custom = registry.is_custom(name)
    function = load_function(registry, name, key) if is_custom else built_in[name]
    return Measure(title=f"{key} = {name!r}", function=function, is_custom=is_custom)


def _checked(measure: Measure, outputs: Any, targets: Tensor) -> Tensor:
    try:
        with restored_settings():
            value: object = measure(outputs, targets)
    except FAILURES as error:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise SpecError(
            f"{measure.title} fails on outputs {shape} and targets {tuple(targets.shape)}: {describe(error)}"
        ) from error
    if isinstance(value, Tensor) and not value.dim() and value.is_floating_point():
        return value
    kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else a(type(value).__name__)
    raise SpecError(f"{measure.title} returns {kind}; expected a scalar floating-point tensor, the mean over the batch")


def check_targets(train: TrainSettings, data: Dataset) -> None:
    """Check that the objective and the metrics accept the targets of the data.

    Raises:
        SpecError: if one does not.
    """
    kind = data.info.targets
    names = measured_metrics({"objective": train.objective, "metrics": train.metrics})
    declared: list[tuple[str, Registry[Any], str]] = [
        ("train.objective", OBJECTIVES, train.objective),
        *(("train.metrics", METRICS, name) for name in names),
    ]
    for key, registry, name in declared:
        accepted = None if registry.is_custom(name) else registry.built_in[name].targets
        if accepted is not None and kind not in accepted:
            fitting = [each for each, part in registry.built_in.items() if part.targets is None or kind in part.targets]
            raise SpecError(
                f"{key} = {name!r}: needs targets that are {' or '.join(accepted)}; those of {data.info.name} are {kind}. "
                f"Choose {', '.join([*fitting, registry.form])}"
            )
    if train.objective == "next-token" and not torch.equal(
        *data.training.batch(torch.arange(1, device=data.training.device))
    ):
        raise SpecError(
            "train.objective = 'next-token': needs data whose targets are the tokens of the inputs; those of "
            f"{data.info.name} differ. Targets that are already shifted train with train.objective = 'cross-entropy'"
        )


def cross_entropy(outputs: Tensor, targets: Tensor, **options: Any) -> Tensor:
    """Return the cross-entropy in nats of logits (B, …, V) and classes or tokens (B, …)."""
    return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten(), **options)


def accuracy(outputs: Tensor, targets: Tensor, *, among: int = 1, reduction: str = "mean") -> Tensor:
    """Return the fraction or the number of targets (B, …) among the largest logits (B, …, V)."""
    if among == 1:
        hits = outputs.argmax(dim=-1) == targets
    else:
        largest = outputs.topk(min(among, outputs.shape[-1]), dim=-1).indices
        hits = (largest == targets.unsqueeze(-1)).any(dim=-1)
    return hits.sum() if reduction == "sum" else hits.float().mean()


_OBJECTIVES: Mapping[str, Function] = {
    "cross-entropy": cross_entropy,
    "mse": functional.mse_loss,
    "next-token": cross_entropy,
}
_METRICS: Mapping[str, Function] = {
    "accuracy": accuracy,
    "top-5-accuracy": partial(accuracy, among=5),
    "cross-entropy": cross_entropy,
    "mean-absolute-error": functional.l1_loss,
}
