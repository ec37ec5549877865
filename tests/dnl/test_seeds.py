import pytest
import torch
from torch import Tensor

from dnlbench.dnl.seeds import for_all_seeds

pytestmark = pytest.mark.usefixtures("float64")


def weighted(x: Tensor, weight: Tensor) -> Tensor:
    return x.square() * weight.unsqueeze(-1)


def test_outside_of_vmap_there_is_one_seed() -> None:
    shapes: list[tuple[int, ...]] = []

    def operation(*tensors: Tensor) -> Tensor:
        shapes.extend(tuple(tensor.shape) for tensor in tensors)
        return weighted(*tensors)

    x, weight = torch.randn(4, 2, requires_grad=True), torch.randn(4)
    result = for_all_seeds(operation, x, weight)
    assert shapes == [(1, 4, 2), (1, 4)]
    torch.testing.assert_close(result, weighted(x, weight))
    (gradient,) = torch.autograd.grad(result.sum(), [x])
    torch.testing.assert_close(gradient, 2 * x * weight.unsqueeze(-1))


@pytest.mark.parametrize("shared", [False, True], ids=["a weight each", "one weight"])
def test_under_vmap_an_operation_sees_all_seeds_first(shared: bool) -> None:
    seen = []

    def operation(x: Tensor, weight: Tensor) -> Tensor:
        seen.append((tuple(x.shape), tuple(weight.shape)))
        return weighted(x, weight)

    x = torch.randn(4, 3, 2, requires_grad=True)  # the seeds' axis is in the middle
    weight = torch.randn(4, requires_grad=True) if shared else torch.randn(3, 4, requires_grad=True)
    dims = (1, None if shared else 0)
    result = torch.vmap(lambda *given: for_all_seeds(operation, *given), in_dims=dims)(x, weight)
    assert seen == [((3, 4, 2), (3, 4))]
    expected = x.movedim(1, 0).square() * weight.unsqueeze(-1)
    torch.testing.assert_close(result, expected)
    ahead = torch.randn(3, 4, 2)
    found, right = (torch.autograd.grad(each, [x, weight], ahead) for each in (result, expected))
    torch.testing.assert_close(found, right)


def test_what_an_operation_writes_in_place_is_kept() -> None:
    counts = torch.zeros(3, 2)

    def operation(given: Tensor, step: Tensor) -> Tensor:
        given += step
        return given.clone()

    torch.vmap(lambda *given: for_all_seeds(operation, *given))(counts, torch.tensor([[1.0, 1], [2, 2], [3, 3]]))
    assert counts.tolist() == [[1, 1], [2, 2], [3, 3]]
    for_all_seeds(operation, counts[0], torch.ones(2))
    assert counts[0].tolist() == [2, 2]
