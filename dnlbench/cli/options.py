"""Arguments and options of commands, each declared once for all commands that have it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from dnlbench.cli import complete
from dnlbench.cli.gating import OnInconclusive

Argument = partial(typer.Argument, show_default=False)  # the help text names the default
Option = partial(typer.Option, show_default=False)

# Panels of the help

SWEEP = "Sweep"
DEVICES = "Devices"
OUTPUT = "Output"
PAIRED = "Paired runs"
GATE = "Regression gate"
CLUSTER = "Cluster"

# Shared by several commands

Spec = Annotated[
    str,
    Argument(metavar="SPEC", help="Name of a preset, or path of a TOML file.", autocompletion=complete.specs),
]
Device = Annotated[
    str,
    Option(
        metavar="DEVICE",
        help="Device to train on: auto, cpu, mps, cuda, or some GPUs such as cuda:0,1. Default: auto.",
        autocompletion=complete.devices,
        rich_help_panel=DEVICES,
    ),
]
Jobs = Annotated[
    int | None,
    Option(
        min=1,
        metavar="N",
        help="Number of runs at a time. Default: one for each GPU or CPU core.",
        rich_help_panel=DEVICES,
    ),
]
Threads = Annotated[
    int | None,
    Option(min=1, metavar="N", help="Threads of each CPU run. Default: cores / jobs.", rich_help_panel=DEVICES),
]
Settings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a value of the spec, such as train.epochs=1. Repeatable. Default: the spec as it is.",
        autocompletion=complete.settings,
        rich_help_panel=SWEEP,
    ),
]
Grid = Annotated[
    list[str] | None,
    Option(
        "--grid",
        metavar="KEY=VALUE,VALUE,…",
        help="Train every value of a key of the spec, such as train.lr=0.01,0.03. Repeatable. Default: the grid of the spec.",
        autocompletion=complete.settings,
        rich_help_panel=SWEEP,
    ),
]
Depths = Annotated[
    str | None,
    Option(
        metavar="L,L,…", help="Depths; short for --set sweep.depths. Default: those of the spec.", rich_help_panel=SWEEP
    ),
]
Seeds = Annotated[
    str | None,
    Option(
        metavar="N",
        help="Number or list of seeds; short for --set sweep.seeds. Default: those of the spec.",
        rich_help_panel=SWEEP,
    ),
]
DryRun = Annotated[
    bool,
    Option(
        "--dry-run",
        help="Print the runs of the sweep and which of them are finished, and train nothing. Default: off.",
        rich_help_panel=SWEEP,
    ),
]
Extend = Annotated[
    bool,
    Option(
        "--extend",
        help="Require finished runs with the same settings, and train only what is missing. Default: start or resume.",
        rich_help_panel=SWEEP,
    ),
]
Json = Annotated[
    bool, Option("--json", help="Print the result as one JSON object. Default: off.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[
    bool, Option("--quiet", help="Print only the result, no progress. Default: off.", rich_help_panel=OUTPUT)
]
Output = Annotated[
    Path | None,
    Option("-o", metavar="FILE", help="Write the result to FILE. Default: print it.", rich_help_panel=OUTPUT),
]
Profile = Annotated[
    Path,
    Argument(metavar="PROFILE", help="Saved profile or run directory.", autocompletion=complete.profiles),
]
Inconclusive = Annotated[
    OnInconclusive,
    Option(
        "--inconclusive",
        metavar="fail|warn",
        help="Exit with code 4 (fail) or print a warning (warn) if a rule is inconclusive. Default: warn.",
        rich_help_panel=GATE,
    ),
]

# ``dnlbench run``

Out = Annotated[
    Path | None,
    Option(
        metavar="PROFILE",
        help="File for the profile. Default: profiles/<name>-<time>.json.",
        rich_help_panel=OUTPUT,
    ),
]
RunDir = Annotated[
    Path | None,
    Option(
        metavar="RUN_DIR",
        help="Directory for events and checkpoints. Default: .dnlbench/runs/<sweep id>.",
        autocompletion=complete.run_dirs,
        rich_help_panel=SWEEP,
    ),
]
Pack = Annotated[
    str,
    Option(
        metavar="N|auto|off",
        help="Maximum number of seeds that train as one batched computation; off means 1. Default: auto, the value "
        "measured by dnlbench tune, else 1.",
        rich_help_panel=DEVICES,
    ),
]
Against = Annotated[
    str | None,
    Option(
        metavar="PYTHON",
        help="Run a paired benchmark against the dnlbench of this Python interpreter, the base. Saves two profiles. "
        "Default: no base.",
        rich_help_panel=PAIRED,
    ),
]
BaseSettings = Annotated[
    list[str] | None,
    Option(
        metavar="KEY=VALUE",
        help="Override a value of the spec for the base only. Repeatable. Default: the same spec.",
        autocompletion=complete.settings,
        rich_help_panel=PAIRED,
    ),
]
OutBase = Annotated[
    Path | None,
    Option(
        metavar="PROFILE",
        help="File for the profile of the base. Default: <name>-base.json beside the other profile.",
        rich_help_panel=PAIRED,
    ),
]
RunRules = Annotated[
    list[str] | None,
    Option(
        metavar="RULE",
        help="Exit with code 3 if RULE is violated. Within the sweep: depth:loss:worse, network:loss:5%. With a base "
        "also loss:worse, throughput:5%, failed and all other rules of dnlbench compare. Repeatable. Default: no rule.",
        rich_help_panel=GATE,
    ),
]
Resume = Annotated[
    bool,
    Option(
        "--resume",
        help="Require an interrupted sweep in the run directory and resume it. Default: start or resume.",
        rich_help_panel=SWEEP,
    ),
]
Executor = Annotated[
    str,
    Option(
        metavar="local|inline|ray|NAME",
        help="Train in worker processes (local), in this process for debugging (inline), on a Ray cluster (ray), or with "
        "another executor of dnlbench list executors, or module:object. Default: local.",
        autocompletion=complete.executors,
        rich_help_panel=DEVICES,
    ),
]
RayAddress = Annotated[
    str | None,
    Option(
        envvar="RAY_ADDRESS",
        metavar="HOST:PORT|auto",
        help="Address of a running Ray cluster. Default: start a private one on this machine.",
        rich_help_panel=CLUSTER,
    ),
]
RayInsecure = Annotated[
    bool,
    Option(
        "--ray-insecure",
        help="Connect to a cluster without token authentication. Default: refuse such a cluster.",
        rich_help_panel=CLUSTER,
    ),
]
CheckpointEvery = Annotated[
    float,
    Option(
        min=0.0,
        metavar="SECONDS",
        help="Maximum time between checkpoints. Default: 30.",
        rich_help_panel=SWEEP,
    ),
]
KeepWeights = Annotated[
    bool,
    Option(
        "--keep-weights",
        help="Save the final weights beside the profile, for dnlbench diagnose. Default: off.",
        rich_help_panel=OUTPUT,
    ),
]
Detach = Annotated[
    bool,
    Option(
        "--detach",
        help="Run the sweep in a background process that survives this terminal. Default: off.",
        rich_help_panel=SWEEP,
    ),
]

# ``dnlbench compare``

CompareRules = Annotated[
    list[str] | None,
    Option(
        metavar="RULE",
        help="Exit with code 3 if RULE is violated, such as loss:worse, throughput:5%, failed, or within the candidate "
        "depth:loss:worse, network:loss:worse. Repeatable. Default: no rule.",
        rich_help_panel=GATE,
    ),
]
Twin = Annotated[
    Path | None,
    Option(
        metavar="PROFILE",
        help="Profile of the reference sweep with train.nudge_ulps=1. Differences within its rounding error do not "
        "count. Default: no allowance for rounding.",
        autocompletion=complete.profiles,
    ),
]
Match = Annotated[
    Literal["network", "depth"],
    Option(
        metavar="network|depth",
        help="Compare runs of equal network and depth (network), or two networks at equal depth (depth). "
        "Default: network.",
    ),
]
Networks = Annotated[
    str | None,
    Option(
        metavar="REFERENCE,CANDIDATE",
        help="Names of the two networks for --match depth. Default: the only network of each profile.",
    ),
]
