"""The convolution by offsets against torch's own."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.memory_efficient import convolution, offsets, passes
from dnlbench.dnl.memory_efficient.rows import Grid
from tests.covering import covering

pytest.importorskip("numba")
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.xdist_group("loops")]

SIZES = [(1, 1), (1, 5), (5, 1), (4, 3), (8, 8)]


def inputs(
    out_channels: int, channels: int, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Grid]:
    """Rows, filters and what may come back, of three images."""
    grid = Grid(3, height, width)
    rows, d_out = torch.randn(grid.rows, channels), torch.randn(grid.rows, out_channels)
    return rows.to(dtype), torch.randn(out_channels, channels, 3, 3).to(dtype), d_out.to(dtype), grid


def expected(rows: Tensor, filters: Tensor, d_out: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Of `functional.conv2d` and autograd, in float64."""
    with torch.enable_grad():
        leaves = [rows.double().requires_grad_(), filters.double().requires_grad_()]
        images = leaves[0].view(grid.batch, grid.height, grid.width, -1).permute(0, 3, 1, 2)
        out_channels = functional.conv2d(images, leaves[1], padding=1).permute(0, 2, 3, 1).flatten(0, 2)
        d_rows, d_filters = torch.autograd.grad(out_channels, leaves, d_out.double())
    return out_channels.detach(), d_rows, d_filters


@pytest.mark.parametrize(
    ("size", "out_channels", "dtype"), covering(SIZES, range(1, 8), [torch.float64, torch.float32, torch.bfloat16])
)
def test_offsets_convolve_as_torch_does(size: tuple[int, int], out_channels: int, dtype: torch.dtype) -> None:
    height, width = size
    rows, filters, d_out, grid = inputs(out_channels, 5, height, width, dtype)
    ours = (offsets.convolve(rows, filters, grid), *offsets.convolve_back(d_out, rows, filters, grid))
    bound = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    for found, right in zip(ours, expected(rows, filters, d_out, grid), strict=True):
        assert found.dtype == dtype
        assert found.shape == right.shape
        assert (found.double() - right).abs().max() <= bound * right.abs().max()


def test_a_filter_of_one_tap_shifts() -> None:
    """By its place against the middle, within its image, with zeros coming in."""
    grid = Grid(2, 3, 4)
    rows = torch.arange(1.0, 25).view(24, 1)
    images = rows.view(2, 3, 4)
    for down in range(3):
        for right in range(3):
            filters = torch.zeros(1, 1, 3, 3)
            filters[0, 0, down, right] = 2
            padded = functional.pad(images, (1, 1, 1, 1))
            shifted = 2 * padded[:, down : down + 3, right : right + 4]
            assert torch.equal(offsets.convolve(rows, filters, grid).view(2, 3, 4), shifted)


def test_taps_are_taken_where_they_are_cheaper(monkeypatch: pytest.MonkeyPatch) -> None:
    def better(out_channels: int, channels: int, dtype: torch.dtype = torch.float32, side: int = 3) -> bool:
        return offsets.are_better(
            torch.zeros(1, 4, channels, dtype=dtype), torch.zeros(1, out_channels, channels, side, side)
        )

    assert better(6, 54)
    assert not better(6, 53)
    assert better(6, 27, torch.bfloat16)
    assert not better(6, 26, torch.bfloat16)
    assert not better(16, 1000)
    assert not better(1, 100, side=1)
    assert not better(6, 100, torch.float16)
    monkeypatch.setattr(passes, "loops_are_installed", lambda: False)
    assert not better(6, 54)


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("channels", [4, 20])
def test_several_seeds(monkeypatch: pytest.MonkeyPatch, together: bool, side: int, channels: int) -> None:
    """By offsets, where ``side`` is 3 and there are 20 channels for 2, and directly."""
    monkeypatch.setattr(convolution, "groups_seeds", lambda _: together)
    grid, seeds, out_channels = Grid(3, 4, 5), 3, 2
    rows = torch.randn(seeds, grid.rows, channels, dtype=torch.float64, requires_grad=True)
    filters = torch.randn(seeds, out_channels, channels, side, side, dtype=torch.float64, requires_grad=True)
    d_out = torch.randn(seeds, grid.rows, out_channels, dtype=torch.float64)
    right = torch.stack(
        [
            functional.conv2d(image, kernel, padding=side // 2).permute(0, 2, 3, 1).flatten(0, 2)
            for image, kernel in zip(grid.images(rows), filters, strict=True)
        ]
    )
    gradients = torch.autograd.grad(right, [rows, filters], d_out)
    given = convolution.empty_rows(rows.detach(), channels).copy_(rows.detach())
    ours = convolution.convolve(given, filters.detach(), grid)
    torch.testing.assert_close(ours, right.detach(), rtol=1e-12, atol=1e-12)
    back = convolution.convolve_back(d_out, given, filters.detach(), grid)
    torch.testing.assert_close(back, gradients, rtol=1e-12, atol=1e-12)
