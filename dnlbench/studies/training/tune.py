"""The tuned setting: a key of the grid whose best value is chosen at each network and depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from dnlbench.stats.tuning import FEWEST_VALUES
from dnlbench.studies.added import Added
from dnlbench.studies.base import BEST_VALUE, TUNED_LOSS, Quantity, Section, Study, Tuning, refuse

if TYPE_CHECKING:
    from dnlbench.studies.training.spec import TrainingSpec

FEWEST_SEEDS = 2


class TuneSettings(Section):
    """``[tune]``: the best value of a setting at each network and depth."""

    over: Annotated[str | None, Added(before=None)] = None
    """Key of sweep.grid with at least three positive numbers, such as `train.lr`. Losses are fitted and compared at its best
    value. Default: no setting is tuned."""
    by: Annotated[Literal["train_loss", "evaluation_loss"], Added(before="train_loss")] = "train_loss"
    """The loss after the last epoch that the best value minimizes."""


QUANTITIES = {"train_loss": "final_train_loss", "evaluation_loss": "evaluation_loss"}
"""Quantities by the value of `tune.by`."""


def check_tune(spec: TrainingSpec) -> None:
    """Reject a tuned setting that is no axis of positive numbers."""
    key = spec.tune.over
    if key is None:
        if spec.tune.by != "train_loss":
            refuse("tune.by", spec.tune.by, "has an effect only with tune.over")
        return
    values = spec.sweep.grid.get(key)
    if values is None:
        known = ", ".join(spec.sweep.grid) or "none"
        refuse("tune.over", key, f"is no key of sweep.grid, which has {known}; list its values there")
    if len(values) < FEWEST_VALUES or not all(map(_is_positive, values)):
        refuse("tune.over", key, f"needs at least {FEWEST_VALUES} positive numbers in sweep.grid, not {list(values)}")
    if len(spec.seeds) < FEWEST_SEEDS:
        refuse(
            "tune.over",
            key,
            "needs at least 2 seeds in sweep.seeds: some choose the best value, others measure the loss at it",
        )
    if spec.tune.by == "evaluation_loss" and not spec.train.evaluate:
        refuse("tune.by", spec.tune.by, "requires train.evaluate = true")


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def tuned(study: Study, settings: Mapping[str, Any]) -> Study:
    """Return the study with the results of a tuned sweep: fits and contrasts are those of the loss at the best value."""
    tune = settings.get("tune")
    tune = tune if isinstance(tune, Mapping) else {}
    key = tune.get("over")
    if not isinstance(key, str):
        return study
    name = QUANTITIES.get(tune.get("by", ""), QUANTITIES["train_loss"])
    measured = next(quantity for quantity in study.quantities if quantity.name == name)
    short = key.rpartition(".")[2]
    loss = Quantity(
        name=TUNED_LOSS,
        label=f"{measured.label.removeprefix('final ')} at the best {short}",
        unit=measured.unit,
        better=measured.better,
        range=measured.range,
        tolerance=measured.tolerance,
    )
    setting = Quantity(name=BEST_VALUE, label=f"best {short}", range="positive", mean="geometric", compared=False)
    bounded = any(fit.at_most_chance for fit in study.fits if fit.quantity == name)
    tuning = Tuning(key=key, quantity=name, loss=loss, setting=setting, at_most_chance=bounded)
    return replace(
        study,
        quantities=(study.quantities[0], loss, setting, *study.quantities[1:]),
        tuning=tuning,
        fits=(),
        plotted=(),
        contrasts=(loss.name,),
    )
