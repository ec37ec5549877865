"""``dnlbench list``: the parts of sweeps, built in and of installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from dnlbench.cli import complete, options
from dnlbench.cli.output import guarded, show, write_json

if TYPE_CHECKING:
    from dnlbench.registry import Registry


@guarded
def list_(
    kind: Annotated[
        str,
        options.Argument(
            metavar="|".join(complete.PARTS), help="Kind of parts to list.", autocompletion=complete.parts
        ),
    ],
    json_: options.Json = False,
) -> None:
    """List the parts of sweeps by kind: name, provider and summary.

    Parts of installed packages are their entry points, such as dnlbench.networks. They are listed without being imported.
    """
    from dnlbench.errors import ConfigurationError, did_you_mean
    from dnlbench.report.grid import Column, Grid

    known = registries()
    if kind not in known:
        raise ConfigurationError(f"{kind}: choose {', '.join(known)}{did_you_mean(kind, known) or '.'}")
    registry = known[kind]
    parts = [asdict(part) for part in registry.listed()]
    if json_:
        write_json({kind: parts})
        return
    note = f"any other: {registry.form}" if registry.form else ""
    show(
        Grid(
            title=kind.capitalize(),
            columns=[Column(head=registry.kind, no_wrap=True), Column(head="provider"), Column(head="summary")],
            rows=[[part["name"], part["provider"], part["summary"]] for part in parts],
            note=note,
        )
    )


def registries() -> Mapping[str, Registry[Any]]:
    """Return the registries of all kinds of parts by title."""
    from dnlbench.engine.executors import EXECUTORS
    from dnlbench.report.formats import FORMATS
    from dnlbench.studies import STUDIES
    from dnlbench.studies.training.datasets import DATASETS
    from dnlbench.studies.training.objectives import METRICS, OBJECTIVES
    from dnlbench.studies.training.spec import NETWORKS

    known = (NETWORKS, DATASETS, OBJECTIVES, METRICS, STUDIES, EXECUTORS, FORMATS)
    return {registry.title: registry for registry in known}
