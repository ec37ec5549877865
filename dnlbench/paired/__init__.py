"""Paired (A/B) benchmarks: two sweeps whose runs alternate, so that the state of the machine affects both equally.

The *head* is the sweep of this environment. The *base* is the sweep of another environment, or of this one with other settings.
Each runs in its own engine, ``python -m dnlbench.engine RUN_DIR`` with the interpreter of its environment, and all runs start
paused. The two versions of dnlbench share only the formats of ``request.json``, ``sweep.json``, the journal, the events of
runs, the control file and the profile. Events are parsed as plain JSON, so that another version may add fields.

The run directory of the head contains ``session.json``, which identifies the base; see `dnlbench.paired.record`.
"""
