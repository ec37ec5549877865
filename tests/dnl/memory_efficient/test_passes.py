"""The passes over states, as compiled loops and as operations of torch, against formulas in float64."""

import pytest
import torch
from torch import Tensor

from dnlbench.dnl.memory_efficient import passes
from dnlbench.dnl.memory_efficient.rows import ChannelSlice

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.xdist_group("loops")]

DTYPES = [torch.float64, torch.float32, torch.bfloat16]
SIZES = [(1, 1, 3), (3, 5, 1), (1, 63, 2), (2, 64, 7), (2, 65, 17), (1, 1000, 20)]
"""Seeds, rows and channels; rows are dealt in 64 parts."""


@pytest.fixture(params=["loops", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    way: str = request.param
    if way == "torch":
        monkeypatch.setattr(passes, "loops_are_installed", lambda: False)
    else:
        pytest.importorskip("numba")
    return way


@pytest.fixture
def loops() -> None:
    pytest.importorskip("numba")


def exact_of(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def close(ours: Tensor, expected: Tensor) -> None:
    """To 1e-12 in float64 and to 1e-5 in float32; bfloat16 to half a unit of its last place and a little."""
    bound = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-8 + 1e-5}[ours.dtype]
    size = expected.abs().max().item()
    assert ours.shape == expected.shape
    assert (ours.double() - expected).abs().max().item() <= bound * max(1.0, size)


class Wide:
    """A strip in the middle of an array that has other channels on both sides, and what these were."""

    def __init__(self, seeds: int, rows: int, channels: int, dtype: torch.dtype, left: int = 2, right: int = 3) -> None:
        self.rows = torch.randn(seeds, rows, left + channels + right).to(dtype)
        self.before = self.rows.clone()
        self.channel_slice = ChannelSlice(self.rows, slice(left, left + channels))

    @property
    def values(self) -> Tensor:
        """In float64."""
        return self.before[..., self.channel_slice.columns].double()

    def assert_nothing_outside_was_written(self) -> None:
        inside = self.channel_slice.columns
        for outside in (slice(0, inside.start), slice(inside.stop, None)):
            assert torch.equal(self.rows[..., outside], self.before[..., outside])

    def assert_nothing_was_written(self) -> None:
        assert torch.equal(self.rows, self.before)


def coefficients(seeds: int, channels: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(seeds, channels, dtype=exact_of(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_store_with_statistics(way: str, size: tuple[int, int, int], dtype: torch.dtype) -> None:
    x, target = Wide(*size, dtype, left=1), Wide(*size, dtype)
    mean, variance = passes.store_with_statistics(x.channel_slice, target.channel_slice)
    assert torch.equal(target.channel_slice.values, x.channel_slice.values)
    assert mean.dtype == variance.dtype == exact_of(dtype)
    close(mean, x.values.mean(dim=1))
    close(variance, x.values.var(dim=1, correction=0))
    x.assert_nothing_was_written()
    target.assert_nothing_outside_was_written()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_bn_relu(way: str, size: tuple[int, int, int], dtype: torch.dtype) -> None:
    seeds, _, channels = size
    x, out = Wide(*size, dtype), Wide(*size, dtype, left=4)
    scale, shift = coefficients(seeds, channels, dtype), coefficients(seeds, channels, dtype)
    passes.bn_relu(x.channel_slice, scale, shift, out.channel_slice)
    close(out.channel_slice.values, (x.values * scale.double()[:, None] + shift.double()[:, None]).clamp(min=0))
    x.assert_nothing_was_written()
    out.assert_nothing_outside_was_written()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_bn_relu_backward(way: str, size: tuple[int, int, int], dtype: torch.dtype) -> None:
    seeds, _, channels = size
    x, dy, gradient = Wide(*size, dtype), Wide(*size, dtype, left=5), Wide(*size, exact_of(dtype), left=1)
    scale, shift, mean = (coefficients(seeds, channels, dtype) for _ in range(3))
    sums, products = passes.bn_relu_backward(
        dy.channel_slice, x.channel_slice, scale, shift, mean, gradient.channel_slice
    )
    a, b, m = (each.double()[:, None] for each in (scale, shift, mean))
    dz = dy.values * (a * x.values + b > 0)
    close(gradient.channel_slice.values, gradient.values + a * dz)
    close(sums, dz.sum(dim=1))
    close(products, (dz * (x.values - m)).sum(dim=1))
    x.assert_nothing_was_written()
    dy.assert_nothing_was_written()
    gradient.assert_nothing_outside_was_written()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_bn_relu_backward_to_begin_with(way: str, size: tuple[int, int, int], dtype: torch.dtype) -> None:
    """What stood there before may be anything."""
    seeds, _, channels = size
    x, dy, gradient = Wide(*size, dtype), Wide(*size, dtype, left=5), Wide(*size, exact_of(dtype), left=1)
    gradient.channel_slice.values.fill_(torch.nan)
    scale, shift, mean = (coefficients(seeds, channels, dtype) for _ in range(3))
    passes.bn_relu_backward(dy.channel_slice, x.channel_slice, scale, shift, mean, gradient.channel_slice, begin=True)
    a, b = (each.double()[:, None] for each in (scale, shift))
    close(gradient.channel_slice.values, a * dy.values * (a * x.values + b > 0))
    gradient.assert_nothing_outside_was_written()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_statistics_backward(way: str, size: tuple[int, int, int], dtype: torch.dtype) -> None:
    seeds, _, channels = size
    x, gradient, out = Wide(*size, dtype), Wide(*size, exact_of(dtype), left=1), Wide(*size, dtype, left=3)
    constant, slope = coefficients(seeds, channels, dtype), coefficients(seeds, channels, dtype)
    passes.statistics_backward(gradient.channel_slice, x.channel_slice, constant, slope, out.channel_slice)
    close(out.channel_slice.values, gradient.values - constant.double()[:, None] - slope.double()[:, None] * x.values)
    x.assert_nothing_was_written()
    gradient.assert_nothing_was_written()
    out.assert_nothing_outside_was_written()


def test_some_of_the_rows(way: str) -> None:
    everything, out = torch.randn(2, 30, 6), torch.full((2, 30, 6), 7.0)
    some, ones, zeros = slice(5, 17), torch.ones(2, 3), torch.zeros(2, 3)
    passes.bn_relu(ChannelSlice(everything[:, some], slice(1, 4)), ones, zeros, ChannelSlice(out[:, some], slice(2, 5)))
    expected = torch.full((2, 30, 6), 7.0)
    expected[:, some, 2:5] = everything[:, some, 1:4].clamp(min=0)
    assert torch.equal(out, expected)


def test_seeds_that_lie_side_by_side_in_memory(way: str) -> None:
    x, out = torch.randn(2, 30, 4), torch.empty(30, 2, 4).transpose(0, 1)
    passes.bn_relu(ChannelSlice.full(x), torch.ones(2, 4), torch.zeros(2, 4), ChannelSlice.full(out))
    assert torch.equal(out, x.clamp(min=0))


# --- Closed forms. ---


def test_mean_and_variance_of_known_numbers(way: str) -> None:
    n = 101
    ramp = torch.arange(n, dtype=torch.float64)
    x = torch.stack([ramp, 3 - 2 * ramp, torch.full_like(ramp, 5.0), ramp % 2], dim=-1).unsqueeze(0)
    mean, variance = passes.store_with_statistics(ChannelSlice.full(x), ChannelSlice.full(torch.empty_like(x)))
    ones = n // 2 / n
    torch.testing.assert_close(mean[0].tolist(), [50.0, -97.0, 5.0, ones], rtol=1e-13, atol=0)
    torch.testing.assert_close(variance[0].tolist(), [850.0, 3400.0, 0.0, ones * (1 - ones)], rtol=1e-13, atol=0)


@pytest.mark.parametrize("rows", [100, 4096])
def test_a_variance_beside_a_large_mean_keeps_its_digits(way: str, rows: int) -> None:
    x = (1e4 + torch.randn(1, rows, 3)).float()
    mean, variance = passes.store_with_statistics(ChannelSlice.full(x), ChannelSlice.full(torch.empty_like(x)))
    torch.testing.assert_close(mean.double(), x.double().mean(dim=1), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), x.double().var(dim=1, correction=0), rtol=1e-3, atol=0)


# --- The compiled loops alone. ---


def all_passes(dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(1)
    size = (2, 517, 5)
    x, dy, target, rectified, input_gradient = (Wide(*size, dtype) for _ in range(5))
    gradient = Wide(*size, exact_of(dtype))
    scale, shift = coefficients(2, 5, dtype), coefficients(2, 5, dtype)
    mean, variance = passes.store_with_statistics(x.channel_slice, target.channel_slice)
    passes.bn_relu(x.channel_slice, scale, shift, rectified.channel_slice)
    sums, products = passes.bn_relu_backward(
        dy.channel_slice, x.channel_slice, scale, shift, mean, gradient.channel_slice
    )
    passes.statistics_backward(
        gradient.channel_slice, x.channel_slice, sums / 517, products / 517, input_gradient.channel_slice
    )
    arrays = [each.rows for each in (target, rectified, gradient, input_gradient)]
    return [mean, variance, sums, products, *arrays]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit(loops: None, dtype: torch.dtype) -> None:
    alone = all_passes(dtype)
    torch.set_num_threads(2)
    together = all_passes(dtype)
    assert all(torch.equal(one, two) for one, two in zip(alone, together, strict=True))


def test_a_seed_beside_others_has_the_bits_it_has_alone(loops: None) -> None:
    x, scale, shift = torch.randn(3, 100, 4), torch.randn(3, 4), torch.randn(3, 4)
    together, alone = torch.empty_like(x), torch.empty_like(x)
    statistics = passes.store_with_statistics(ChannelSlice.full(x), ChannelSlice.full(torch.empty_like(x)))
    passes.bn_relu(ChannelSlice.full(x), scale, shift, ChannelSlice.full(together))
    for seed in range(3):
        one = slice(seed, seed + 1)
        passes.bn_relu(ChannelSlice.full(x[one]), scale[one], shift[one], ChannelSlice.full(alone[one]))
        of_one = passes.store_with_statistics(ChannelSlice.full(x[one]), ChannelSlice.full(torch.empty_like(x[one])))
        assert all(torch.equal(found[one], expected) for found, expected in zip(statistics, of_one, strict=True))
    assert torch.equal(together, alone)


def same_values(ours: Tensor, expected: Tensor) -> None:
    assert ours.dtype == expected.dtype
    assert torch.equal(ours.isnan(), expected.isnan())
    assert torch.equal(ours.nan_to_num(0.0, torch.inf, -torch.inf), expected.nan_to_num(0.0, torch.inf, -torch.inf))


def test_any_float32_is_rounded_as_torch_rounds_it(loops: None) -> None:
    """Among them infinities, NaNs, ties to even, subnormals, and what is rounded up to infinity."""
    highest = torch.arange(-(2**15), 2**15, 5, dtype=torch.int32) << 16
    lowest = torch.tensor([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], dtype=torch.int32)
    special = torch.tensor([torch.inf, -torch.inf, torch.nan, 3.4e38, -3.4e38, 1e-44]).view(torch.int32)
    some = torch.randint(-(2**31), 2**31, (20000,)).int()
    numbers = torch.cat([(highest[:, None] | lowest).flatten(), special, some]).view(torch.float32)
    gradient = numbers[: len(numbers) // 4 * 4].view(1, -1, 4)
    out = torch.empty_like(gradient, dtype=torch.bfloat16)
    zeros = torch.zeros(1, 4)
    passes.statistics_backward(
        ChannelSlice.full(gradient), ChannelSlice.full(torch.ones_like(out)), zeros, zeros, ChannelSlice.full(out)
    )
    same_values(out, gradient.bfloat16())
    assert out.isnan().any()
    assert out.isinf().any()


def test_products_are_rounded_as_torch_rounds_them(loops: None) -> None:
    x = torch.randn(1, 300, 8).bfloat16()
    x[0, 0] = 1
    scale = torch.tensor([[1 + k / 256 for k in (1, 2, 3, 5, 7)] + [0.3, 1.7, -0.9]])  # on 1, these are ties
    out = torch.empty_like(x)
    passes.bn_relu(ChannelSlice.full(x), scale, torch.zeros_like(scale), ChannelSlice.full(out))
    assert torch.equal(out, (x.float() * scale).relu().bfloat16())


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_stays_so(way: str, dtype: torch.dtype) -> None:
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 1.0], dtype=dtype).repeat(1, 3, 1)
    ones, zeros = (make(1, 4, dtype=exact_of(dtype)) for make in (torch.ones, torch.zeros))
    out, target = torch.empty_like(x), torch.empty_like(x)
    passes.bn_relu(ChannelSlice.full(x), ones, zeros, ChannelSlice.full(out))
    same_values(out, x.relu())
    mean, variance = passes.store_with_statistics(ChannelSlice.full(x), ChannelSlice.full(target))
    same_values(target, x)
    assert mean.isfinite().tolist() == [[False, False, False, True]]
    assert variance.isfinite().tolist() == [[False, False, False, True]]
    gradient = torch.zeros_like(x, dtype=exact_of(dtype))
    passes.statistics_backward(
        ChannelSlice.full(x.to(gradient.dtype)),
        ChannelSlice.full(torch.ones_like(x)),
        zeros,
        zeros,
        ChannelSlice.full(out),
    )
    same_values(out, x)
    dy = torch.ones_like(x)
    _, products = passes.bn_relu_backward(
        ChannelSlice.full(dy), ChannelSlice.full(x), ones, zeros, zeros, ChannelSlice.full(gradient)
    )
    assert products.isfinite().tolist() == [[False, False, False, True]]


def test_other_types_go_without_loops() -> None:
    x = torch.randn(1, 10, 3).half()
    assert passes.loops_for(x) is None
    mean, variance = passes.store_with_statistics(ChannelSlice.full(x), ChannelSlice.full(torch.empty_like(x)))
    assert mean.dtype == variance.dtype == torch.float32
    close(mean, x.double().mean(dim=1))
    close(variance, x.double().var(dim=1, correction=0))


def test_rows_whose_numbers_lie_apart_are_refused_by_loops(loops: None) -> None:
    """Vectors of neighbours would hold other numbers, or none of the array's."""
    x, ones = torch.randn(1, 6, 8).transpose(1, 2), torch.ones(1, 6)
    with pytest.raises(ValueError, match="must be contiguous"):
        passes.bn_relu(ChannelSlice.full(x), ones, ones, ChannelSlice.full(torch.empty(1, 8, 6)))
