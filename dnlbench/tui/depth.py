"""Results against depth of a sweep that is still running."""

from __future__ import annotations

from dnlbench.charts.source import Source
from dnlbench.profiles import run_record, summarize
from dnlbench.watch import SweepView


def live_source(view: SweepView) -> Source:
    """Return means and fits as in a profile. A run that has not ended counts with its latest values."""
    study, classes = view.plan.study, view.prepared.data.choices if view.prepared else None
    runs = [run_record(run, view.histories[run.run_id], study, live=True) for run in view.plan.runs]
    final = all(view.is_over(run) for run in view.plan.runs)
    return Source(study=study, runs=runs, summary=summarize(runs, study, classes=classes), final=final)
