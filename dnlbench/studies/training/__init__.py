"""The training study: how does the training loss depend on depth, and what does depth cost?"""

from functools import partial

from dnlbench.studies.base import (
    THROUGHPUT,
    TRAIN_LOSS,
    Cost,
    DepthFit,
    Direction,
    EpochMetric,
    Quantity,
    Stability,
    Study,
)
from dnlbench.studies.training.size import estimate
from dnlbench.studies.training.spec import TrainingSpec

FINAL_NETWORK = "The final network"
GRADIENTS = "Gradients"

EVALUATION_LOSS = EpochMetric(
    name="evaluation_loss", label="evaluation loss", unit="nats", better="lower", log=True, tag="loss/evaluation"
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
_final_loss = partial(_final, unit="nats", better="lower", range="positive")
_final_accuracy = partial(_final, better="higher", shown_as="percent", range="fraction")
# In training mode, including R_L if it is part of the objective.
_gradient = partial(Quantity, range="positive", tolerance=0.05, table=GRADIENTS, compared=False)

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
            unit="nats",
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
    plotted=("gradient_norm_start",),
    stability=Stability(norm="gradient_norm_start", ratio="gradient_ratio_start"),
    contrasts=("final_train_loss",),
    workload_version=1,
)
