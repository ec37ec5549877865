"""Datasets, each split as one uint8 tensor of images and one tensor of labels on the device.

Networks here are small, so a loader with worker processes would cost more than it hides: batches are gathered on the device
instead, in an order that depends on the seed and the epoch alone.
"""

from dnlbench.runners.training.data.load import Dataset, load_dataset
from dnlbench.runners.training.data.split import Split, epoch_order
