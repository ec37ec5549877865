"""Between curves and arrays: `dnlbench.dnl.extension`."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from dnlbench.dnl.curves import Curve, Curves, Surface, random_curves
from dnlbench.dnl.extension import (
    average,
    distances,
    extend,
    grid,
    l2_norm,
    prolong,
    sample,
    sup_norm,
)
from dnlbench.dnl.parameters import Arrays, packed_pairs, packed_size, unpack

AWKWARD = [1, 2, 7, 49, 100]
"""``(l / L) L`` is not always ``l`` in floating point, for L = 49 among them."""


pytestmark = pytest.mark.usefixtures("float64")


def random_arrays(L: int, d: int = 2, dtype: torch.dtype = torch.float64) -> Arrays:
    shapes = {"A": (L, d, d), "b": (L, d), "K": (packed_size(L), d, d), "V": (L, 1, 1), "Q": (L, 1, 1), "R": (L, 1, 1)}
    return Arrays(**{name: torch.randn(shape).to(dtype) for name, shape in shapes.items()})


def everything(arrays: Arrays) -> dict[str, Tensor]:
    return {**dict(arrays.one_index()), "K": arrays.K}


def scalar_curves(p: Callable[[Tensor], Tensor], K: Callable[[Tensor, Tensor], Tensor]) -> Curves:
    """All parameters of a network with d = 1: the same curve, and one surface."""

    def matrix(t: Tensor) -> Tensor:
        return p(t)[:, None, None]

    return Curves(A=matrix, b=lambda t: p(t)[:, None], V=matrix, K=lambda t, s: (K(t, s) + 0 * t * s)[..., None, None])


# Sampling and extension


def test_awkward_depths_are_awkward() -> None:
    assert any((grid(L) * L != torch.arange(L)).any() for L in AWKWARD)


@pytest.mark.parametrize("L", AWKWARD)
def test_samples_are_the_values_at_the_grid(L: int) -> None:
    curves = random_curves("attention", positions=2, channels=1, seed=0)
    arrays = sample(curves, L)
    assert arrays.depth == L
    assert [name for name, _ in arrays.one_index()] == ["A", "b", "V", "Q", "R"]
    t = torch.tensor([l / L for l in range(L)])  # noqa: E741
    for name, curve in curves.one_index():
        assert torch.equal(getattr(arrays, name), curve(t))
    for place in {0, L // 2, packed_size(L) - 1}:
        l, k = (index[place] for index in packed_pairs(L))  # noqa: E741
        torch.testing.assert_close(arrays.K[place], curves.K(t[l].view(1, 1), t[k].view(1))[0, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("L", AWKWARD)
def test_samples_of_an_extension_are_the_arrays_bit_for_bit(L: int, linear: bool, dtype: torch.dtype) -> None:
    arrays = random_arrays(L, dtype=dtype)
    again = everything(sample(extend(arrays, linear=linear), L))
    for name, values in everything(arrays).items():
        assert again[name].dtype == dtype
        assert torch.equal(again[name], values)


@pytest.mark.parametrize("L", [1, 2, 7])
def test_constant_extensions_hold_each_value_until_the_next(L: int) -> None:
    arrays = random_arrays(L)
    curves, square = extend(arrays, linear=False), unpack(arrays.K)
    t = torch.rand(40)
    cells = (t * L).long()
    assert torch.equal(curves.b(t), arrays.b[cells])
    assert torch.equal(curves.K(t[:, None], t[:9]), square[cells[:, None], cells[:9]])
    assert torch.equal(curves.K(t[:9, None], t), square[cells[:9, None], cells])
    end = torch.ones(1)
    assert torch.equal(curves.b(end)[0], arrays.b[-1])
    assert torch.equal(curves.K(end[:, None], end)[0, 0], arrays.K[-1])
    before = (torch.arange(1, L) - 1e-6) / L  # still the cell before
    assert torch.equal(curves.b(before), arrays.b[:-1])


@pytest.mark.parametrize("L", [1, 2, 7])
def test_linear_extensions_are_sums_of_hat_functions(L: int) -> None:
    arrays = random_arrays(L)
    curves, square = extend(arrays), unpack(arrays.K)

    def hats(times: Tensor) -> Tensor:
        shares = torch.zeros(len(times), L)
        for i, t in enumerate(times.clamp(max=(L - 1) / L)):  # constant beyond t_{L-1}
            for l in range(L):  # noqa: E741
                shares[i, l] = max(0.0, 1 - L * abs(float(t) - l / L))
        return shares

    t, s = torch.cat([torch.rand(20), torch.tensor([0.0, 1 - 0.5 / L, 1.0])]), torch.rand(5)
    torch.testing.assert_close(curves.A(t), torch.einsum("ml,lij->mij", hats(t), arrays.A))
    for rows, columns in ((t, s), (s, t), (t, t), (s[:1], s[:1])):
        expected = torch.einsum("rl,jk,lkab->rjab", hats(rows), hats(columns), square)
        torch.testing.assert_close(curves.K(rows[:, None], columns), expected)


def test_extensions_are_symmetric_in_t_and_s() -> None:
    for linear in (False, True):
        K, t = extend(random_arrays(6), linear=linear).K, torch.rand(15)
        torch.testing.assert_close(K(t[:, None], t), K(t[:, None], t).transpose(0, 1))


def test_extensions_are_differentiable() -> None:
    arrays = random_arrays(3)
    t = torch.tensor([0.1, 1 / 3, 0.6, 0.9])
    for linear in (False, True):

        def values(b: Tensor, K: Tensor, linear: bool = linear) -> tuple[Tensor, Tensor]:
            curves = extend(replace(arrays, b=b, K=K), linear=linear)
            return curves.b(t), curves.K(t[:, None], t[:3])

        assert torch.autograd.gradcheck(values, (arrays.b.requires_grad_(), arrays.K.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("L", AWKWARD)
def test_prolongation_keeps_even_entries_and_puts_means_between(L: int, dtype: torch.dtype) -> None:
    coarse = random_arrays(L, dtype=dtype)
    fine = prolong(coarse)
    assert fine.depth == 2 * L
    for name, values in coarse.one_index():
        twice = getattr(fine, name)
        assert twice.dtype == dtype
        assert torch.equal(twice[::2], values)
        torch.testing.assert_close(twice[1:-1:2], (values[1:] + values[:-1]) / 2)
        assert torch.equal(twice[-1], values[-1]), "constant beyond the last"
    square, twice = unpack(coarse.K), unpack(fine.K)
    assert torch.equal(twice[::2, ::2], square)
    torch.testing.assert_close(twice[1:-1:2, ::2], (square[1:] + square[:-1]) / 2)
    corners = square[1:, 1:] + square[1:, :-1] + square[:-1, 1:] + square[:-1, :-1]
    torch.testing.assert_close(twice[1:-1:2, 1:-1:2], corners / 4)
    torch.testing.assert_close(twice[-1], twice[-2], rtol=0, atol=0)


# Cell averages


def power_mean(power: int, cell: int, L: int) -> float:
    """``L ∫ t^p dt`` over ``[t_l, t_{l+1}]``."""
    start, end = cell / L, (cell + 1) / L
    return L * (math.pow(end, power + 1) - math.pow(start, power + 1)) / (power + 1)


@pytest.mark.parametrize("L", [1, 2, 5])
@pytest.mark.parametrize(("p", "q"), [(0, 0), (1, 0), (0, 1), (2, 3), (5, 5)])
def test_cell_averages_of_polynomials_up_to_degree_5_are_exact_off_the_diagonal(L: int, p: int, q: int) -> None:
    arrays = average(scalar_curves(lambda t: t**p, lambda t, s: t**p * s**q), L)
    expected = torch.tensor([power_mean(p, cell, L) for cell in range(L)])
    torch.testing.assert_close(arrays.A.flatten(), expected)
    torch.testing.assert_close(arrays.b.flatten(), expected)
    for value, l, k in zip(arrays.K.flatten().tolist(), *map(Tensor.tolist, packed_pairs(L)), strict=True):  # noqa: E741
        if l > k:
            assert value == pytest.approx(power_mean(p, l, L) * power_mean(q, k, L), rel=1e-12)


@pytest.mark.parametrize("L", [1, 2, 5, 10])
def test_cell_averages_on_the_diagonal_err_by_the_kink_of_the_flipped_surface(L: int) -> None:
    def symmetric(t: Tensor, s: Tensor) -> Tensor:
        return t * s + t**2 + s**2

    # A symmetric surface has no kink: exact, and so it is for the values below the diagonal alone.
    below = average(scalar_curves(torch.cos, lambda t, s: symmetric(t, s).where(s <= t, torch.nan)), L)
    diagonal = [l == k for l, k in zip(*map(Tensor.tolist, packed_pairs(L)), strict=True)]  # noqa: E741
    exact = [power_mean(1, l, L) ** 2 + 2 * power_mean(2, l, L) for l in range(L)]  # noqa: E741
    torch.testing.assert_close(below.K.flatten()[torch.tensor(diagonal)], torch.tensor(exact))
    # K = t flipped is max(t, s), whose mean over [t_l, t_{l+1}]² is t_l + 2 / (3 L); three points miss 0.0113 / L of it.
    found = average(scalar_curves(torch.cos, lambda t, s: t), L).K.flatten()[torch.tensor(diagonal)]
    errors = L * (found - grid(L) - 2 / (3 * L))
    torch.testing.assert_close(errors, torch.full((L,), -0.01127), rtol=0, atol=1e-5)


def test_averages_of_a_constant_extension_are_the_arrays() -> None:
    arrays = random_arrays(7)
    again = everything(average(extend(arrays, linear=False), 7))
    for name, values in everything(arrays).items():
        torch.testing.assert_close(again[name], values)


def test_averages_are_single_precision_for_curves_that_are() -> None:
    single = average(random_curves("attention", positions=2, channels=2, seed=0, dtype=torch.float32), 5)
    double = average(random_curves("attention", positions=2, channels=2, seed=0), 5)
    for name, values in everything(single).items():
        assert values.dtype == torch.float32
        torch.testing.assert_close(values.double(), everything(double)[name], rtol=1e-5, atol=1e-6)


# Orders of convergence


def observed_orders(errors: list[float]) -> list[float]:
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def curve_errors(p: Curve, *, linear: bool, until: float = 1.0) -> list[float]:
    """Sup norms over [0, until] of what extended samples of a curve lack."""
    errors = []
    for L in (32, 64, 128, 256):
        found = extend(sample(scalar_curves(p, lambda t, s: t), L), linear=linear).b

        def lacking(t: Tensor, found: Curve = found) -> Tensor:
            return p(until * t)[:, None] - found(until * t)

        errors.append(sup_norm(lacking, 8192 + 1))
    return errors


def test_order_of_extended_curves() -> None:
    def general(t: Tensor) -> Tensor:
        return torch.exp(t) + torch.sin(3 * t)

    def flat(t: Tensor) -> Tensor:
        return torch.cos(math.pi * t) + torch.cos(3 * math.pi * t)

    assert observed_orders(curve_errors(general, linear=False)) == pytest.approx([1] * 3, abs=0.05)
    assert observed_orders(curve_errors(general, linear=True, until=1 - 1 / 32)) == pytest.approx([2] * 3, abs=0.05)
    # Constant beyond t_{L-1}, the linear extension misses p'(1) / L in the last cell: order 2 needs p'(1) = 0, as of cosines.
    assert observed_orders(curve_errors(general, linear=True)) == pytest.approx([1] * 3, abs=0.05)
    assert observed_orders(curve_errors(flat, linear=False)) == pytest.approx([1] * 3, abs=0.05)
    assert observed_orders(curve_errors(flat, linear=True)) == pytest.approx([2] * 3, abs=0.05)


def surface_errors(K: Surface, *, linear: bool) -> list[float]:
    """L² norms of what extended samples of a surface lack, the surface flipped as they are."""
    errors = []
    for L in (16, 32, 64, 128):
        found = extend(sample(scalar_curves(torch.cos, K), L), linear=linear).K

        def lacking(t: Tensor, s: Tensor, found: Surface = found) -> Tensor:
            return K(torch.maximum(t, s), torch.minimum(t, s))[..., None, None] - found(t, s)

        errors.append(l2_norm(lacking, 512))
    return errors


def test_order_of_extended_surfaces() -> None:
    def symmetric(t: Tensor, s: Tensor) -> Tensor:
        return torch.cos(math.pi * t) * torch.cos(math.pi * s)

    def kinked(t: Tensor, s: Tensor) -> Tensor:
        return (1 - t) * s

    assert observed_orders(surface_errors(symmetric, linear=False))[1:] == pytest.approx([1] * 2, abs=0.05)
    assert observed_orders(surface_errors(symmetric, linear=True))[1:] == pytest.approx([2] * 2, abs=0.2)
    # Flipped, a surface that is not symmetric has a kink on the diagonal: an error of order 1 on cells of area 1 / L.
    assert observed_orders(surface_errors(kinked, linear=False))[1:] == pytest.approx([1] * 2, abs=0.05)
    assert observed_orders(surface_errors(kinked, linear=True))[1:] == pytest.approx([1.5] * 2, abs=0.05)


# Norms and distances


def test_sup_norms() -> None:
    assert sup_norm(lambda t: 3 * t - 1) == pytest.approx(2)
    assert sup_norm(lambda t: torch.stack([torch.cos(t), torch.sin(t)], dim=1)) == pytest.approx(1)
    diagonal = sup_norm(
        lambda t: torch.stack([t, -2 * t], dim=1).diag_embed()
    )  # the largest singular value, not the root of 5
    assert diagonal == pytest.approx(2)
    matrices = torch.randn(9, 3, 3)
    norms = [float(torch.linalg.svdvals(matrix)[0]) for matrix in matrices]
    arrays = Arrays(A=matrices, b=matrices[:, 0], V=matrices, K=torch.zeros(45, 3, 3))
    assert sup_norm(extend(arrays).A, 9 * 4 + 1) == pytest.approx(max(norms))
    assert sup_norm(extend(arrays).b, 9 * 4 + 1) == pytest.approx(float(matrices[:, 0].norm(dim=1).max()))


@pytest.mark.parametrize("cells", [1, 3, 50])
def test_l2_norms_of_bilinear_functions_are_exact(cells: int) -> None:
    assert l2_norm(lambda t, s: 1 + 0 * t * s, cells) == pytest.approx(1, rel=1e-14)
    assert l2_norm(lambda t, s: t + 0 * s, cells) == pytest.approx(math.sqrt(1 / 3), rel=1e-14)
    assert l2_norm(lambda t, s: 0 * t + s, cells) == pytest.approx(math.sqrt(1 / 3), rel=1e-14)
    # (1 + 2 t − 3 s + 4 t s)²: 1 + 4/3 + 3 + 16/9 + 2 (1 − 3/2 + 1 − 3/2 + 4/3 − 2)
    square = 1 + 4 / 3 + 3 + 16 / 9 + 2 * (1 - 3 / 2 + 1 - 3 / 2 + 4 / 3 - 2)
    assert l2_norm(lambda t, s: 1 + 2 * t - 3 * s + 4 * t * s, cells) == pytest.approx(math.sqrt(square), rel=1e-13)

    def matrix(t: Tensor, s: Tensor) -> Tensor:
        first, second = torch.stack([t + 0 * s, s + 0 * t], -1), torch.stack([t * s, 1 + 0 * t * s], -1)
        return torch.stack([first, second], -1)

    frobenius = l2_norm(matrix, cells)
    assert frobenius == pytest.approx(math.sqrt(1 / 3 + 1 / 3 + 1 / 9 + 1), rel=1e-14)


def test_l2_norms_of_smooth_functions_are_of_order_4() -> None:
    exact = math.sqrt((1 - math.exp(-2)) / 2) * math.sqrt((math.exp(2) - 1) / 2)
    errors = [abs(l2_norm(lambda t, s: torch.exp(s - t), cells) - exact) for cells in (4, 8, 16)]
    assert observed_orders(errors) == pytest.approx([4, 4], abs=0.05)


def test_distances_by_hand() -> None:
    zero, one = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    flat = Arrays(A=zero, b=zero[0], V=zero, K=zero)
    # 0 at 0, 3 from 1/2 on; K~ = 0 at (0, 0), 1 at (1/2, 0) and (0, 1/2), 2 from (1/2, 1/2) on: bilinear, so t' + s'.
    ramp = Arrays(
        A=torch.cat([zero, -3 * one]),
        b=torch.cat([zero[0], 3 * one[0]]),
        V=torch.cat([one, zero]),
        K=torch.stack([zero[0], one[0], 2 * one[0]]),
    )
    u, u2 = 1 / 4 + 1 / 2, 1 / 6 + 1 / 2  # of t' = min(2 t, 1): mean and mean square
    expected = {"A": 3.0, "b": 3.0, "V": 1.0, "K": math.sqrt(2 * u2 + 2 * u**2)}
    assert distances(flat, ramp) == pytest.approx(expected, rel=1e-14)
    assert distances(ramp, flat) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances_are_those_of_the_extensions_and_symmetric(dtype: torch.dtype) -> None:
    for few, many in ((4, 12), (6, 6), (1, 3)):
        p, q = random_arrays(few, dtype=dtype), random_arrays(many, dtype=dtype)
        found = distances(p, q)
        assert list(found) == ["A", "b", "V", "Q", "R", "K"]
        assert found == pytest.approx(distances(q, p), rel=1e-12)
        ours, theirs = extend(p), extend(q)

        def fine(t: Tensor, s: Tensor, ours: Curves = ours, theirs: Curves = theirs) -> Tensor:
            return ours.K(t, s) - theirs.K(t, s)

        assert found["K"] == pytest.approx(l2_norm(fine, 5 * many), rel=1e-5 if dtype == torch.float32 else 1e-12)
        t = torch.linspace(0, 1, 60 * many + 1)
        assert found["b"] == pytest.approx(float((ours.b(t) - theirs.b(t)).norm(dim=1).max()), rel=1e-5)
        assert distances(p, p) == dict.fromkeys(found, 0.0)


@pytest.mark.parametrize("L", AWKWARD[:-1])
def test_prolonged_arrays_have_the_same_extension(L: int) -> None:
    """In the last cell too: both are constant from the last old sample on, where the new last one repeats it."""
    coarse = random_arrays(L)
    apart = distances(coarse, prolong(coarse))
    assert max(apart.values()) < 1e-12


def test_distances_of_samples_of_one_curve_halve_with_the_step() -> None:
    def general(t: Tensor, s: Tensor) -> Tensor:
        return torch.exp(t - 2 * s)

    curves = scalar_curves(torch.exp, general)
    apart = [distances(sample(curves, L), sample(curves, 2 * L)) for L in (8, 16, 32)]
    for name in ("A", "b", "V"):
        assert observed_orders([each[name] for each in apart]) == pytest.approx([1, 1], abs=0.1)
    assert observed_orders([each["K"] for each in apart]) == pytest.approx([1.5, 1.5], abs=0.1)
