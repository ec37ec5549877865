"""dnlbench: run depth sweeps of PyTorch networks, save the results as profiles and compare them."""

__version__ = "0.7.0"
