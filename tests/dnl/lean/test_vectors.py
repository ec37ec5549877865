"""Vectors in compiled loops, held against NumPy and against torch's bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

from dnlbench.dnl.lean.vectors import LANES, first, load, store, where_positive, zeros

pytestmark = pytest.mark.xdist_group("loops")

OFTEN = 3 * LANES


@njit
def _copy(source: Any, target: Any, at: int, count: int) -> None:
    store(load(source, 0, at, first(count)), target, 0, at, first(count))


@njit
def _copy_whole(source: Any, target: Any, at: int) -> None:
    store(load(source, 0, at, None), target, 0, at, None)


@njit
def _compute(a: Any, b: Any, out: Any, count: int) -> None:
    mask = first(count)
    one, other = load(a, 0, 0, mask), load(b, 0, 0, mask)
    store(one * other + one, out, 0, 0, mask)
    store(one - other, out, 1, 0, mask)
    store(where_positive(one, other), out, 2, 0, mask)
    store(zeros(a), out, 3, 0, mask)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_no_number_beyond_the_mask_is_touched(dtype: Any) -> None:
    for count in range(LANES + 1):
        source = np.random.default_rng(count).normal(size=(1, OFTEN)).astype(np.float32)
        if dtype == np.uint16:
            source = torch.from_numpy(source).bfloat16().view(torch.int16).numpy().view(np.uint16)
        source, at = source.astype(dtype), 5
        target = np.full_like(source, 7)
        _copy(source, target, at, count)
        expected = np.full_like(source, 7)
        expected[:, at : at + count] = source[:, at : at + count]
        np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("at", [0, 1, LANES, OFTEN - LANES])
def test_without_a_mask_all_lanes_go(at: int) -> None:
    source = np.arange(OFTEN, dtype=np.float32)[None]
    target = np.zeros_like(source)
    _copy_whole(source, target, at)
    assert np.flatnonzero(target != np.where((source >= at) & (source < at + LANES), source, 0)).size == 0


def test_the_last_lanes_of_an_array_are_not_read_beyond_its_end() -> None:
    """The row ends where another array's memory may begin."""
    source, target = np.arange(6, dtype=np.float32)[None], np.zeros((1, 6), np.float32)
    _copy(source, target, 0, 6)
    np.testing.assert_array_equal(target, source)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 6, LANES])
def test_arithmetic_is_that_of_numpy(dtype: Any, count: int) -> None:
    random = np.random.default_rng(1)
    a, b = (random.normal(size=(1, LANES)).astype(dtype) for _ in range(2))
    out = np.full((4, LANES), 9, dtype)
    _compute(a, b, out, count)
    one, other = a[0, :count], b[0, :count]
    precision = 4 * np.finfo(dtype).eps  # of a product that is not rounded before it is added
    np.testing.assert_allclose(out[0, :count], one * other + one, rtol=precision, atol=precision)
    np.testing.assert_array_equal(out[1, :count], one - other)
    np.testing.assert_array_equal(out[2, :count], np.where(one > 0, other, 0))
    np.testing.assert_array_equal(out[3, :count], 0)
    np.testing.assert_array_equal(out[:, count:], 9)


def test_where_a_condition_is_no_number_the_value_stays() -> None:
    condition = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45] + [0.0] * 10], np.float32)
    value = np.full((1, LANES), 3, np.float32)
    out = np.zeros((4, LANES), np.float32)
    _compute(condition, value, out, LANES)
    assert out[2, :6].tolist() == [3, 3, 0, 0, 0, 3]


@njit
def _add(a: Any, b: Any, out: Any) -> None:
    for at in range(0, a.shape[1], LANES):
        store(load(a, 0, at, None) + load(b, 0, at, None), out, 0, at, None)


def test_bfloat16_is_rounded_as_torch_does() -> None:
    """Every bfloat16 plus halves, quarters and three quarters of its last digit, ties among them."""
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    numbers = bits.view(torch.bfloat16)
    for share in (0, 0x4000, 0x7FFF, 0x8000, 0x8001, 0xC000):
        wanted = ((bits.to(torch.int32) << 16) | share).view(torch.float32)
        rest = wanted - numbers.float()
        rest = torch.where(rest.isfinite(), rest, 0)
        out = np.zeros((1, 2**16), np.uint16)
        _add(bits.numpy().view(np.uint16)[None].astype(np.uint16), rest.numpy()[None], out)
        found = torch.from_numpy(out[0].view(np.int16)).view(torch.bfloat16)
        expected = (numbers.float() + rest).bfloat16()
        assert torch.equal(found.isnan(), expected.isnan())
        alike = ~expected.isnan()
        assert torch.equal(found[alike].view(torch.int16), expected[alike].view(torch.int16))
