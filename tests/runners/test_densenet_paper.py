"""The preset densenet-paper, compared with the architecture of Huang et al. 2017 written out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import DenseNet as TorchvisionDenseNet

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.events import EpochDone, NetworkMeasured, RunEnded, RunStarted
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.base import Job, Member
from dnlbench.runners.training import TrainingRunner
from dnlbench.spec import parse_spec, read_preset
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec

BC = ("network.bottleneck=true", "network.compression=0.5", "network.stem=none")
WIDE = "network.growth_rate=24"
TABLE = {  # Table 2 of the paper: total depth L, growth rate k, parameters in millions with the paper's digits
    "L=40, k=12": (40, 12, False, 1.0, ()),
    "L=100, k=12": (100, 12, False, 7.0, ()),
    "L=100, k=24": (100, 24, False, 27.2, (WIDE,)),
    "BC, L=100, k=12": (100, 12, True, 0.8, BC),
    "BC, L=250, k=24": (250, 24, True, 15.3, (*BC, WIDE)),
}


def preset(*changes: str) -> TrainingSpec:
    spec = parse_spec(read_preset("densenet-paper").text, "densenet-paper", changes)
    assert isinstance(spec, TrainingSpec)
    return spec


def conv(inputs: int, outputs: int, size: int) -> list[nn.Module]:
    """Composite function of section 3 of the paper: batch norm, ReLU and a convolution without bias."""
    return [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)]


class Concatenated(nn.Sequential):
    """A layer whose output is appended to its input."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, super().forward(x)], dim=1)  # type: ignore[no-untyped-call]


def paper(total_depth: int, k: int, *, bc: bool) -> nn.Module:
    """The network of section 3 of the paper ("Implementation Details"), for CIFAR-10."""
    layers = (total_depth - 4) // (6 if bc else 3)
    channels = 2 * k if bc else 16
    parts: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
    for block in range(3):
        for _ in range(layers):
            inner = conv(channels, 4 * k, 1) + conv(4 * k, k, 3) if bc else conv(channels, k, 3)
            parts.append(Concatenated(*inner))
            channels += k
        if block < 2:
            kept = channels // 2 if bc else channels
            parts += [*conv(channels, kept, 1), nn.AvgPool2d(2)]
            channels = kept
    head = [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    return nn.Sequential(*parts, *head)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("row", TABLE)
def test_parameters_are_those_of_the_papers_table(row: str) -> None:
    total_depth, k, bc, millions, changes = TABLE[row]
    depth = (total_depth - 4) // (6 if bc else 3)
    plan = Plan(preset(f"sweep.depths={depth}", *changes))
    with torch.device("meta"):
        expected = count(paper(total_depth, k, bc=bc))
        options = plan.spec.network.model_dump(exclude={"options", "attention_initialization"})  # type: ignore[attr-defined]
        network = DNLNetwork("densenet", depth=depth, input_shape=(3, 32, 32), classes=10, **options)
    estimate = plan.estimate(Point(network="densenet", depth=depth))
    assert estimate.parameters == count(network) == expected
    assert round(expected / 1e6, 1) == millions
    digits = 0.05 if millions < 5 else 0.05 / millions  # relative: the table has one digit after the point
    assert expected / 1e6 == pytest.approx(millions, rel=max(0.01, digits))


def test_known_counts_of_other_implementations() -> None:
    with torch.device("meta"):
        assert count(paper(40, 12, bc=False)) == 1_019_722
        assert count(paper(100, 12, bc=True)) == 769_162
        torchvision = TorchvisionDenseNet(12, (16, 16, 16), num_init_features=24, num_classes=10)
        stem = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    removed = (torchvision.features.conv0, torchvision.features.norm0)  # of ImageNet: 7×7 convolution and norm
    assert count(torchvision) - sum(map(count, removed)) + count(stem) == 769_162


@pytest.mark.parametrize(("total_depth", "k", "bc"), [(13, 12, False), (22, 12, True)])
def test_the_function_is_that_of_the_paper(total_depth: int, k: int, bc: bool) -> None:
    spec = preset("sweep.depths=3", *(BC if bc else ()))
    options = spec.network.model_dump(exclude={"options", "attention_initialization", "implementation"})
    ours = DNLNetwork("densenet", depth=3, input_shape=(3, 32, 32), classes=10, implementation="standard", **options)
    reference = paper(total_depth, k, bc=bc)
    for theirs, mine in zip(reference.parameters(), ours.parameters(), strict=True):
        theirs.data.copy_(mine)
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(ours(images), reference(images), rtol=1e-4, atol=1e-5)


def test_the_preset_is_the_papers_protocol() -> None:
    spec = preset()
    train, data = spec.train, spec.data
    assert (train.epochs, train.batch_size, train.lr, train.momentum, train.nesterov) == (300, 64, 0.1, 0.9, True)
    assert train.milestones == (train.epochs // 2, train.epochs * 3 // 4)
    assert (train.step_factor, train.weight_decay) == (0.1, 1e-4)
    assert (data.dataset, data.augment, data.crop_padding, data.normalize) == ("cifar10", ("crop", "flip"), 4, True)
    assert 12 in spec.sweep.depths
    plan = Plan(spec)
    assert len(plan.runs) == 12
    assert all((plan.estimate(point).memory_bytes or 0) > 0 for point in spec.points)


SYNTHETIC = ("data.dataset=synthetic", "data.samples=128", "train.epochs=1", "sweep.seeds=1")


def two_steps(slot: Slot, folder: Path, depth: int) -> Iterator[object]:
    """Yield the events of two training steps on random images of CIFAR's shape."""
    plan = Plan(preset(*SYNTHETIC, f"sweep.depths={depth}"))
    (run,) = plan.runs
    runner = TrainingRunner(plan, slot)
    assert runner.prepare().data.input_shape == (3, 32, 32)
    member = Member(run=run, attempt=1, folder=folder, epochs_known=0)
    return runner.run(Job(members=(member,), should_suspend=lambda: False))


@pytest.mark.parametrize("depth", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_two_steps_of_the_preset(slot: Slot, tmp_path: Path, depth: int) -> None:
    events = list(two_steps(slot, tmp_path, depth))
    (started,) = (event for event in events if isinstance(event, RunStarted))
    (epoch,) = (event for event in events if isinstance(event, EpochDone))
    (ended,) = (event for event in events if isinstance(event, RunEnded))
    measured = [event for event in events if isinstance(event, NetworkMeasured)]
    assert depth < 12 or started.parameters == 1_019_722
    assert ended.status == "ok"
    assert 0.5 * math.log(10) < epoch.train_loss < 3 * math.log(10)
    assert 0 <= (epoch.value("evaluation_accuracy") or 0) <= 1
    assert [event.stage for event in measured] == ["start", "final"]
