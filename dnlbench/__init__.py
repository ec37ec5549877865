"""dnlbench: depth sweeps of densely connected networks, measured and compared."""

__version__ = "0.7.0"
