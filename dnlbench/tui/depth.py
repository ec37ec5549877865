"""What a sweep says about depth while it is under way."""

from __future__ import annotations

from dnlbench.charts.source import Source
from dnlbench.events import RunHistory
from dnlbench.plan import Run
from dnlbench.profiles import RunRecord, attempt_record, summarise
from dnlbench.watch import SweepView


def live_source(view: SweepView) -> Source:
    """Means and fits as in a profile, of the runs that are done, and of those under way by what they have reached so far."""
    runs = [_record(run, view.histories[run.run_id]) for run in view.plan.runs]
    study, classes = view.plan.study, view.prepared.data.classes if view.prepared else None
    final = all(view.is_over(run) for run in view.plan.runs)
    return Source(study=study, runs=runs, summary=summarise(runs, study, classes=classes), final=final)


def _record(run: Run, history: RunHistory) -> RunRecord:
    """Without its epochs, and without its attempts where there was but one: no summary needs them."""
    last = history.epochs[-1] if history.epochs else None
    ended, started = history.ended, history.started
    return RunRecord(
        run_id=run.run_id,
        network=run.point.network,
        depth=run.point.depth,
        seed=run.seed,
        status=ended.status if ended else "ok" if history.laps else "skipped",
        device=started.device if started else None,
        device_name=started.device_name if started else None,
        node=started.node if started else None,
        pack_size=started.pack_size if started else None,
        parameters=started.parameters if started else None,
        utilisation=history.utilisation,
        epochs=(),
        final_train_loss=last.train_loss if last else None,
        samples_per_s=history.samples_per_s,
        evaluation_accuracy=last.evaluation_accuracy if last else None,
        gradient_norm_median=last.gradient_norm_median if last else None,
        peak_memory_bytes=ended.peak_memory_bytes if ended else None,
        measurements=history.measurements,
        attempts=tuple(map(attempt_record, history.attempts)) if len(history.attempts) > 1 else (),
        error=None,
    )
