"""The engine runs one sweep, from its request to its saved profile.

The request is stored as ``request.json`` in the run directory, and ``python -m dnlbench.engine RUN_DIR`` runs it in a separate
process. ``dnlbench run --detach``, the terminal UI and paired benchmarks start engines in this way.
"""
