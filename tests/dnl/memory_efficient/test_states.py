"""Shared states against separate ones, and both against what they are to be."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dnlbench.dnl.memory_efficient import SharedStates, convolution, passes, states
from dnlbench.dnl.states import SeparateStates, States

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.xdist_group("loops")]

CHANNELS, MADE, EPS = 5, 3, 1e-5

READS: dict[str, list[list[int]]] = {
    "all": [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]],
    "last": [[0], [1], [2], [3]],
    "not neighbours": [[0], [0, 1], [0, 2], [1, 3], [0, 2, 4]],
    "one is never read": [[0], [0], [0, 2], [3]],
}
SIDES = [3, 1, 3, 5, 3]


def close(ours: object, expected: object) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-10)


class Chain(nn.Module):
    """Layers that read some of the states so far and make the next one, added to a part of the one before."""

    def __init__(self, reads: Sequence[Sequence[int]], momentum: float | None = 0.1) -> None:
        super().__init__()
        self.reads = reads
        self.widths = [CHANNELS, *[MADE] * len(reads)]
        read_widths = [sum(self.widths[k] for k in read) for read in reads]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, EPS, momentum) for width in [*read_widths, sum(self.widths)])
        self.filters = nn.ParameterList(
            torch.randn(MADE, width, side, side) / width for width, side in zip(read_widths, SIDES, strict=False)
        )
        with torch.no_grad():
            for value in self.norms.state_dict().values():
                if value.is_floating_point():
                    value += 0.4 * torch.rand_like(value) - 0.2

    def forward(self, x: Tensor, new: Callable[[Sequence[int], float], States]) -> Tensor:
        states = new(self.widths, EPS)
        states.add(x)
        for read, norm, filters in zip(self.reads, self.norms, self.filters, strict=False):
            x = 0.5 * x[:, :MADE] + states.read(read, norm, filters)  # type: ignore[arg-type]
            states.add(x)
        return states.read(range(len(self.widths)), self.norms[-1], None)  # type: ignore[arg-type]


def separate(_: Sequence[int], __: float) -> States:
    return SeparateStates()


def outcome(chain: Chain, new: Callable[[Sequence[int], float], States], x: Tensor, ahead: Tensor) -> list[Tensor]:
    """What it makes, gradients and running statistics; the chain is left as it was."""
    before = {name: value.clone() for name, value in chain.state_dict().items()}
    made = chain(x, new)
    gradients = torch.autograd.grad(made, [x, *chain.parameters()], ahead)
    buffers = [value.clone() for value in chain.buffers()]
    chain.load_state_dict(before)
    return [made.detach(), *gradients, *buffers]


def assert_same(reads: Sequence[Sequence[int]], **options: Any) -> None:
    chain = Chain(reads, **options)
    x = torch.randn(4, CHANNELS, 6, 5, requires_grad=True)
    ahead = torch.randn(4, sum(chain.widths), 6, 5)
    ours, expected = outcome(chain, SharedStates, x, ahead), outcome(chain, separate, x, ahead)
    assert all(each.abs().max() > 1e-3 for each in expected)
    close(ours, expected)


def all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "groups_seeds", lambda _: True)
    monkeypatch.setattr(states, "groups_seeds", lambda _: True)


def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "loops_are_installed", lambda: False)


def as_on_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    all_at_once(monkeypatch)
    without_numba(monkeypatch)


def image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "PART_BYTES", 1)


def parts_that_do_not_come_out_even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "PART_BYTES", 3 * 6 * 5 * 8 * CHANNELS)


def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


WAYS = [as_it_is, without_numba, all_at_once, as_on_other_devices, image_by_image, parts_that_do_not_come_out_even]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reads", READS.values(), ids=READS)
def test_shared_states_are_separate_ones(
    monkeypatch: pytest.MonkeyPatch, way: Callable[[pytest.MonkeyPatch], None], reads: list[list[int]]
) -> None:
    way(monkeypatch)
    assert_same(reads)


def test_running_statistics_without_momentum_are_means_of_all_batches() -> None:
    assert_same(READS["all"], momentum=None)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_of_known_numbers(momentum: float | None) -> None:
    norm = nn.BatchNorm2d(1, momentum=momentum)
    for offset in (0.0, 10.0):
        shared = SharedStates([1], EPS)
        shared.add(offset + torch.tensor([1.0, 2, 3, 4]).view(2, 1, 2, 1))
        shared.read([0], norm, None)
    variance = 5 / 3  # of 1, 2, 3, 4 with divisor n - 1
    mean = 7.5 if momentum is None else 0.7 * 0.3 * 2.5 + 0.3 * 12.5
    running_variance = variance if momentum is None else 0.49 + 0.51 * variance
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.running_mean.item() == pytest.approx(mean, rel=1e-12)
    assert norm.running_var.item() == pytest.approx(running_variance, rel=1e-12)
    assert norm.num_batches_tracked is not None
    assert norm.num_batches_tracked.item() == 2


def test_without_filters_a_read_is_the_rectified_norm() -> None:
    x, y = torch.randn(3, 2, 4, 4), torch.randn(3, 3, 4, 4)
    for new in (SeparateStates(), SharedStates([2, 3], EPS)):
        new.add(x)
        new.add(y)
        torch.manual_seed(3)
        norm = nn.BatchNorm2d(5)
        with torch.no_grad():
            norm.weight.normal_()
            norm.bias.normal_()
        both = torch.cat([x, y], dim=1)
        standard = (both - both.mean(dim=(0, 2, 3), keepdim=True)) / torch.sqrt(
            both.var(dim=(0, 2, 3), keepdim=True, correction=0) + EPS
        )
        right = functional.relu(standard * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1))
        close(new.read([0, 1], norm, None), right)


def test_gradients_by_finite_differences() -> None:
    chain = Chain(READS["not neighbours"][:3])
    x = torch.randn(2, CHANNELS, 3, 2, requires_grad=True)
    leaves = [x, *chain.parameters()]
    ahead = torch.randn(2, sum(chain.widths), 3, 2)
    for leaf, gradient in zip(leaves, torch.autograd.grad(chain(x, SharedStates), leaves, ahead), strict=True):
        direction, step = torch.randn_like(leaf), 1e-6
        with torch.no_grad():
            leaf += step * direction
            above = (ahead * chain(x, SharedStates)).sum()
            leaf -= 2 * step * direction
            below = (ahead * chain(x, SharedStates)).sum()
            leaf += step * direction
        slope = (above - below) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-6)


def test_a_first_state_without_gradient() -> None:
    chain, x = Chain(READS["all"]), torch.randn(4, CHANNELS, 6, 5)
    parameters = list(chain.parameters())
    close(*(torch.autograd.grad(chain(x, new).square().sum(), parameters) for new in (SharedStates, separate)))


def test_going_back_twice_is_refused() -> None:
    """Shares of the first time would be counted again."""
    chain, x = Chain(READS["all"]), torch.randn(4, CHANNELS, 6, 5, requires_grad=True)
    loss = chain(x, SharedStates).square().sum()
    torch.autograd.grad(loss, [x], retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        torch.autograd.grad(loss, [x])


def test_states_of_one_batch_do_not_change_with_what_was_given() -> None:
    shared, x = SharedStates([2], EPS), torch.randn(3, 2, 4, 4)
    norm = nn.BatchNorm2d(2)
    shared.add(x)
    before = shared.read([0], norm, None)
    x.zero_()
    assert torch.equal(shared.read([0], norm, None), before)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("ahead", ["one number for all", "channels apart", "channels side by side"])
def test_however_numbers_lie_in_memory(batch: int, ahead: str) -> None:
    """A batch of one has channels apart in every format, and gradients of sums are one number for all."""
    chain = Chain(READS["all"])
    x = torch.randn(batch, CHANNELS, 6, 5, requires_grad=True)
    shape = (batch, sum(chain.widths), 6, 5)
    gradient = torch.tensor(0.7).expand(shape) if ahead == "one number for all" else torch.randn(shape)
    if ahead == "channels side by side":
        gradient = gradient.contiguous(memory_format=torch.channels_last)
    close(outcome(chain, SharedStates, x, gradient), outcome(chain, separate, x, gradient))
