"""The mathematics of dense non-local networks, in torch."""
