"""Custom networks with errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from dnlbench.errors import NetworkError
from dnlbench.events import DataInfo, RunEnded
from dnlbench.executor.capacity import ESTIMATE_TOLERANCE
from dnlbench.executor.worker import Worker
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.checkpoint import CheckpointError, Checkpoints
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.build import build_network, check_point
from dnlbench.runners.training.objectives import Outcome
from dnlbench.store import Execution, RunDir
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec

MakeSpec = Callable[..., TrainingSpec]
WriteModule = Callable[[str, str], None]
DATA = DataInfo(name="digits", sha256="ab" * 32, samples=150, input_shape=(1, 8, 8), classes=10)
CPU = torch.device("cpu")
TARGETS = torch.tensor([3, 7])
HEAD = "import torch, sys, os\nfrom torch import nn\nimport helper\ndef make(depth, input_shape, classes, network):\n"
"""Four lines."""
LINEAR = "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteModule]:
    """Write modules in the current folder, and unload them after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)

    write("helper", "def half(number):\n    return number // 2\ndef broken():\n    return 1 / 0\n")
    yield write
    for name in set(sys.modules) - before:
        if name in ("net", "helper"):
            del sys.modules[name]


def check(make_spec: MakeSpec, name: str = "net:make") -> None:
    spec = make_spec(f"sweep.networks=['{name}']")
    check_point(spec, Point(network=name, depth=1), DATA, CPU, Outcome.of(spec.train), TARGETS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    return nn.Sequential(\n", r"cannot be imported: SyntaxError: '\(' was never closed \(net.py:5\)$"),
        ("    pass\nhelper.broken()\n", r"cannot be imported: ZeroDivisionError: .* \(helper.py:4\)$"),
        ("    pass\nsys.exit(3)\n", r"cannot be imported: SystemExit: 3 \(net.py:6\)$"),
        ("    pass\nimport nowhere\n", r"cannot be imported: ModuleNotFoundError: No module .* \(net.py:6\)$"),
        ("    return helper.broken()\n", r"^net:make at depth 1 cannot be built: Zero.* \(helper.py:4\)$"),
        ("    sys.exit('no')\n", r"^net:make at depth 1 cannot be built: SystemExit: no \(net.py:5\)$"),
        ("    return 3\n", r"^net:make returns an int; it must return a torch.nn.Module$"),
        ("    return nn.Linear(3, classes)\n", r"fails on 2 images of shape \(1, 8, 8\): RuntimeError: mat1 and mat2"),
        (
            "    class Net(nn.Linear):\n        def forward(self, x):\n            return super().forward(x)\n"
            "    return Net(3, classes)\n",
            r"RuntimeError: mat1 and mat2 .* \(net.py:7\)$",
        ),
        (
            "    class Net(nn.Flatten):\n        def get_extra_state(self): return Note()\n"
            "    return nn.Sequential(Net(), nn.Linear(64, classes))\nclass Note: pass\n",
            r"its state_dict\(\) cannot be read back from a checkpoint because of a net.Note; get_extra_state\(\) must return",
        ),
        (
            "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n    net[0].unused = nn.LazyLinear(3)\n"
            "    return net\n",
            "has lazy layers that its forward pass does not use",
        ),
    ],
)
def test_errors_in_custom_code_name_file_and_line(
    write_module: WriteModule, make_spec: MakeSpec, body: str, message: str
) -> None:
    write_module("net", HEAD + body)
    with pytest.raises(NetworkError, match=message):
        check(make_spec)


def test_lazy_layers_get_their_weights_from_the_seed_and_their_statistics_from_training(
    write_module: WriteModule, make_spec: MakeSpec
) -> None:
    write_module(
        "net",
        HEAD + "    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Dropout(), "
        "nn.LazyLinear(classes))\n    net[3].eval()\n    return net\n",
    )
    spec, point = make_spec("sweep.networks=['net:make']"), Point(network="net:make", depth=1)
    check_point(spec, point, DATA, CPU, Outcome.of(spec.train), TARGETS)
    result = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        result.append(build_network(spec, point, DATA))
    assert isinstance(result[0], nn.Sequential)
    assert [module.training for module in result[0]] == [True, True, True, False, True]
    assert sum(p.numel() for p in result[0].parameters()) == 65 * 5 + 10 + 60
    assert all(parameter.requires_grad for parameter in result[0].parameters())
    first, again, other = (network.state_dict() for network in result)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["1.weight"], other["1.weight"])
    assert torch.equal(first["2.running_mean"], torch.zeros(5))
    assert int(first["2.num_batches_tracked"]) == 0


@pytest.mark.usefixtures("one_thread")
def test_a_network_does_not_change_how_others_are_trained(write_module: WriteModule, make_spec: MakeSpec) -> None:
    changes = (
        "torch.set_num_threads(3)\n",
        "torch.set_default_dtype(torch.float64)\n",
        "torch.backends.cudnn.benchmark = True\n",
        "torch.set_float32_matmul_precision('high')\n",
        "torch.backends.cudnn.allow_tf32 = True\n",
    )
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    matmul.fp32_precision = convolution.fp32_precision = "ieee"
    write_module(
        "net", "import torch\n" + "".join(changes) + HEAD + "".join(f"    {line}" for line in changes) + LINEAR
    )
    torch.backends.cudnn.benchmark = False
    with pytest.raises(NetworkError, match="same dtype"):
        check(make_spec)  # of double precision, which images are not
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (1, torch.float32)
    assert (torch.backends.cudnn.benchmark, matmul.fp32_precision, convolution.fp32_precision) == (
        False,
        "ieee",
        "ieee",
    )


def test_a_network_that_wants_to_end_the_process_ends_its_run(
    write_module: WriteModule, make_spec: MakeSpec, slot: Slot, tmp_path: Path
) -> None:
    write_module(
        "net",
        HEAD + "    return Ending(nn.Flatten(), nn.Linear(64, classes))\nclass Ending(nn.Sequential):\n"
        "    def forward(self, x):\n        if self.training: sys.exit(3)\n        return super().forward(x)\n",
    )
    plan = Plan(make_spec("sweep.networks=['net:make']", "sweep.depths=[1]", "sweep.seeds=1"))
    run_dir = RunDir(tmp_path / "rd")
    run_dir.begin(plan, HOW)
    *_, ended = Worker(run_dir, slot, 30.0).run({plan.runs[0].run_id: 1})
    assert isinstance(ended, RunEnded)
    assert ended.error is not None
    assert (ended.status, ended.error.type, ended.error.message) == ("failed", "SystemExit", "3")
    assert "net.py" in (ended.error.log or "")


class Unreadable:
    """A value that checkpoints cannot restore."""


def test_a_state_that_cannot_be_read_back_is_refused_at_the_first_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match=r"because of a [\w.]+\.Unreadable; get_extra_state"):
        checkpoints.save({"network": {"_extra_state": Unreadable()}})
    assert list(tmp_path.iterdir()) == []
    checkpoints.save({"network": {"_extra_state": [1, {"a": 0.5}]}})
    assert checkpoints.load() == {"network": {"_extra_state": [1, {"a": 0.5}]}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("        if self.training: helper.broken()\n        return x.flatten(1) @ self.weight\n", r"helper\.py:4"),
        ("        return Backward.apply(x.flatten(1) @ self.weight)\n", r"net\.py:13"),
    ],
)
def test_errors_in_training_are_found_before_the_first_run(
    write_module: WriteModule, make_spec: MakeSpec, slot: Slot, body: str, message: str
) -> None:
    write_module(
        "net",
        "import helper\nimport torch\nfrom torch import nn\n\n"
        "class Backward(torch.autograd.Function):\n"
        "    @staticmethod\n    def forward(ctx, x):\n        return x.clone()\n\n"
        "    @staticmethod\n    def backward(ctx, gradient):\n"
        "        # line 12\n        raise LookupError('a bug')\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.ones(64, 10))\n"
        f"    def forward(self, x):\n{body}"
        "def make(depth, input_shape, classes, network):\n    return Net()\n",
    )
    plan = Plan(make_spec("sweep.networks=['net:make']", "sweep.depths=[1]", "sweep.seeds=1"))
    with pytest.raises(
        NetworkError, match=rf"net:make at depth 1 fails in training on 2 or 3 samples: .*\({message}\)$"
    ):
        TrainingRunner(plan, slot).prepare()


LAYERS = {
    "convolutions": "[nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 9, 3), nn.Flatten(), "
    "nn.LazyLinear(10)]",
    "large weights": "[nn.Flatten(), nn.Linear(64, 2048), nn.ReLU(), nn.Linear(2048, 64), nn.ReLU(), nn.Linear(64, 10)]",
}


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_the_memory_of_a_custom_network_is_extrapolated_from_a_few_samples(
    write_module: WriteModule, make_spec: MakeSpec, slot: Slot, layers: str
) -> None:
    write_module("net", f"{HEAD}    return nn.Sequential(*{layers})\n")
    plan = Plan(make_spec("sweep.networks=['net:make']", "sweep.depths=[1]", "sweep.seeds=1"))
    runner = TrainingRunner(plan, slot)
    (memory,) = runner.prepare().memory
    assert (memory.network, memory.depth) == ("net:make", 1)
    assert memory.step_bytes == pytest.approx(runner.setup.warm_up(plan.runs), rel=ESTIMATE_TOLERANCE)
