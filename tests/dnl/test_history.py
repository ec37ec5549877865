"""The pushed sums against a loop over pairs, in every way that a backward pass can be asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dnlbench.dnl.history import History
from dnlbench.dnl.parameters import packed_pairs, packed_size

L, D, B = 6, 3, 4


def normal(*shape: int, seed: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.requires_grad_()


def by_pushing(z: Tensor, K: Tensor, closed: Tensor | None = None) -> list[Tensor]:
    """The states of a network with sigma = sin and N = the identity."""
    history, made = History(K, closed), []
    y = torch.ones(B, D, dtype=torch.float64)
    for k in range(L):
        now, z = history.push(z, k, y)
        y = torch.sin(now).mT
        made.append(y)
    return made


def by_pairs(z: Tensor, K: Tensor, closed: Tensor | None = None) -> list[Tensor]:
    places = {(int(row), int(column)): i for i, (row, column) in enumerate(zip(*packed_pairs(L), strict=True))}
    y = [torch.ones(B, D, dtype=torch.float64)]
    for l in range(L):  # noqa: E741
        total = z[l * D : (l + 1) * D]
        for k in range(l + 1):
            if closed is None or not closed[l, k]:
                total = total + K[places[l, k]] @ y[k].mT / L
        y.append(torch.sin(total).mT)
    return y[1:]


@pytest.fixture
def z() -> Tensor:
    return normal(L * D, B, seed=1)


@pytest.fixture
def K() -> Tensor:  # noqa: N802
    return normal(packed_size(L), D, D, seed=2)


CLOSED = torch.rand(L, L, generator=torch.Generator().manual_seed(3)) < 0.4


@pytest.mark.parametrize("closed", [None, CLOSED], ids=["full", "partial"])
@pytest.mark.parametrize("last", range(L))
def test_the_gradients_of_any_state_are_those_of_the_loop(
    z: Tensor, K: Tensor, closed: Tensor | None, last: int
) -> None:
    """Weights into layers after the last one that counts have the gradient 0."""
    ours = torch.autograd.grad(by_pushing(z, K, closed)[last].sum(), (z, K))
    theirs = torch.autograd.grad(by_pairs(z, K, closed)[last].sum(), (z, K), materialize_grads=True)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-14)


def test_a_backward_pass_leaves_what_earlier_ones_gave_alone(z: Tensor, K: Tensor) -> None:
    made = by_pushing(z, K)
    first = torch.autograd.grad(made[-1].sum(), (z, K), retain_graph=True)
    kept = [gradient.clone() for gradient in first]
    torch.autograd.grad(made[2].square().sum(), (z, K), retain_graph=True)
    again = torch.autograd.grad(made[-1].sum(), (z, K))
    for before, now, repeated in zip(kept, first, again, strict=True):
        assert torch.equal(before, now)
        assert torch.equal(before, repeated)


def test_gradients_add_up_over_backward_passes(z: Tensor, K: Tensor) -> None:
    made = by_pushing(z, K)
    torch.autograd.backward(made[-1].sum(), retain_graph=True)
    torch.autograd.backward(made[3].sum())
    loop = by_pairs(z, K)
    expected = torch.autograd.grad(loop[-1].sum() + loop[3].sum(), (z, K))
    for leaf, gradient in zip((z, K), expected, strict=True):
        torch.testing.assert_close(leaf.grad, gradient, rtol=0, atol=1e-14)


@pytest.mark.parametrize("fixed", ["z", "K"])
def test_what_needs_no_gradient_gets_none(z: Tensor, K: Tensor, fixed: str) -> None:
    leaves = {"z": z, "K": K}
    leaves[fixed].requires_grad_(False)
    torch.autograd.backward(by_pushing(z, K)[-1].sum())
    other = "K" if fixed == "z" else "z"
    expected = torch.autograd.grad(by_pairs(z, K)[-1].sum(), leaves[other])[0]
    assert leaves[fixed].grad is None
    torch.testing.assert_close(leaves[other].grad, expected, rtol=0, atol=1e-14)


def test_two_histories_do_not_share_their_buffers(z: Tensor, K: Tensor) -> None:
    both = by_pushing(z, K)[-1].sum() + by_pushing(2 * z, K)[-2].sum()
    expected = by_pairs(z, K)[-1].sum() + by_pairs(2 * z, K)[-2].sum()
    for mine, other in zip(torch.autograd.grad(both, (z, K)), torch.autograd.grad(expected, (z, K)), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-14)


def test_a_second_derivative_is_refused_and_not_wrong(z: Tensor, K: Tensor) -> None:
    (gradient,) = torch.autograd.grad(by_pushing(z, K)[-1].sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|to not have been used|does not require grad"):
        torch.autograd.grad(gradient.square().sum(), z)


def test_finite_differences_agree(z: Tensor, K: Tensor) -> None:
    assert torch.autograd.gradcheck(lambda z, K: torch.stack(by_pushing(z, K)), (z, K))
