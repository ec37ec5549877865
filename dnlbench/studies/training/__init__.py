"""The training study: how does the training loss fall with depth, and what does depth cost?"""

from dnlbench.studies.base import Cost, Quantity, Study, Trend
from dnlbench.studies.training.size import estimate
from dnlbench.studies.training.spec import TrainingSpec

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
        ),
    ),
    estimate=estimate,
    to_save_memory="smaller depths, a smaller train.batch_size or a smaller network.growth_rate",
    trends=(Trend(quantity="final_train_loss", model="limit", rate="samples_per_s"),),
    costs=(
        Cost(quantity="samples_per_s", label="time", inverse=True),
        Cost(quantity="peak_memory_bytes", label="memory"),
    ),
    workload_version=1,
)

__all__ = ["TRAINING", "TrainingSpec"]
