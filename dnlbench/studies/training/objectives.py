"""Declarations of objectives and of metrics beside the loss. `dnlbench.runners.training.objectives` computes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dnlbench.events.records import Targets
from dnlbench.registry import Registry
from dnlbench.stats import Range


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A function of outputs and targets whose mean over the samples is minimized."""

    summary: str
    """A line for ``dnlbench list``."""
    unit: str = ""
    """Unit of the loss; empty if it is unknown or that of the targets."""
    range: Range = "any"
    targets: tuple[Targets, ...] | None = None
    """The kinds of targets that it accepts. None: any."""
    metrics: tuple[str, ...] = ()
    """Metrics that are measured by default."""
    smooths_labels: bool = False
    """``train.label_smoothing`` applies to it."""
    is_bounded_by_chance: bool = False
    """Guessing gives ln(classes), and results of training are never above it."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A function of outputs and targets whose mean over the samples is reported."""

    summary: str
    """A line for ``dnlbench list``."""
    label: str
    targets: tuple[Targets, ...] | None = None
    """The kinds of targets that it accepts. None: any."""
    declared: dict[str, Any] = field(default_factory=dict)
    """Fields of `dnlbench.studies.base.Described`: unit, better, range."""


CUSTOM = Objective(summary="yours")
"""A custom objective. Its unit and range are unknown, because only workers import it."""

OBJECTIVES: Registry[Objective] = Registry(
    kind="objective",
    built_in={
        "cross-entropy": Objective(
            summary="cross-entropy of classes, or of a token at each position, in nats",
            unit="nats",
            range="positive",
            targets=("classes", "tokens"),
            metrics=("accuracy",),
            smooths_labels=True,
            is_bounded_by_chance=True,
        ),
        "mse": Objective(
            summary="mean squared error over the values of a target", range="positive", targets=("values",)
        ),
        "next-token": Objective(
            summary="cross-entropy of the next token of a sequence, in nats",
            unit="nats",
            range="positive",
            targets=("tokens",),
            metrics=("accuracy",),
            smooths_labels=True,
        ),
    },
    form="package.module:objective",
)

_PERCENT = {"better": "higher", "shown_as": "percent", "range": "fraction"}

METRICS: Registry[Metric] = Registry(
    kind="metric",
    built_in={
        "accuracy": Metric(
            summary="fraction of right predictions",
            label="accuracy",
            targets=("classes", "tokens"),
            declared=_PERCENT,
        ),
        "top-5-accuracy": Metric(
            summary="fraction of targets among the five most probable predictions",
            label="top-5 accuracy",
            targets=("classes", "tokens"),
            declared=_PERCENT,
        ),
        "cross-entropy": Metric(
            summary="cross-entropy without label smoothing, in nats",
            label="cross-entropy",
            targets=("classes", "tokens"),
            declared={"unit": "nats", "better": "lower", "range": "positive"},
        ),
        "mean-absolute-error": Metric(
            summary="mean absolute error over the values of a target",
            label="mean absolute error",
            targets=("values",),
            declared={"better": "lower", "range": "positive"},
        ),
    },
    form="package.module:metric",
)


def objective_named(name: object) -> Objective:
    """Return the declaration of an objective, which is `CUSTOM` if it is not built in."""
    return OBJECTIVES.built_in.get(str(name), CUSTOM)


def metric_named(name: str) -> Metric:
    """Return the declaration of a metric. The label of a custom one is the name of its function."""
    return METRICS.built_in.get(name) or Metric(summary="yours", label=key_of(name).replace("_", " "))


def key_of(metric: str) -> str:
    """Return a metric's part of keys in profiles: ``top_5_accuracy``, or ``f1`` for ``package.module:f1``."""
    return re.sub(r"\W", "_", metric.rpartition(":")[2])


def measured_metrics(train: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the metrics that a ``[train]`` table asks for, by default those of its objective."""
    names = train.get("metrics")
    if isinstance(names, list | tuple):
        return tuple(map(str, names))
    return objective_named(train.get("objective", "cross-entropy")).metrics
