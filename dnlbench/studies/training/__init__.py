"""The training study: how does the training loss depend on depth, and what does depth cost?"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from dnlbench.studies.base import (
    THROUGHPUT,
    TRAIN_LOSS,
    Cost,
    DepthFit,
    Described,
    Direction,
    EpochMetric,
    OverEpochs,
    Quantity,
    Stability,
    Study,
)
from dnlbench.studies.training.objectives import OBJECTIVES, key_of, measured_metrics, metric_named, objective_named
from dnlbench.studies.training.size import estimate
from dnlbench.studies.training.spec import TrainingSpec
from dnlbench.studies.training.tune import tuned

D = TypeVar("D", bound=Described)

FINAL_NETWORK = "The final network"
GRADIENTS = "Gradients"
OVER_EPOCHS = "Over the epochs"
LOSS_UNIT = TRAIN_LOSS.unit
"""Unit of losses until they get that of the objective."""

EVALUATION_LOSS = EpochMetric(
    name="evaluation_loss", label="evaluation loss", unit=LOSS_UNIT, better="lower", log=True, tag="loss/evaluation"
)
EVALUATED_TRAINING_LOSS = EpochMetric(
    name="train_loss_evaluation",
    label="training loss, evaluation mode",
    unit=LOSS_UNIT,
    better="lower",
    log=True,
    tag="loss/train_evaluation",
)
ACCURACY = EpochMetric(
    name="evaluation_accuracy",
    label="evaluation accuracy",
    better="higher",
    shown_as="percent",
    range="fraction",
    tag="accuracy/evaluation",
)
EPOCH_METRICS = (
    TRAIN_LOSS,
    EVALUATION_LOSS,
    ACCURACY,
    EpochMetric(
        name="gradient_norm_median", label="gradient norm, median", log=True, tag="gradient/norm_median"
    ),  # over the epoch's full batches in training mode, including R_L if it is part of the objective
    EpochMetric(name="gradient_norm_max", label="gradient norm, maximum", log=True, tag="gradient/norm_max"),
    EpochMetric(name="gradient_norm", label="gradient norm, last batch", log=True, tag="gradient/norm"),  # until 0.7
    EpochMetric(name="regulariser", label="regularizer R_L", log=True, tag="objective/regulariser"),  # after the epoch
    THROUGHPUT,
)

# Loss and accuracy of the weights after the last epoch have no separate verdict: more tests have less power.
_final = partial(Quantity, table=FINAL_NETWORK, follows="final_train_loss")
_final_loss = partial(_final, unit=LOSS_UNIT, better="lower", range="positive")
_final_accuracy = partial(_final, better="higher", shown_as="percent", range="fraction")
# In training mode, including R_L if it is part of the objective.
_gradient = partial(Quantity, range="positive", tolerance=0.05, table=GRADIENTS, compared=False)


def _adapted(study: Study, settings: Mapping[str, Any]) -> Study:
    """Adapt the declarations to evaluation, to objective and metrics, then to the tuned setting."""
    return tuned(_of_objective(_evaluated(study, settings), settings), settings)


def _evaluated(study: Study, settings: Mapping[str, Any]) -> Study:
    """Add the fits and contrasts of the evaluation split, if the sweep measures it."""
    train = settings.get("train")
    if not isinstance(train, Mapping) or train.get("evaluate") is not True:
        return study
    names = [EVALUATION_LOSS.name, *([ACCURACY.name] if "accuracy" in measured_metrics(train) else [])]
    fits = (DepthFit(quantity=name, model="limit") for name in names)
    return replace(study, fits=(*study.fits, *fits), contrasts=(*study.contrasts, EVALUATION_LOSS.name))


def _of_objective(study: Study, settings: Mapping[str, Any]) -> Study:
    """Give losses the unit and range of the objective, and add the metrics that the settings ask for."""
    train = settings.get("train")
    train = train if isinstance(train, Mapping) else {}
    objective, names = objective_named(train.get("objective", "cross-entropy")), measured_metrics(train)
    both, last = train.get("evaluate_training") is True, train.get("last_epochs")
    metrics = [metric for name in names for metric in _epoch_metrics(name, on_training=both)]
    metrics = [*([EVALUATED_TRAINING_LOSS] if both else []), *(each for each in metrics if each != ACCURACY)]
    quantities = [quantity for name in names if name != "accuracy" for quantity in _quantities(name)]
    quantities += [_mean_of_last(last)] if isinstance(last, int) else []
    if objective == OBJECTIVES.built_in["cross-entropy"] and not metrics and not quantities:
        return study

    def with_unit(loss: D) -> D:
        return replace(loss, unit=objective.unit, range=objective.range) if loss.unit == LOSS_UNIT else loss

    at = 1 + study.epoch_metrics.index(ACCURACY)
    return replace(
        study,
        quantities=tuple(map(with_unit, (*study.quantities, *quantities))),
        epoch_metrics=tuple(map(with_unit, (*study.epoch_metrics[:at], *metrics, *study.epoch_metrics[at:]))),
        fits=tuple(
            replace(fit, at_most_chance=fit.at_most_chance and objective.is_bounded_by_chance) for fit in study.fits
        ),
    )


def _epoch_metrics(name: str, *, on_training: bool) -> Iterator[EpochMetric]:
    """Yield a metric of the evaluation split, and of the training split in evaluation mode."""
    key, metric = key_of(name), metric_named(name)
    fields: dict[str, Any] = {"range": "any", **metric.declared}
    if on_training:
        label = f"training {metric.label}, evaluation mode"
        yield EpochMetric(name=f"train_{key}_evaluation", label=label, tag=f"{key}/train_evaluation", **fields)
    yield EpochMetric(name=f"evaluation_{key}", label=f"evaluation {metric.label}", tag=f"{key}/evaluation", **fields)


def _quantities(name: str) -> Iterator[Quantity]:
    """Yield a metric after the last epoch: on the evaluation split, and twice on the training split."""
    key, metric = key_of(name), metric_named(name)
    (evaluation,) = _epoch_metrics(name, on_training=False)
    yield evaluation.last(follows="final_train_loss")
    yield _final(name=f"train_{key}_batch", label=f"training {metric.label}, batch statistics", **metric.declared)
    yield _final(name=f"train_{key}_evaluation", label=f"training {metric.label}, evaluation mode", **metric.declared)


def _mean_of_last(epochs: int) -> Quantity:
    return _final_loss(
        name="last_epochs_train_loss",
        label=f"training loss, mean of the last {epochs} epochs",
        table=OVER_EPOCHS,
        over_epochs=OverEpochs(metric="train_loss", value="mean of the last", epochs=epochs),
    )


TRAINING = Study(
    name="training",
    packs=True,
    title="What training loss does a network of depth L reach, and at what cost?",
    spec=TrainingSpec,
    runner="dnlbench.runners.training:TrainingRunner",
    quantities=(
        Quantity(
            name="final_train_loss",
            label="final training loss",
            unit=LOSS_UNIT,
            better="lower",
            range="positive",
            alias="loss",
        ),
        Quantity(
            name="samples_per_s",
            label="throughput",
            unit="samples/s",
            better="higher",
            shown_as="count",
            range="positive",
            hardware_dependent=True,
            tolerance=0.05,
            timed=True,
            alias="throughput",
        ),
        Quantity(
            name="peak_memory_bytes",
            label="peak memory",
            unit="B",
            better="lower",
            shown_as="bytes",
            range="positive",
            hardware_dependent=True,
            tolerance=0.05,
            alias="memory",
        ),
        ACCURACY.last(alias="accuracy"),
        Quantity(
            name="utilisation",
            label="utilization",
            better="higher",
            shown_as="percent",
            range="fraction",
            hardware_dependent=True,
            tolerance=0.15,  # all runs of a worker share one measured peak, whose error is in no interval over seeds
            timed=True,
            follows="samples_per_s",
        ),
        _final_loss(name="train_loss_batch", label="training loss, batch statistics"),
        _final_loss(name="train_loss_evaluation", label="training loss, evaluation mode"),
        _final_accuracy(name="train_accuracy_batch", label="training accuracy, batch statistics"),
        _final_accuracy(name="train_accuracy_evaluation", label="training accuracy, evaluation mode"),
        EVALUATION_LOSS.last(table=FINAL_NETWORK, follows="evaluation_accuracy"),
        _final_loss(
            name="best_evaluation_loss",
            label="best evaluation loss",
            table=OVER_EPOCHS,
            over_epochs=OverEpochs(metric="evaluation_loss", value="lowest"),
        ),
        _final(
            name="best_evaluation_epoch",
            label="epoch of the best evaluation loss",
            range="positive",
            table=OVER_EPOCHS,
            over_epochs=OverEpochs(metric="evaluation_loss", value="epoch of the lowest"),
        ),
        _gradient(name="gradient_norm_start", label="gradient norm at initialization"),
        _gradient(name="gradient_norm_first_steps", label="gradient norm, maximum of first 10 steps"),
        _gradient(name="gradient_norm_median", label="gradient norm, median of last epoch"),
        _gradient(name="gradient_ratio_start", label="gradient of first block over last, at initialization"),
    ),
    epoch_metrics=EPOCH_METRICS,
    estimate=estimate,
    to_save_memory="smaller depths, a smaller train.batch_size or a smaller network.growth_rate",
    fits=(DepthFit(quantity="final_train_loss", model="limit", at_most_chance=True, rate="samples_per_s"),),
    costs=(
        Cost(quantity="samples_per_s", label="time", inverse=True),
        Cost(quantity="peak_memory_bytes", label="memory"),
    ),
    against_budget=(("final_train_loss", "train_loss"), ("evaluation_loss", "evaluation_loss")),
    plotted=("gradient_norm_start",),
    stability=Stability(norm="gradient_norm_start", ratio="gradient_ratio_start"),
    contrasts=("final_train_loss",),
    workload_version=1,
    adapt=_adapted,
)
