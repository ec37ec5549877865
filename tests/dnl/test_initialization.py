"""How weights start: against torch, torchvision and scores that are computed one by one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.densenet import DenseNet

from dnlbench.dnl.initialization import score_variance, unit_scores
from dnlbench.dnl.kernels import Attention
from dnlbench.dnl.networks import DNLNetwork


def build(name: str, seed: int = 0, **options: object) -> DNLNetwork:
    torch.manual_seed(seed)
    settings: dict[str, object] = {"depth": 2, "input_shape": (1, 8, 8), "classes": 10, "blocks": 3, **options}
    return DNLNetwork(name, **settings)  # type: ignore[arg-type]


def images(count: int = 32) -> Tensor:
    """Smooth in [0, 1], as pictures are."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 1, 4, 4, generator=generator)
    return nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")


def scores_seen(network: DNLNetwork, batch: Tensor) -> list[float]:
    """The variance over j of (Q x_i)·(R x_j) / sqrt(c) of every state in training mode, from all scores; mean over i."""
    found = []

    def record(kernel: nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
        assert isinstance(kernel, Attention)
        x = inputs[0].flatten(2).transpose(1, 2)
        query, key = kernel.q(x), kernel.r(x)
        scores = torch.einsum("bic,bjc->bij", query, key) / math.sqrt(x.shape[2])
        found.append(float(scores.var(dim=2, correction=0).mean()))

    handles = [m.register_forward_hook(record) for m in network.modules() if isinstance(m, Attention)]
    with torch.no_grad():
        network.train()(batch)
    for handle in handles:
        handle.remove()
    return found


def test_torch_draws_in_the_order_of_its_modules() -> None:
    """As all versions before there was a choice: equal seeds give equal weights."""
    network = build("dense-attention", seed=3, blocks=2, growth_rate=4, initialization="torch")
    torch.manual_seed(3)
    by_hand: list[Tensor] = [nn.Conv2d(1, 8, 3, bias=False).weight]
    channels = 8
    for block in range(2):
        by_hand += [nn.Conv2d(width, 4, 3, bias=False).weight for width in (channels, channels + 4)]
        by_hand += [nn.Linear(width, width, bias=False).weight for width in (channels, channels, 4, 4)]
        channels += 8
        if block == 0:
            by_hand.append(nn.Conv2d(channels, channels // 2, 1, bias=False).weight)
            channels //= 2
    classifier = nn.Linear(channels, 10)
    by_hand += [classifier.weight, classifier.bias]
    drawn = [p for name, p in network.named_parameters() if "norm" not in name]
    assert len(drawn) == len(by_hand)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(drawn, by_hand, strict=True))


def test_kaiming_is_that_of_torchvisions_densenet() -> None:
    ours = build("densenet", depth=4, blocks=2, growth_rate=12, bottleneck=True, initialization="kaiming")
    theirs = DenseNet(growth_rate=12, block_config=(4, 4), num_init_features=24, num_classes=10)
    layers = [
        [m.weight.detach() for m in network.modules() if isinstance(m, nn.Conv2d)][1:] for network in (ours, theirs)
    ]
    assert [tuple(w.shape) for w in layers[0]] == [tuple(w.shape) for w in layers[1]]
    for mine, reference in zip(*layers, strict=True):
        error = 5 * math.sqrt(1 / mine.numel())  # five standard errors of the ratio of two standard deviations
        assert float(mine.std() / reference.std()) == pytest.approx(1, abs=error)
        assert float(mine.std()) == pytest.approx(math.sqrt(2 / mine[0].numel()), rel=error)
    assert torch.equal(ours.classifier.bias, theirs.classifier.bias)
    assert torch.equal(ours.classifier.bias, torch.zeros(10))


@pytest.mark.parametrize("initialization", ["torch", "kaiming"])
@pytest.mark.parametrize("depth", [2, 8, 32])
def test_scores_of_every_state_have_unit_variance(depth: int, initialization: str) -> None:
    network = build("dense-attention", depth=depth, initialization=initialization)
    before = scores_seen(network, images())
    unit_scores(network, images())
    after = scores_seen(network, images())
    assert len(after) == 3 * depth
    assert max(before) < 0.5
    assert after == pytest.approx([1.0] * len(after), rel=1e-3)


@pytest.mark.parametrize("implementation", ["standard", "memory-efficient"])
def test_nothing_but_the_scale_of_q_and_r_changes(implementation: str) -> None:
    network = build("dense-attention", implementation=implementation)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    unit_scores(network.train(), images())
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    for name, value in network.state_dict().items():
        if name.endswith((".q.weight", ".r.weight")):
            ratio = value / before[name]
            assert torch.allclose(ratio, ratio.mean(), rtol=1e-5)
            assert float(ratio.mean()) > 1
        else:
            assert torch.equal(value, before[name]), name


def test_a_single_position_has_no_scores_to_scale() -> None:
    network = build("dense-attention", depth=1, blocks=4)  # 8×8, 4×4, 2×2 and 1×1 pixels
    kernel = next(m for m in network.blocks[-1].modules() if isinstance(m, Attention))
    before = kernel.q.weight.clone()
    unit_scores(network, images())
    assert torch.equal(kernel.q.weight, before)


def test_networks_without_attention_are_not_even_evaluated() -> None:
    unit_scores(build("densenet"), torch.empty(0))


def test_the_variance_without_the_matrix_of_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    x, q, r = (torch.randn(shape, generator=generator) for shape in ((4, 9, 5), (5, 5), (5, 5)))
    scores = torch.stack([(one @ q.T) @ (one @ r.T).T for one in x]) / math.sqrt(5)
    assert float(score_variance(x, q, r)) == pytest.approx(float(scores.var(dim=2, correction=0).mean()), rel=1e-5)
