"""Training runs."""

from dnlbench.runners.training.run import TrainingRunner
