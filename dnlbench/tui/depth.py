"""What a sweep says about depth while it is under way."""

from __future__ import annotations

from dnlbench.charts.source import Source
from dnlbench.profiles import run_record, summarise
from dnlbench.watch import SweepView


def live_source(view: SweepView) -> Source:
    """Means and fits as in a profile, of the runs that are done, and of those under way by what they have reached so far."""
    study, classes = view.plan.study, view.prepared.data.classes if view.prepared else None
    runs = [run_record(run, view.histories[run.run_id], study, live=True) for run in view.plan.runs]
    final = all(view.is_over(run) for run in view.plan.runs)
    return Source(study=study, runs=runs, summary=summarise(runs, study, classes=classes), final=final)
