"""How long it takes to list many profiles, and to compare two of them, each as a whole process.

``python tests/benchmarks/profile_reading.py [PROFILES] [RUNS] [EPOCHS]``, by default 500 profiles of 40 runs with 30 epochs.
They are made from one of ``profiles/``, with figures varied so that no two are equal but for the summary, in a folder that
is removed again. Of the processes the fastest of five is printed, with that of ``dnlbench --version`` beside it, which does
nothing but start. Then the ways to read a profile are held against each other within one process, taking turns, as the time
of one file.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dnlbench.profiles import Profile, read_listed, read_profile, save_profile, summarize
from dnlbench.studies import STUDIES

MODEL = Path(__file__).parent.parent.parent / "profiles" / "digits-quick.json"
FIGURES = ("train_loss", "seconds", "samples_per_s", "gradient_norm")
REPETITIONS = 5


def main() -> None:
    """Makes the profiles and prints the times."""
    profiles, runs, epochs = (*map(int, sys.argv[1:4]), *(500, 40, 30)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_profiles(folder / "profiles", profiles, runs, epochs)
        size = sum(path.stat().st_size for path in paths)
        print(f"{profiles} profiles of {runs} runs with {epochs} epochs, {size / 2**20:.0f} MiB")
        for arguments in (["--version"], ["profiles", "list"], ["compare", *(str(path) for path in paths[:2])]):
            wall, cpu = fastest_process(arguments, folder)
            print(f"{wall:6.2f} s, {cpu:.2f} s of CPU  dnlbench {arguments[0]}")
        for reader, seconds in side_by_side((read_listed, read_profile, json_and_back), paths[:50]).items():
            print(f"{1000 * seconds:6.2f} ms a file  {reader}")


def make_profiles(folder: Path, count: int, runs: int, epochs: int) -> list[Path]:
    """Saves that many profiles, whose summaries are that of the first."""
    draw, model = random.Random(0), read_profile(MODEL)
    paths: list[Path] = []
    summary = model.summary
    for number in range(count):
        records = [_varied(model, place, epochs, draw) for place in range(runs)]
        content = {**model.model_dump(by_alias=True), "name": f"made-{number:03}", "runs": records}
        profile = Profile.model_validate(content)
        if not paths:  # it stands for those of all: the fits would take longer than everything else here
            summary = summarize(profile.runs, STUDIES[profile.study])
        paths.append(save_profile(profile.model_copy(update={"summary": summary}), folder / f"{profile.name}.json"))
    return paths


def _varied(model: Profile, place: int, epochs: int, draw: random.Random) -> dict[str, Any]:
    """A run of the model, again and again with other seeds, with figures a few per cent off."""
    base = model.runs[place % len(model.runs)]
    seed = base.seed + 100 * (place // len(model.runs))
    rows = []
    for number in range(epochs):
        row = base.epochs[number % len(base.epochs)].model_dump()
        rows.append(row | {"epoch": number + 1} | {name: row[name] * draw.uniform(0.95, 1.05) for name in FIGURES})
    changes = {
        "run_id": f"{base.network}-L{base.depth}-s{seed}-00000000",
        "seed": seed,
        "epochs": rows,
        "final_train_loss": rows[-1]["train_loss"],
        "samples_per_s": sum(row["samples_per_s"] * row["seconds"] for row in rows)
        / sum(row["seconds"] for row in rows),
    }
    return base.model_dump() | changes


def fastest_process(arguments: Sequence[str], folder: Path) -> tuple[float, float]:
    """Seconds from the start of dnlbench to its end, and seconds of CPU that it took."""
    times, cpu = [], []
    for _ in range(REPETITIONS):
        start, before = time.perf_counter(), os.times()
        subprocess.run(
            [sys.executable, "-m", "dnlbench", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        times.append(time.perf_counter() - start)
        after = os.times()
        cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(times), min(cpu)


def json_and_back(path: Path) -> Profile:
    """How profiles were read up to 0.5."""
    return Profile.model_validate_json(json.dumps(json.loads(path.read_bytes())))


def side_by_side(readers: Sequence[Callable[[Path], object]], paths: Sequence[Path]) -> dict[str, float]:
    """Seconds for a file, by the name of the reader; the lowest mean over the files of a few rounds."""
    best: dict[str, float] = {}
    for _ in range(REPETITIONS):
        for reader in readers:
            start = time.perf_counter()
            for path in paths:
                reader(path)
            seconds = (time.perf_counter() - start) / len(paths)
            best[reader.__name__] = min(seconds, best.get(reader.__name__, seconds))
    return best


if __name__ == "__main__":
    main()
