import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.architecture import KernelName
from dnlbench.dnl.kernels import Attention, attention, gaussian, image_kernel, rbf, softmax_average
from tests.covering import covering

H = 0.7
NON_LOCAL: list[KernelName] = ["attention", "gaussian", "rbf"]
KERNELS: list[KernelName] = ["local", *NON_LOCAL]
SHAPES = [(6, 3), (5, 1), (1, 4), (4, 9)]


pytestmark = pytest.mark.usefixtures("float64")


def close(ours: object, expected: object) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def kappa(kernel: KernelName, x: Tensor, i: int, j: int, q: Tensor, r: Tensor, h: float) -> Tensor:
    if kernel == "attention":
        return torch.exp(torch.dot(q @ x[i], r @ x[j]) / math.sqrt(x.shape[1]))
    if kernel == "gaussian":
        return torch.exp(torch.dot(x[i], x[j]))
    if kernel == "rbf":
        return torch.exp(-(x[i] - x[j]).square().sum() / (2 * h**2))
    return torch.tensor(float(i == j))


def double_sum(kernel: KernelName, x: Tensor, q: Tensor, r: Tensor, h: float = H) -> Tensor:
    rows = []
    for i in range(len(x)):
        weights = [kappa(kernel, x, i, j, q, r, h) for j in range(len(x))]
        weighted = [weight * x[j] for j, weight in enumerate(weights)]
        rows.append(torch.stack(weighted).sum(0) / torch.stack(weights).sum())
    return torch.stack(rows)


def double_sum_on_images(kernel: KernelName, images: Tensor, q: Tensor, r: Tensor, h: float = H) -> Tensor:
    _, c, height, width = images.shape
    transformed = []
    for image in images:
        pixels = torch.stack([image[:, row, column] for row in range(height) for column in range(width)])
        averages = iter(double_sum(kernel, pixels, q, r, h))
        planes = torch.stack([torch.stack([next(averages) for _ in range(width)]) for _ in range(height)])
        transformed.append(torch.stack([planes[:, :, channel] for channel in range(c)]))
    return torch.stack(transformed)


def ours(kernel: KernelName, x: Tensor, q: Tensor, r: Tensor, h: float = H) -> Tensor:
    return {"attention": lambda: attention(x, q, r), "gaussian": lambda: gaussian(x), "rbf": lambda: rbf(x, h)}[
        kernel
    ]()


@pytest.mark.parametrize(
    ("kernel", "shape", "h"),
    covering(NON_LOCAL[:2], SHAPES, [H]) + covering(NON_LOCAL[2:], SHAPES, [H, 3.0]),
)
def test_values_and_gradients_equal_the_double_sum(kernel: KernelName, shape: tuple[int, int], h: float) -> None:
    """The bandwidth is that of rbf alone."""
    n, c = shape
    x = torch.randn(2, 2, n, c, requires_grad=True)
    q, r = torch.randn(c, c, requires_grad=True), torch.randn(c, c, requires_grad=True)
    leaves = [x, q, r] if kernel == "attention" else [x]
    ahead = torch.randn(2, 2, n, c)
    result = ours(kernel, x, q, r, h)
    expected = torch.stack([double_sum(kernel, one, q, r, h) for one in x.flatten(0, 1)]).view(x.shape)
    close(result, expected)
    close(torch.autograd.grad(result, leaves, ahead), torch.autograd.grad(expected, leaves, ahead))


def test_attention_equals_that_of_torch_and_softmax_written_out() -> None:
    x, q, r = torch.randn(2, 7, 5), torch.randn(5, 5), torch.randn(5, 5)
    queries, keys = torch.einsum("dc,bic->bid", q, x), torch.einsum("dc,bjc->bjd", r, x)
    exponentials = torch.exp((queries[:, :, None] * keys[:, None]).sum(-1) / 5**0.5)
    close(attention(x, q, r), functional.scaled_dot_product_attention(queries, keys, x))
    close(attention(x, q, r), torch.einsum("bij,bjc->bic", exponentials, x) / exponentials.sum(-1, keepdim=True))


@pytest.mark.parametrize(("d", "c"), [(2, 5), (5, 2), (3, 3)])
def test_softmax_average_with_queries_of_another_width_than_values(d: int, c: int) -> None:
    query, key, value = torch.randn(3, 6, d), torch.randn(3, 6, d), torch.randn(3, 6, c)
    exponentials = torch.exp(0.3 * (query[:, :, None] * key[:, None]).sum(-1))
    expected = (exponentials[..., None] * value[:, None]).sum(2) / exponentials.sum(2)[..., None]
    close(softmax_average(query, key, value, 0.3), expected)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "every other": lambda x: x.repeat_interleave(2, dim=1).repeat_interleave(2, dim=3)[:, ::2, :, ::2],
    "batch last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(2, 3, 3, 2), (2, 3, 2, 4), (3, 1, 1, 3), (1, 2, 1, 1)])
def test_images_of_any_layout_equal_the_double_sum_over_pixels(kernel: KernelName, shape: tuple[int, ...]) -> None:
    transform = image_kernel(kernel, shape[1], H)
    q, r = torch.eye(shape[1]), torch.eye(shape[1])
    if isinstance(transform, Attention):
        q, r = transform.q.weight, transform.r.weight
    images, ahead = torch.randn(shape, requires_grad=True), torch.randn(shape)
    expected = double_sum_on_images(kernel, images, q, r)
    leaves = [images, *transform.parameters()]
    gradients = torch.autograd.grad(expected, leaves, ahead)
    for layout in LAYOUTS.values():
        given = layout(images)
        torch.testing.assert_close(given, images)
        result = transform(given)
        close(result, expected)
        close(torch.autograd.grad(result, leaves, ahead), gradients)


def test_the_local_kernel_is_the_identity() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(image_kernel("local", 3, H)(x), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", NON_LOCAL)
def test_large_inputs_do_not_overflow(kernel: KernelName, dtype: torch.dtype) -> None:
    x = (30 * torch.randn(16, 8)).to(dtype).requires_grad_()
    q = torch.eye(8, dtype=dtype)
    scores = {
        "attention": x @ x.mT / math.sqrt(8),
        "gaussian": x @ x.mT,
        "rbf": -(x[:, None] - x[None]).square().sum(-1) / (2 * H**2),
    }[kernel]
    assert torch.exp(x @ x.mT).isinf().any()
    weights = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-3
    result = ours(kernel, x, q, q)
    torch.testing.assert_close(result, weights @ x / weights.sum(1, keepdim=True), rtol=tolerance, atol=tolerance)
    assert torch.autograd.grad(result.sum(), x)[0].isfinite().all()


def test_gaussian_of_equal_positions_of_size_30_leaves_them() -> None:
    close(gaussian(torch.full((5, 4), 30.0)), torch.full((5, 4), 30.0))
