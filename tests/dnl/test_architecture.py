import pytest

from dnlbench.architecture import ARCHITECTURES, ConnectivityName, full, most_blocks, sources_of, strides, window

DENSE = ("densenet", "dense-attention", "dense-gaussian", "dense-rbf")
BASELINES = ("resnet", "plain")

# The states at distances 1, 2, 4, 8 from x^{l+1}, by hand.
STRIDES = [(0,), (0, 1), (1, 2), (0, 2, 3), (1, 3, 4), (2, 4, 5), (3, 5, 6), (0, 4, 6, 7), (1, 5, 7, 8)]
WINDOW_3 = [(0,), (0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 6), (5, 6, 7), (6, 7, 8)]


def test_index_sets_of_the_table() -> None:
    for layer in range(9):
        assert strides(layer) == STRIDES[layer]
        assert window(3)(layer) == WINDOW_3[layer]
        assert window(1)(layer) == (layer,)
        assert full(layer) == window(layer + 1)(layer) == tuple(range(layer + 1))


def test_strides_are_all_distances_that_are_powers_of_two() -> None:
    powers = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}
    for layer in (*range(9, 70), 127, 128, 1023):
        assert strides(layer) == tuple(k for k in range(layer + 1) if layer + 1 - k in powers), layer


@pytest.mark.parametrize("width", [0, -1])
def test_a_window_without_states_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        window(width)


def test_the_table_of_networks() -> None:
    assert {name: (row.name, row.kernel, row.family, row.dense) for name, row in ARCHITECTURES.items()} == {
        "densenet": ("densenet", "local", "dense", True),
        "dense-attention": ("dense-attention", "attention", "dense", True),
        "dense-gaussian": ("dense-gaussian", "gaussian", "dense", True),
        "dense-rbf": ("dense-rbf", "rbf", "dense", True),
        "resnet": ("resnet", "local", "residual", False),
        "plain": ("plain", "local", "sequential", False),
    }


@pytest.mark.parametrize("name", DENSE)
def test_dense_networks_read_what_the_connectivity_says(name: str) -> None:
    def read(connectivity: ConnectivityName, width: int | None = None) -> list[tuple[int, ...]]:
        return [sources_of(ARCHITECTURES[name], connectivity, width)(layer) for layer in range(9)]

    assert read("full") == [tuple(range(layer + 1)) for layer in range(9)]
    assert read("window", 3) == WINDOW_3
    assert read("strides") == STRIDES
    with pytest.raises(ValueError, match="width"):
        read("window")


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("connectivity", ["full", "window", "strides"])
def test_baselines_read_the_last_state_only(name: str, connectivity: ConnectivityName) -> None:
    assert [sources_of(ARCHITECTURES[name], connectivity, 3)(layer) for layer in range(9)] == [(k,) for k in range(9)]


@pytest.mark.parametrize(
    ("names", "scaled"),
    [(DENSE, [False, True, True]), (["resnet", "plain"], [False] * 3)],
)
def test_the_step_stands_before_the_sum_but_not_before_the_blocks_input(names: list[str], scaled: list[bool]) -> None:
    for name in names:
        assert [ARCHITECTURES[name].scaled_by_step(k) for k in range(3)] == scaled


def test_blocks_that_fit_are_counted_by_halving() -> None:
    for side in range(1, 34):
        blocks, left = 1, side
        while left // 2 >= 1:
            blocks, left = blocks + 1, left // 2
        assert most_blocks(side, side) == most_blocks(side, 40) == most_blocks(40, side) == blocks, side
