"""What dnlbench's training path gains over the plain script that one would write without it.

Called from the repository's root, on a machine that does nothing else::

    python -m tests.benchmarks.training_speed run     [--depths 8 16 32] [--network dense-attention]
    python -m tests.benchmarks.training_speed losses  [--depths 8]
    python -m tests.benchmarks.training_speed sweep   [--rounds 3]
    python -m tests.benchmarks.training_speed memory  [--depths 16 32 64]

``run`` times training steps of one run, ``losses`` shows that both compute the same, ``sweep`` times twelve runs as a user
would start them, each side as a command of its own, and ``memory`` measures the peak of a training step and how what the step
keeps for its backward pass grows with depth. ``--help`` has the rest.

Both sides take turns, so that what else the machine does falls on both, and only ratios count. Both train on dnlbench's
synthetic images: the real thing needs a download. For dnlbench its own runner trains, with whatever it selects. A utilisation
is the operations that the network needs, counted from its architecture, over those that the machine does in a product of
square matrices in the same precision. Figures in brackets are the smallest and the largest of all rounds.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch

import dnlbench
from dnlbench import units
from dnlbench.events import EpochDone
from dnlbench.machine import Slot, cpu_device
from dnlbench.plan import Plan, Run
from dnlbench.runners.base import Job, Member
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.data import epoch_order
from dnlbench.runners.training.memory import step_memory_bytes
from dnlbench.runners.training.progress import Tally
from dnlbench.runners.training.utilization import matrix_peak
from dnlbench.spec import parse_spec
from dnlbench.stats import fit_exponent
from tests.benchmarks import plain_script
from tests.benchmarks.names import plain_names

SAMPLES = 4000
PRECISIONS = ("fp32", "bf16")
SPEC = """
name = "speed"
[sweep]
networks = ["{network}"]
depths = {depths}
seeds = {seeds}
[data]
dataset = "synthetic"
samples = {samples}
[train]
epochs = {epochs}
precision = "{precision}"
"""
SIDES = ("plain", "dnlbench")


def main() -> None:
    """Does what the command line asks for."""
    chosen = _parser().parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.do(chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="dnlbench's training path against a plain script.")
    commands = parser.add_subparsers(required=True)
    for name, do, depths, rounds in (
        ("run", _tell_run, [8, 16, 32], 5),
        ("losses", _tell_losses, [8], 1),
        ("sweep", _tell_sweep, [4, 8, 16], 3),
        ("memory", _tell_memory, [16, 32, 64], 1),
    ):
        command = commands.add_parser(name)
        command.set_defaults(do=do)
        command.add_argument("--network", choices=plain_script.NETWORKS, default="densenet")
        command.add_argument("--depths", type=int, nargs="+", default=depths)
        command.add_argument("--samples", type=int, default=SAMPLES, help="of an epoch")
        command.add_argument("--threads", type=int, default=2, help="of both sides; sweep leaves them to each")
        command.add_argument("--rounds", type=int, default=rounds, help="of run and sweep")
        command.add_argument("--batches", type=int, default=4, help="of run, in a round")
        command.add_argument("--seeds", type=int, default=4, help="of sweep")
        command.add_argument("--epochs", type=int, default=1, help="of losses and sweep")
        command.add_argument("--precisions", choices=PRECISIONS, nargs="+", default=PRECISIONS, help="of run")
    return parser


# The two sides


@dataclass(frozen=True, kw_only=True)
class Ours:
    """Dnlbench's runner with a run of a point, on the synthetic images."""

    runner: TrainingRunner
    run: Run

    def steps(self) -> Iterator[Callable[[], object]]:
        """Training steps of a learner of its own, without end."""
        setup, samples = self.runner.setup, len(self.runner.data.training)
        learner = setup.learner([self.run])
        learner.network.train()
        step = setup.step([self.run], learner, Tally.start(torch.device("cpu"), 1))
        for epoch in itertools.count(1):
            for indices in torch.split(epoch_order(samples, self.run.seed, epoch), plain_script.BATCH_SIZE):
                if len(indices) == plain_script.BATCH_SIZE:
                    yield partial(step, indices.unsqueeze(0))

    def step_bytes(self) -> int:
        """As the runner measures it before a run."""
        return self.runner.setup.warm_up([self.run])

    def flops(self) -> float:
        """Of training on one sample."""
        found = self.runner.setup.flops(self.run)
        assert found is not None, "ours are counted"
        return found

    def losses(self) -> list[float]:
        """Of each epoch of the whole run."""
        with tempfile.TemporaryDirectory() as folder:
            job = Job(
                members=(Member(run=self.run, attempt=1, folder=Path(folder), epochs_known=0),),
                should_suspend=lambda: False,
            )
            return [event.train_loss for event in self.runner.run(job) if isinstance(event, EpochDone)]


@dataclass(frozen=True, kw_only=True)
class Plain:
    """The plain script, on the same images with the same initial weights."""

    ours: Ours
    bf16: bool

    @property
    def images(self) -> plain_script.Images:
        """As a user has them, (N, H, W, C)."""
        return plain_script.Images(*_arrays(self.ours.runner))

    def network(self) -> plain_script.Network:
        """With the weights that dnlbench's has."""
        network = plain_script.Network(self.ours.run.point.network, self.ours.run.point.depth)
        network.load_state_dict(plain_names(self.ours.runner.setup.learner([self.ours.run]).network.state_dict()))
        return network.train()

    def steps(self) -> Iterator[Callable[[], object]]:
        """Training steps, each with its batch from the loader, without end."""
        network = self.network()
        optimizer, loader = plain_script.make_optimizer(network), plain_script.make_loader(self.images)
        while True:
            batches = iter(loader)

            def step(batches: Iterator[Sequence[torch.Tensor]] = batches) -> None:
                images, labels = next(batches)
                plain_script.train_step(network, optimizer, images, labels, bf16=self.bf16)

            for _ in range(len(self.images) // plain_script.BATCH_SIZE):
                yield step

    def step_bytes(self) -> int:
        """Of a step that is not the first, so that there is momentum."""
        network = self.network()
        optimizer, loader = plain_script.make_optimizer(network), plain_script.make_loader(self.images)
        images, labels = next(iter(loader))

        def step() -> None:
            plain_script.train_step(network, optimizer, images, labels, bf16=self.bf16)

        step()
        optimizer.zero_grad()
        return step_memory_bytes(torch.device("cpu"), _held(network, optimizer), step)

    def losses(self) -> list[float]:
        """Of each epoch, with batches in dnlbench's order."""
        network = self.network()
        optimizer, images, found = plain_script.make_optimizer(network), self.images, []
        for epoch in range(1, self.ours.run.epochs + 1):
            order = epoch_order(len(images), self.ours.run.seed, epoch).tolist()
            found.append(plain_script.train_epoch(network, optimizer, plain_script.make_loader(images, order)))
        return found


def _sides(chosen: argparse.Namespace, depth: int, precision: str = "fp32") -> tuple[Plain, Ours]:
    text = _spec(chosen, [depth], precision, seeds=1)
    plan = Plan(parse_spec(text, "speed.toml", ()))
    slot = Slot(name="cpu/0", device=cpu_device(), threads=chosen.threads)
    ours = Ours(runner=TrainingRunner(plan, slot), run=plan.runs[0])
    return Plain(ours=ours, bf16=precision == "bf16"), ours


def _spec(chosen: argparse.Namespace, depths: Sequence[int], precision: str, *, seeds: int) -> str:
    return SPEC.format(
        network=chosen.network,
        depths=list(depths),
        seeds=seeds,
        samples=chosen.samples,
        epochs=chosen.epochs,
        precision=precision,
    )


def _arrays(runner: TrainingRunner) -> tuple[np.ndarray, list[int]]:
    split = runner.data.training
    return np.ascontiguousarray(split.inputs.permute(0, 2, 3, 1).numpy()), split.targets.tolist()


def _held(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    moments = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    return [*network.parameters(), *network.buffers(), *moments]


# run


def _tell_run(chosen: argparse.Namespace) -> None:
    for precision in chosen.precisions:
        peak = matrix_peak(torch.device("cpu"), precision)
        print(f"{precision}: matrix products reach {units.count(peak)} FLOP/s on {chosen.threads} threads")
        for depth in chosen.depths:
            _tell_point(chosen, depth, precision, peak)
            gc.collect()


def _tell_point(chosen: argparse.Namespace, depth: int, precision: str, peak: float) -> None:
    plain, ours = _sides(chosen, depth, precision)
    title, flops = f"{chosen.network} L={depth} {precision}", ours.flops()
    bytes_ = {"dnlbench": ours.step_bytes()}
    steps = {"dnlbench": ours.steps()}
    needed = _naive_bytes(plain)
    if needed < 0.8 * psutil.virtual_memory().available:
        bytes_["plain"] = plain.step_bytes()
        steps["plain"] = plain.steps()
    else:
        print(f"{title}  plain: not run, its kernel matrices alone take {units.size(needed)}")
    seconds = _taking_turns({side: steps[side] for side in SIDES if side in steps}, chosen.rounds, chosen.batches)
    samples = chosen.batches * plain_script.BATCH_SIZE
    for side, each in seconds.items():
        rate = samples / statistics.median(each)
        print(
            f"{title}  {side:8s}  {_spread([samples / s for s in each])} samples/s  {_spread(each)} s  "
            f"{units.size(bytes_[side]):>9s}  utilisation {units.percent(rate * flops / peak)}"
        )
    if "plain" in seconds:
        ratios = [p / d for p, d in zip(seconds["plain"], seconds["dnlbench"], strict=True)]
        print(
            f"{title}  plain / dnlbench: time × {_spread(ratios)}, memory × {bytes_['plain'] / bytes_['dnlbench']:.2f}"
        )


def _naive_bytes(plain: Plain) -> int:
    """Of the kernel matrices that the plain script keeps for the backward pass, one for each consumer of a state.

    In bfloat16 the softmax gives float32, of which the product that follows makes a copy.
    """
    point, data = plain.ours.run.point, plain.ours.runner.data.info
    if point.network == "densenet":
        return 0
    pixels = [data.input_shape[1] * data.input_shape[2] // 4**block for block in range(4)]
    consumers = point.depth * (point.depth + 1) // 2
    return int(sum(n * n for n in pixels) * consumers * plain_script.BATCH_SIZE * (6 if plain.bf16 else 4))


def _taking_turns(
    sides: dict[str, Iterator[Callable[[], object]]], rounds: int, batches: int
) -> dict[str, list[float]]:
    """Seconds of each round of each side; the first steps are not counted."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for steps in sides.values():
        _do(steps, 2)
    for _ in range(rounds):
        for side, steps in sides.items():
            seconds[side].append(_do(steps, batches))
    return seconds


def _do(steps: Iterator[Callable[[], object]], count: int) -> float:
    chosen = [next(steps) for _ in range(count)]
    start = time.perf_counter()
    for step in chosen:
        step()
    return time.perf_counter() - start


def _spread(values: Sequence[float]) -> str:
    """Median, and all that there is."""
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


# losses


def _tell_losses(chosen: argparse.Namespace) -> None:
    for depth in chosen.depths:
        plain, ours = _sides(chosen, depth)
        for epoch, (theirs, own) in enumerate(zip(plain.losses(), ours.losses(), strict=True), start=1):
            print(
                f"{chosen.network} L={depth} epoch {epoch}: plain {theirs:.8f}, dnlbench {own:.8f}, "
                f"relative difference {abs(theirs - own) / theirs:.1e}"
            )


# sweep


def _tell_sweep(chosen: argparse.Namespace) -> None:
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    runs = len(chosen.depths) * chosen.seeds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_images(chosen, folder / "images.npz")
        (folder / "speed.toml").write_text(_spec(chosen, chosen.depths, "fp32", seeds=chosen.seeds))
        for number in range(1, chosen.rounds + 1):
            for side, command in (("plain", _plain_command(chosen)), ("dnlbench", _our_command(number))):
                seconds[side].append(_wall_seconds(command, folder))
                print(f"round {number}: {side:8s}  {seconds[side][-1]:.1f} s for {runs} runs", flush=True)
    for side, each in seconds.items():
        rates = [runs * chosen.epochs * chosen.samples / s for s in each]
        print(f"{side:8s}  {_spread(each)} s, {_spread(rates)} samples/s")
    ratios = [p / d for p, d in zip(seconds["plain"], seconds["dnlbench"], strict=True)]
    print(f"plain / dnlbench: time × {_spread(ratios)}")


def _write_images(chosen: argparse.Namespace, path: Path) -> None:
    _, ours = _sides(chosen, chosen.depths[0])
    images, labels = _arrays(ours.runner)
    np.savez(path, images=images, labels=labels)


def _plain_command(chosen: argparse.Namespace) -> list[str]:
    script = Path(plain_script.__file__).resolve()
    axes = ["--depths", *map(str, chosen.depths), "--seeds", str(chosen.seeds), "--epochs", str(chosen.epochs)]
    return [sys.executable, str(script), "images.npz", "--network", chosen.network, *axes]


def _our_command(number: int) -> list[str]:
    """With its default settings, and a run directory of its own so that nothing is done already."""
    return [sys.executable, "-m", "dnlbench", "run", "speed.toml", "--quiet", "--run-dir", f"run-{number}"]


def _wall_seconds(command: Sequence[str], folder: Path) -> float:
    root = str(Path(dnlbench.__file__).resolve().parent.parent)
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": root})
    return time.perf_counter() - start


# memory


def _tell_memory(chosen: argparse.Namespace) -> None:
    activations: dict[str, dict[int, int]] = {side: {} for side in SIDES}
    for depth in chosen.depths:
        plain, ours = _sides(chosen, depth)
        peaks = {"plain": plain.step_bytes(), "dnlbench": ours.step_bytes()}
        kept = 3 * sum(p.nbytes for p in plain.network().parameters())
        for side, peak in peaks.items():
            activations[side][depth] = peak - kept
        print(
            f"{chosen.network} L={depth}: plain {units.size(peaks['plain'])}, dnlbench {units.size(peaks['dnlbench'])}, "
            f"ratio {peaks['plain'] / peaks['dnlbench']:.2f}",
            flush=True,
        )
        gc.collect()
    if len(chosen.depths) > 1:
        for side, by_depth in activations.items():
            exponent = fit_exponent(list(by_depth), list(by_depth.values()))
            shown = ", ".join(f"L={depth} {units.size(value)}" for depth, value in by_depth.items())
            print(f"{side:8s}  activations ~ L^{exponent:.2f}: {shown}")


if __name__ == "__main__":
    main()
