"""The training study: how does the training loss fall with depth, and what does depth cost?"""

from typing import Literal

from dnlbench.studies.base import Cost, Quantity, Stability, Study, Trend
from dnlbench.studies.training.size import estimate
from dnlbench.studies.training.spec import TrainingSpec

FINAL_NETWORK = "The final network"
GRADIENTS = "Gradients"


def _of_final_network(
    name: str, label: str, better: Literal["lower", "higher"], follows: str = "final_train_loss"
) -> Quantity:
    """Loss or accuracy of the weights after the last epoch. It gets no verdict of its own: more tests have less power."""
    loss = better == "lower"
    return Quantity(
        name=name,
        label=label,
        unit="nats" if loss else "",
        better=better,
        shown_as="number",
        range="positive" if loss else "share",
        machine_bound=False,
        tolerance=0.01,
        follows=follows,
        table=FINAL_NETWORK,
    )


def _of_gradients(name: str, label: str) -> Quantity:
    """In training mode; R_L included where it is part of the objective."""
    return Quantity(
        name=name,
        label=label,
        unit="",
        better=None,
        shown_as="number",
        range="positive",
        machine_bound=False,
        tolerance=0.05,
        table=GRADIENTS,
        compared=False,
    )


TRAINING = Study(
    name="training",
    packs=True,
    question="What training loss does a network of depth L reach, and at what cost?",
    spec=TrainingSpec,
    quantities=(
        Quantity(
            name="final_train_loss",
            label="final training loss",
            unit="nats",
            better="lower",
            shown_as="number",
            range="positive",
            machine_bound=False,
            tolerance=0.01,
            alias="loss",
        ),
        Quantity(
            name="samples_per_s",
            label="throughput",
            unit="samples/s",
            better="higher",
            shown_as="count",
            range="positive",
            machine_bound=True,
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
            machine_bound=True,
            tolerance=0.05,
            alias="memory",
        ),
        Quantity(
            name="evaluation_accuracy",
            label="evaluation accuracy",
            unit="",
            better="higher",
            shown_as="number",
            range="share",
            machine_bound=False,
            tolerance=0.01,
            alias="accuracy",
        ),
        Quantity(
            name="utilisation",
            label="utilisation",
            unit="",
            better="higher",
            shown_as="share",
            range="share",
            machine_bound=True,
            tolerance=0.15,  # all runs of a worker share one measured peak, whose error no interval over seeds holds
            timed=True,
            follows="samples_per_s",
        ),
        _of_final_network("train_loss_batch", "training loss, batch statistics", "lower"),
        _of_final_network("train_loss_evaluation", "training loss, evaluation mode", "lower"),
        _of_final_network("train_accuracy_batch", "training accuracy, batch statistics", "higher"),
        _of_final_network("train_accuracy_evaluation", "training accuracy, evaluation mode", "higher"),
        _of_final_network("evaluation_loss", "evaluation loss", "lower", "evaluation_accuracy"),
        _of_gradients("gradient_norm_start", "gradient norm at initialization"),
        _of_gradients("gradient_norm_first_steps", "gradient norm, maximum of first 10 steps"),
        _of_gradients("gradient_norm_median", "gradient norm, median of last epoch"),
        _of_gradients("gradient_ratio_start", "gradient of first block over last, at initialization"),
    ),
    estimate=estimate,
    to_save_memory="smaller depths, a smaller train.batch_size or a smaller network.growth_rate",
    trends=(Trend(quantity="final_train_loss", model="limit", at_most_chance=True, rate="samples_per_s"),),
    costs=(
        Cost(quantity="samples_per_s", label="time", inverse=True),
        Cost(quantity="peak_memory_bytes", label="memory"),
    ),
    drawn=("gradient_norm_start",),
    stability=Stability(norm="gradient_norm_start", ratio="gradient_ratio_start"),
    contrasts=("final_train_loss",),
    workload_version=1,
)

__all__ = ["TRAINING", "TrainingSpec"]
