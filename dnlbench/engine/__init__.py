"""The engine: one sweep from its request to its saved profile.

A request is kept as ``request.json`` in the run directory, and ``python -m dnlbench.engine RUN_DIR`` executes it. Whoever wants
an engine of its own starts that: ``dnlbench run --detach``, the terminal UI and both sides of a paired run.
"""
