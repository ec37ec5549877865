"""``dnlbench calibrate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dnlbench.cli import complete, options
from dnlbench.cli.output import guarded, say, show, write, write_json
from dnlbench.cli.signals import graceful

if TYPE_CHECKING:
    from dnlbench.noise import Floor
    from dnlbench.paired.session import Session
    from dnlbench.report.grid import Grid


@guarded
def calibrate(
    spec: Annotated[
        str | None,
        options.Argument(
            metavar="SPEC",
            help="Name of a preset, or path of a TOML file. Default: a small sweep on the digits data.",
            autocompletion=complete.specs,
        ),
    ] = None,
    rounds: Annotated[
        int,
        options.Option(
            min=1,
            metavar="N",
            help="Number of paired sessions; more sessions give a lower, more precise floor. Default: 3.",
        ),
    ] = 3,
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    threads: options.Threads = None,
    set_: options.Settings = None,
    show_: Annotated[
        bool,
        options.Option("--show", help="Print the noise floors of this machine and measure nothing. Default: measure."),
    ] = False,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure the noise floor of this machine.

    The noise floor is how much two measurements of identical code differ. Runs paired benchmarks of a sweep against itself.
    Afterwards, gates raise any smaller tolerance for throughput and memory to this noise floor. This holds for runs on this
    machine with the same kind of device and number of threads.
    """
    from dnlbench.machine import read_machine
    from dnlbench.noise import NoiseFile
    from dnlbench.paired.calibration import calibrate as measure

    memory, fingerprint = NoiseFile(), read_machine().fingerprint
    if show_:
        _show(memory.of_machine(fingerprint), memory.path, json_=json_)
        return
    session = _session(spec, set_ or (), device=device, jobs=jobs, threads=threads)
    with graceful():
        floor = measure(session, rounds, (lambda message: None) if quiet else say)
    memory.put(fingerprint, floor)
    if json_:
        write_json({"file": str(memory.path), "floor": floor.model_dump(mode="json")})
    else:
        show(_grid(floor))


def _session(
    spec: str | None, settings: Sequence[str], *, device: str, jobs: int | None, threads: int | None
) -> Session:
    from dnlbench.engine.request import RunRequest
    from dnlbench.paired.calibration import DEFAULT, DEFAULT_SETTINGS
    from dnlbench.paired.session import plan_session
    from dnlbench.spec import SpecText

    name, defaults = (DEFAULT, DEFAULT_SETTINGS) if spec is None else (spec, ())
    text = SpecText.read(name, [*defaults, *settings])
    request = RunRequest(spec=text, device=device, jobs=jobs, threads=threads)
    return plan_session(request, against=None, base_settings=(), base_out=None)


def _show(floors: Sequence[Floor], path: Path, *, json_: bool) -> None:
    if json_:
        content = [floor.model_dump(mode="json") for floor in floors]
        write_json({"file": str(path), "floors": content})
    for number, floor in enumerate(() if json_ else floors):
        if number:
            write("")
        show(_grid(floor))
    if not floors:
        say("dnlbench: this machine has no noise floor yet; measure it with dnlbench calibrate")


def _grid(floor: Floor) -> Grid:
    from dnlbench import units
    from dnlbench.report.grid import Column, Grid

    when = f"{floor.measured.astimezone():%Y-%m-%d %H:%M}"
    rounds = f"{floor.rounds} round{'s' if floor.rounds > 1 else ''}"
    threads = f"{floor.threads} thread{'s' if floor.threads > 1 else ''}"
    return Grid(
        title="Noise floor of this machine",
        columns=[Column(head="quantity", no_wrap=True), Column(head="floor", numeric=True)],
        rows=[[_label(name), units.percent(value)] for name, value in floor.floors.items()],
        note=f"{floor.sweep}, {', '.join(floor.networks)}: {rounds} on {floor.device}, {threads}, torch {floor.torch}, {when}\n"
        "identical code differs by less than this in 19 of 20 sessions",
    )


def _label(name: str) -> str:
    from dnlbench.studies import STUDIES

    labels = (
        quantity.label for study in STUDIES.usable().values() for quantity in study.quantities if quantity.name == name
    )
    return next(labels, name)
