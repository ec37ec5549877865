"""Datasets, each split as one tensor of inputs and one tensor of targets on the device.

The networks are small, so a data loader with worker processes would cost more than it saves. Batches are gathered on the device
instead, in an order that depends only on the seed and the epoch. Data that do not fit are streamed in the same order.
"""

from dnlbench.runners.training.data.load import Dataset, blank_inputs, load_dataset
from dnlbench.runners.training.data.split import MemorySplit, Split, epoch_order
