"""Training runs."""

from dnlbench.runners.training.run import TrainingRunner

__all__ = ["TrainingRunner"]
