"""Two sweeps that take turns, run by run, so that what the machine does to one it does to the other.

The *head* is this environment's sweep; the *base* is another environment's, or this one's with other settings. Each side is
an engine of its own: ``python -m dnlbench.engine RUN_DIR`` in its interpreter, whose runs all wait to be resumed. What the two
versions of dnlbench have to agree on is small: ``request.json``, ``sweep.json``, the journal, the runs' events and the control
file of the run directory, and the profile. Events are read as plain JSON here, so that another version may
write more into them.

A run directory that takes part holds ``session.json``; what it shares with its other side is in
`dnlbench.paired.record`.
"""
