"""Learning rates that follow depth: steps against explicit loops, batched seeds, resuming, and refused networks."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import SpecError
from dnlbench.events import EpochDone
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.base import Job, Member
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.depth_lr import Factors, depth_factors
from dnlbench.runners.training.learner import Learner
from dnlbench.runners.training.pack import PackLearner
from dnlbench.spec import parse_spec
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec

MakePlan = Callable[..., Plan]
SPEC = """
name = "depth"
[sweep]
networks = ["resnet"]
depths = [8]
[network]
blocks = 1
growth_rate = 2
base_depth = 2
[train]
depth_lr = "matched"
lr = 0.1
"""
M = 4.0
"""8 layers are 4 times the base depth."""
POINT = Point(network="resnet", depth=8)


def spec_of(*overrides: str) -> TrainingSpec:
    spec = parse_spec(SPEC, "spec.toml", overrides)
    assert isinstance(spec, TrainingSpec)
    return spec


def build(spec: TrainingSpec, seed: int = 0, name: str = "resnet") -> DNLNetwork:
    torch.manual_seed(seed)
    settings = spec.network.model_dump(exclude={"attention_initialization", "options"})
    return DNLNetwork(name, depth=8, input_shape=(1, 4, 4), classes=3, **settings).double()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(6, 1, 4, 4, generator=generator, dtype=torch.float64), torch.arange(6) % 3


def train(learner: Learner, steps: int = 3) -> Learner:
    images, labels = batch()
    learner.network.train()
    for _ in range(steps):
        learner.optimizer.zero_grad()
        learner.backward(learner.losses(images.expand(learner.size, *images.shape), labels.expand(learner.size, -1)))
        learner.optimizer.step()
    return learner


def explicit(network: nn.Module, spec: TrainingSpec, factors: Callable[[str], tuple[float, float]]) -> nn.Module:
    """Train as `train` does, parameter by parameter. ``factors`` returns those of rate and epsilon by name."""
    settings, (images, labels) = spec.train, batch()
    velocity: dict[str, Tensor] = {}
    first, second = dict[str, Tensor](), dict[str, Tensor]()
    for step in range(1, 4):
        network.zero_grad()
        functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for name, w in network.named_parameters():
                assert w.grad is not None
                rate, eps = factors(name)
                lr, g = settings.lr * rate, w.grad
                decay = settings.weight_decay / rate
                if settings.optimizer == "sgd":
                    g = g + decay * w
                    velocity[name] = settings.momentum * velocity.get(name, torch.zeros_like(w)) + g
                    w.sub_(lr * velocity[name])
                    continue
                w.sub_(settings.lr * settings.weight_decay * w)  # rate × decay is that of the base depth
                first[name] = 0.9 * first.get(name, torch.zeros_like(w)) + 0.1 * g
                second[name] = 0.999 * second.get(name, torch.zeros_like(w)) + 0.001 * g * g
                root = (second[name] / (1 - 0.999**step)).sqrt() + settings.eps * eps
                w.sub_(lr * first[name] / (1 - 0.9**step) / root)
    return network


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_steps_are_those_of_an_explicit_loop(optimizer: str, alpha: float) -> None:
    overrides = ["train.eps=1e-3"] if optimizer == "adamw" else []
    spec = spec_of(
        f"network.step_scaling={alpha}", f"train.optimizer={optimizer}", "train.weight_decay=0.01", *overrides
    )
    network = build(spec)
    expected = explicit(deepcopy(network), spec, lambda name: in_blocks(name, optimizer, alpha))
    learner = train(Learner(network, spec.train, depth_factors(spec, POINT, network)))
    assert len(learner.rates) == (1 if (optimizer, alpha) == ("sgd", 0.5) else 2)
    for ours, theirs in zip(learner.parameters, expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def in_blocks(name: str, optimizer: str, alpha: float) -> tuple[float, float]:
    """Return the factors on rate and epsilon: depth-µP and CompleteP for Adam, η m^(2α − 1) for SGD."""
    if not name.startswith("features.1.layers."):
        return 1.0, 1.0
    rates = {("sgd", 0.5): 1.0, ("sgd", 1.0): M, ("adamw", 0.5): M**-0.5, ("adamw", 1.0): 1.0}
    return rates[optimizer, alpha], {0.5: M**-0.5, 1.0: M**-1}[alpha]


def test_sgd_moves_the_function_as_absorbed_steps_at_a_rate_over_m_do() -> None:
    """``x + s conv(W)`` with rate η' is ``x + conv(s W)`` with rate s² η': for every alpha η / m on the filters."""
    outputs = []
    for alpha in (0.5, 1.0):
        spec = spec_of(f"network.step_scaling={alpha}", "train.momentum=0")
        network = build(spec)
        absorbed = build(spec_of("network.step_scaling=0", "train.depth_lr=none"))
        absorbed.load_state_dict(network.state_dict())
        for block in absorbed.blocks:
            for name, parameter in block.named_parameters():
                parameter.data *= M**-alpha if "conv" in name else 1.0

        def rates(name: str, alpha: float = alpha) -> tuple[float, float]:
            inside = name.startswith("features.1.layers.")
            return (1 / M if "conv" in name else M ** (2 * alpha - 1)) if inside else 1.0, 1.0

        ours = train(Learner(network, spec.train, depth_factors(spec, POINT, network))).network
        theirs = explicit(absorbed, spec, rates)
        outputs += [ours.eval()(batch()[0]), theirs.eval()(batch()[0])]
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[2], outputs[3])
    assert not torch.allclose(outputs[0], outputs[2])


def test_nothing_changes_at_the_base_depth_and_without_the_rule() -> None:
    matched = spec_of(
        "network.step_scaling=1", "network.base_depth=8", "train.optimizer=adam", "train.weight_decay=0.1"
    )
    without = spec_of(
        "network.step_scaling=1",
        "network.base_depth=8",
        "train.optimizer=adam",
        "train.weight_decay=0.1",
        "train.depth_lr=none",
    )
    results = [
        train(Learner(network := build(spec), spec.train, depth_factors(spec, POINT, network))).parameters
        for spec in (matched, without)
    ]
    plain = train(Learner(build(without), without.train)).parameters
    for a, b, c in zip(*results, plain, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_decay_of_adam_is_relative_to_the_gradient() -> None:
    spec = spec_of("network.step_scaling=0.5", "train.optimizer=adam", "train.weight_decay=0.1")
    (factor,) = set(depth_factors(spec, POINT, build(spec))) - {Factors()}
    assert (factor.lr, factor.eps, factor.decay) == (0.5, 0.5, 1.0)


def test_groups_of_decay_and_of_depth_combine_in_batched_seeds() -> None:
    spec = spec_of(
        "network.step_scaling=0.5", "train.optimizer=adamw", "train.weight_decay=0.1", "train.weight_decay_on=weights"
    )
    networks = [build(spec, seed) for seed in range(2)]
    factors = depth_factors(spec, POINT, networks[0])
    pack = PackLearner(deepcopy(networks), spec.train, factors)
    groups = [(group["lr"], group["eps"], group["weight_decay"]) for group in pack.optimizer.param_groups]
    expected = [(0.1, 1e-8, 0.1), (0.05, 5e-9, 0.2), (0.05, 5e-9, 0.0), (0.1, 1e-8, 0.0)]
    assert groups == [pytest.approx(each) for each in expected]
    train(pack)
    for index, network in enumerate(networks):
        alone = train(Learner(network, spec.train, factors))
        for name, parameter in alone.network.named_parameters():
            torch.testing.assert_close(pack.values(index)[name], parameter, rtol=1e-8, atol=1e-10)


def test_interrupted_training_resumes_bit_equal(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    plan = make_plan(
        "sweep.networks=densenet",
        "sweep.depths=3",
        "sweep.seeds=1",
        "data.limit=48",
        "train.batch_size=16",
        "train.epochs=2",
        "train.optimizer=adamw",
        "train.depth_lr=matched",
        "train.weight_decay_on=weights",
        "train.weight_decay=0.1",
        "network.blocks=1",
    )
    assert losses(plan, slot, tmp_path / "whole", [None]) == losses(plan, slot, tmp_path / "parts", [4, None])
    other = make_plan(*("sweep.networks=densenet", "sweep.depths=3", "sweep.seeds=1", "train.depth_lr=matched"))
    assert (
        other.runs[0].run_id
        != make_plan(*("sweep.networks=densenet", "sweep.depths=3", "sweep.seeds=1")).runs[0].run_id
    )


def losses(plan: Plan, slot: Slot, folder: Path, parts: list[int | None]) -> list[float]:
    """Train the first run in parts of some training steps, the last of them to the end."""
    folder.mkdir()
    epochs: list[float] = []
    for steps in parts:
        left = iter(range(steps or 10**6))
        member = Member(run=plan.runs[0], attempt=1, folder=folder, epochs_known=len(epochs))
        job = Job(members=(member,), should_suspend=lambda left=left: next(left, None) is None)  # type: ignore[misc]
        epochs += [event.train_loss for event in TrainingRunner(plan, slot).run(job) if isinstance(event, EpochDone)]
    return epochs


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(8))


def test_a_custom_network_declares_its_layers() -> None:
    spec = spec_of("sweep.networks=mine:build", "network.step_scaling=1", "train.optimizer=adamw")
    network = Custom()
    factors = dict(
        zip((name for name, _ in network.named_parameters()), depth_factors(spec, POINT, network), strict=True)
    )
    assert factors["stem.weight"] == factors["stem.bias"] == Factors()
    assert set(factors.values()) == {Factors(), Factors(lr=1.0, eps=1 / M, decay=1.0)}
    with pytest.raises(
        SpecError, match=r"^train.depth_lr = \"matched\": Linear does not declare its layers.*ModuleList"
    ):
        depth_factors(spec, POINT, nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep.networks=plain"], "does not exist for plain, whose layers are not added up"),
        (["network.step_scaling=0.4"], "needs network.step_scaling of 0.5 or more for resnet"),
        (["sweep.networks=densenet", "network.connectivity=strides"], "is known for dense networks only"),
    ],
)
def test_networks_without_a_rule_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=f"train.depth_lr = 'matched': {message}"):
        spec_of(*overrides)
