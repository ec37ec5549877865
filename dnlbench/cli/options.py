"""Arguments and options that commands declare: each once, for all commands that have it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from dnlbench.cli.gating import OnInconclusive

# Of several commands

Spec = Annotated[str, Argument(metavar="SPEC", help="A preset's name or a TOML file.")]
Device = Annotated[str, Option(help="auto, cpu, mps, cuda, or some devices as in cuda:0,1")]
Jobs = Annotated[int | None, Option(min=1, help="Runs at a time. Default: one a GPU, or one a core.")]
Threads = Annotated[int | None, Option(min=1, help="Threads of one CPU run. Default: cores / jobs.")]
Settings = Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help="Override a spec value; repeatable.")]
Json = Annotated[bool, Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, Option("--quiet", help="Print no progress, only the result.")]
Output = Annotated[Path | None, Option("-o", help="Write to a file instead of stdout.")]
Inconclusive = Annotated[
    OnInconclusive,
    Option("--inconclusive", help="Exit with code 4 (fail) or print a warning (warn) if a rule is inconclusive."),
]

# Of ``dnlbench run``

Out = Annotated[Path | None, Option(help="The profile to write. Default: profiles/<name>-<time>.json")]
RunDir = Annotated[Path | None, Option(help="Directory for events and checkpoints. Default: .dnlbench/runs/<sweep id>")]
Pack = Annotated[
    str, Option(metavar="N|auto|off", help="Maximum number of seeds of a point that train together; off is one.")
]
Against = Annotated[
    str | None,
    Option(
        metavar="PYTHON",
        help="Interpreter of another environment, a base whose runs take turns with these. Saves two profiles.",
    ),
]
BaseSettings = Annotated[
    list[str] | None, Option(metavar="KEY=VALUE", help="Override a spec value of the base alone; repeatable.")
]
OutBase = Annotated[Path | None, Option(help="The base's profile. Default: beside the other, <name>-base.json")]
RunRules = Annotated[
    list[str] | None,
    Option(
        metavar="RULE",
        help="Exit with code 3 if RULE is violated: depth:loss:worse or network:loss:5%, and with --against also "
        "loss:worse, throughput:5%, failed, … as in compare. Repeatable.",
    ),
]
Resume = Annotated[bool, Option("--resume", help="Finish what the run directory still lacks.")]
Executor = Annotated[
    Literal["local", "inline", "ray"],
    Option(help="Worker processes, this process for debugging, or the machines of a Ray cluster."),
]
RayAddress = Annotated[
    str | None,
    Option(
        envvar="RAY_ADDRESS",
        metavar="HOST:PORT|auto",
        help="Address of a running Ray cluster. Default: start a private one on this machine.",
    ),
]
RayInsecure = Annotated[bool, Option("--ray-insecure", help="Accept a cluster that does not ask for a token.")]
CheckpointEvery = Annotated[float, Option(min=0.0, metavar="SECONDS", help="Maximum time between checkpoints.")]
KeepWeights = Annotated[
    bool, Option("--keep-weights", help="Keep the final weights beside the profile, for dnlbench diagnose.")
]
Detach = Annotated[bool, Option("--detach", help="Leave it to a process of its own, which outlives this terminal.")]

# Of ``dnlbench compare``

CompareRules = Annotated[
    list[str] | None,
    Option(
        metavar="RULE",
        help="Exit with code 3 if RULE is violated: loss:worse, throughput:5%, failed, …; within the candidate "
        "depth:loss:worse or network:loss:worse. Repeatable.",
    ),
]
Twin = Annotated[
    Path | None,
    Option(
        metavar="PROFILE", help="The reference run with train.nudge_ulps=1: measures rounding, which is no difference."
    ),
]
Match = Annotated[
    Literal["network", "depth"],
    Option(help="Compare points of equal network and depth, or two networks at equal depth."),
]
Networks = Annotated[
    str | None,
    Option(
        metavar="REFERENCE,CANDIDATE",
        help="With --match depth: the network of each side. Not needed if every profile has one network.",
    ),
]


def pack_size(text: str) -> int | None:
    """Read ``--pack``; None for ``auto``."""
    from dnlbench.engine.request import MOST
    from dnlbench.errors import ConfigurationError

    named = {"auto": None, "off": 1}
    if text in named:
        return named[text]
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST:
        return int(text)
    raise ConfigurationError(f"--pack {text}: write a whole number from 1 to {MOST}, auto or off")
