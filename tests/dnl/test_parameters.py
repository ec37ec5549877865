import pytest
import torch
from torch import Tensor

from dnlbench.dnl.parameters import (
    Arrays,
    columns,
    depth_of_packed,
    pack,
    packed_indices,
    packed_pairs,
    packed_size,
    unpack,
)
from dnlbench.dnl.regularizer import flip

DEPTHS = [1, 2, 3, 7, 12]


pytestmark = pytest.mark.usefixtures("float64")


def by_hand(L: int) -> list[tuple[int, int]]:
    """The pairs ``(l, k)`` in the order of packing."""
    return [(l, k) for k in range(L) for l in range(k, L)]  # noqa: E741


@pytest.mark.parametrize("L", DEPTHS)
def test_the_order_of_packing(L: int) -> None:
    l, k = packed_pairs(L)  # noqa: E741
    assert list(zip(l.tolist(), k.tolist(), strict=True)) == by_hand(L)
    assert packed_size(L) == len(by_hand(L))
    indices = packed_indices(L)
    assert indices.dtype == torch.long
    assert [[by_hand(L).index((max(i, j), min(i, j))) for j in range(L)] for i in range(L)] == indices.tolist()


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
@pytest.mark.parametrize("L", DEPTHS)
def test_packing_takes_the_lower_triangle_and_unpacking_flips_it(L: int, shape: tuple[int, ...]) -> None:
    square = torch.randn(L, L, *shape)
    packed = pack(square)
    assert packed.shape == (packed_size(L), *shape)
    assert all(torch.equal(packed[place], square[pair]) for place, pair in enumerate(by_hand(L)))
    assert torch.equal(unpack(packed), flip(square))
    assert torch.equal(pack(unpack(packed)), packed)


def test_what_stands_above_the_diagonal_is_not_read() -> None:
    square = torch.randn(4, 4)
    above = torch.full_like(square, torch.nan).triu(1)
    assert torch.equal(pack(square + above), pack(square))


@pytest.mark.parametrize("L", DEPTHS)
def test_columns_are_what_one_state_gives_to_all_later_layers(L: int) -> None:
    square = torch.randn(L, L, 2, 2)
    packed = pack(square)
    found = columns(packed)
    assert len(found) == L
    assert all(torch.equal(column, square[k:, k]) for k, column in enumerate(found))
    assert torch.equal(torch.cat(found), packed)
    assert {column.untyped_storage().data_ptr() for column in found} == {packed.untyped_storage().data_ptr()}


def test_gradients_go_back_to_the_entries_that_were_read() -> None:
    square = torch.randn(3, 3, requires_grad=True)
    weights = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 128.0, 256.0]])
    (gradient,) = torch.autograd.grad((unpack(pack(square)) * weights).sum(), square)
    assert gradient.tolist() == [[1, 0, 0], [2 + 8, 16, 0], [4 + 64, 32 + 128, 256]]


@pytest.mark.parametrize("size", [2, 4, 5, 7, 54, 56])
def test_sizes_that_no_depth_has(size: int) -> None:
    with pytest.raises(ValueError, match=rf"^{size} is not L \(L \+ 1\) / 2 for any depth L$"):
        depth_of_packed(size)


def test_depths_of_sizes() -> None:
    depths = [0, 1, 2, 3, 100, 1024, 10**9]
    assert [depth_of_packed(packed_size(depth)) for depth in depths] == depths


def make(L: int, **changes: Tensor) -> Arrays:
    values = {
        "A": torch.randn(L, 4, 4),
        "b": torch.randn(L, 4),
        "K": torch.randn(packed_size(L), 4, 4),
        "V": torch.randn(L, 2, 2),
    }
    return Arrays(**(values | changes))


def test_arrays_name_the_one_index_parameters_that_there_are() -> None:
    arrays = make(3)
    assert arrays.depth == 3
    assert [name for name, _ in arrays.one_index()] == ["A", "b", "V"]
    assert [name for name, _ in make(3, Q=arrays.V, R=arrays.V).one_index()] == ["A", "b", "V", "Q", "R"]
    assert all(values is getattr(arrays, name) for name, values in arrays.one_index())


def test_arrays_of_lengths_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"^K contains 9 matrices; depth 3 needs the 6 with k <= l$"):
        make(3, K=torch.zeros(9, 4, 4))
    for name in ("A", "V", "Q", "R"):
        with pytest.raises(ValueError, match=rf"^{name} has 4 entries and b has 3: both must be the depth$"):
            make(3, **{name: torch.zeros(4, 4, 4)})
