"""Datasets, each split as one tensor of inputs and one tensor of targets on the device.

The networks are small, so a data loader with worker processes would cost more than it saves. Batches are gathered on the device
instead, in an order that depends only on the seed and the epoch.
"""

from dnlbench.runners.training.data.load import Dataset, blank_inputs, load_dataset
from dnlbench.runners.training.data.split import Split, epoch_order
