"""Profiles for reports: several depths, curves over epochs, failed runs, and names that contain markup."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dnlbench.profiles import EpochRecord, Profile, RunRecord, summarize
from dnlbench.studies.training import TRAINING

MakeProfile = Callable[..., Profile]
MakeSweep = Callable[..., Profile]
NASTY = (
    "</script><img src=x onerror=\"alert(1)\"><!-- & | ` \\ $x_1$ 100% #1 ~^{} 'quoted'\n"
    + "\x1b[31mred\x1b[0m \x00\x0b\ufffe ]]>"
)
"""Hostile content of names, messages and logs."""
NO_PATH = dict.fromkeys(map(ord, "/\\\x00"), "-")
"""Hostile text that is valid in a file name, because a run id is part of one."""
LOG = "first line\n" + "\n".join(f"line {k} of <b>many</b>" for k in range(60)) + f"\n{NASTY}"


def _loss(network: str, depth: int, seed: int, epoch: int, factor: float) -> float:
    """Return losses that decrease with epochs and depth to ``0.02 + 0.1 / depth``, with 1 % difference per seed."""
    limit = 0.02 + 0.1 / depth
    return (
        factor
        * (limit + 2 / (1 + epoch * (1 + 0.1 * len(network))))
        * (1 + 0.01 * ((seed * 7 + depth * 3 + epoch) % 5))
    )


@pytest.fixture
def make_sweep(make_profile: MakeProfile) -> MakeSweep:
    """Return a factory of synthetic training sweeps; ``bad`` sets the status of runs by network, depth and seed."""

    def make(
        networks: tuple[str, ...] = ("densenet", "dense-gaussian"),
        depths: tuple[int, ...] = (2, 4, 8, 16),
        *,
        seeds: int = 3,
        epochs: int = 6,
        factor: float = 1.0,
        rate: float = 1000.0,
        bad: Mapping[tuple[str, int, int], str] | None = None,
        **changes: Any,
    ) -> Profile:
        runs = [
            _run(network, depth, seed, epochs, factor, rate, (bad or {}).get((network, depth, seed), "ok"))
            for network in networks
            for depth in depths
            for seed in range(seeds)
        ]
        unfinished = any(run.status in ("cancelled", "skipped") for run in runs)
        base = make_profile({(networks[0], depths[0]): [0.5]})
        fields = {
            "runs": tuple(runs),
            "summary": summarize(runs, TRAINING),
            "state": "partial" if unfinished else "complete",
        }
        return base.model_copy(update={**fields, **changes})

    return make


def _run(network: str, depth: int, seed: int, epochs: int, factor: float, rate: float, status: str) -> RunRecord:
    done = {"ok": epochs, "skipped": 0}.get(status, epochs // 2)
    speed = rate * 2 / depth * (1 + 0.004 * ((seed * 5 + depth) % 7))
    records = [
        EpochRecord(
            epoch=epoch,
            train_loss=_loss(network, depth, seed, epoch, factor),
            seconds=150 / speed,
            samples_per_s=speed,
            gradient_norm=0.5,
        )
        for epoch in range(1, done + 1)
    ]
    errors = {
        "failed": {"type": "RuntimeError", "message": NASTY, "log": LOG},
        "oom": {"type": "OutOfMemoryError", "message": "out of memory: tried to allocate 2 GiB", "log": None},
        "diverged": {"type": "DivergedError", "message": "the loss is NaN in epoch 4", "log": "loss: nan"},
    }
    started = status != "skipped"
    return RunRecord.model_validate(
        {
            "run_id": f"{network.translate(NO_PATH)}-L{depth}-s{seed}-00000000",
            "network": network,
            "depth": depth,
            "seed": seed,
            "status": status,
            "device": "cpu" if started else None,
            "device_name": "A CPU" if started else None,
            "threads": 1 if started else None,
            "jobs": 1 if started else None,
            "pack_size": 1 if started else None,
            "parameters": 100 * depth if started else None,
            "epochs": records,
            "final_train_loss": records[-1].train_loss if records else None,
            "samples_per_s": speed if records else None,
            "peak_memory_bytes": 2**20 * depth + 4096 * seed if records else None,
            "attempts": [
                {
                    "attempt": 1,
                    "started": "2026-11-20T12:00:00Z",
                    "ended": "2026-11-20T12:00:02.500Z",
                    "status": status,
                    "device": "cpu",
                }
            ]
            if started
            else [],
            "error": errors.get(status),
        }
    )


def _browser_module() -> ModuleType:
    """Load a helper module by path, because test folders are not packages."""
    spec = importlib.util.spec_from_file_location("report_browser", Path(__file__).with_name("browser.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["report_browser"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Return a cache shared by the tests of a module."""
    return {}


@pytest.fixture
def nasty() -> str:
    """Return a name, message or log that contains markup."""
    return NASTY


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a browser; skip the test if none is installed."""
    module = _browser_module()
    program = module.find_browser()
    if program is None:
        pytest.skip(f"no {' or '.join(module.NAMES)} on the PATH")
    opened = module.Browser(program, tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()
