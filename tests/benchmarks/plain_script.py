"""A depth sweep as one would write it today in plain PyTorch: the yardstick for dnlbench, of which it knows nothing.

``python tests/benchmarks/plain_script.py IMAGES.npz --depths 4 8 16 --seeds 4 --epochs 1`` trains a network for each depth and
seed, one after the other. The file holds ``images``, uint8 of shape (N, H, W, C), and ``labels``.

DenseNet is written as in torchvision, by concatenation of a list of features in each layer, without bottleneck. The non-local
variants follow Eq. (1) of arXiv 2510.02049 word for word: each layer applies the kernel to all its inputs, and the kernel's
matrix over pairs of pixels is computed in full.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

NETWORKS = ("densenet", "dense-attention", "dense-gaussian")
BATCH_SIZE, LR, MOMENTUM = 64, 0.01, 0.9


class Images(Dataset[tuple[Tensor, int]]):
    """Images in memory, each given as torchvision's CIFAR10 does: made a PIL image, then transformed."""

    def __init__(
        self, images: np.ndarray, labels: Sequence[int], transform: Callable[[Image.Image], Tensor] | None = None
    ) -> None:
        self.images, self.labels = images, [int(label) for label in labels]
        self.transform = transform or ToTensor()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class Attention(nn.Module):
    """Embedded Gaussian: weights exp((Q x_i)·(R x_j) / sqrt(c)), normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.q = nn.Linear(channels, channels, bias=False)
        self.r = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, H, W) to the same."""
        pixels = x.flatten(2).transpose(1, 2)  # (B, n, c)
        scores = self.q(pixels) @ self.r(pixels).transpose(1, 2) / math.sqrt(x.shape[1])
        return (torch.softmax(scores, dim=-1) @ pixels).transpose(1, 2).reshape(x.shape)


class Gaussian(nn.Module):
    """Weights exp(x_i · x_j), normalised."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, H, W) to the same."""
        pixels = x.flatten(2).transpose(1, 2)  # (B, n, c)
        scores = pixels @ pixels.transpose(1, 2)
        return (torch.softmax(scores, dim=-1) @ pixels).transpose(1, 2).reshape(x.shape)


def make_kernel(network: str, channels: int) -> nn.Module:
    """What is done to a state before a layer reads it."""
    if network == "dense-attention":
        return Attention(channels)
    return Gaussian() if network == "dense-gaussian" else nn.Identity()


class DenseLayer(nn.Module):
    """Concatenation, batch norm, ReLU, 3×3 convolution."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        """The next feature map from all before it."""
        return self.conv(self.relu(self.norm(torch.cat(features, 1))))  # type: ignore[no-any-return]


class DenseBlock(nn.Module):
    """Layers that each read everything before them."""

    def __init__(self, network: str, depth: int, channels: int, growth: int) -> None:
        super().__init__()
        widths = [channels, *[growth] * (depth - 1)]
        self.kernels = nn.ModuleList(make_kernel(network, width) for width in widths)
        self.layers = nn.ModuleList(DenseLayer(channels + i * growth, growth) for i in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """The input and what every layer adds."""
        features = [x]
        for layer in self.layers:
            inputs = [kernel(feature) for kernel, feature in zip(self.kernels, features, strict=False)]
            features.append(layer(inputs))
        return torch.cat(features, 1)


class Transition(nn.Module):
    """Half as many channels, half the side."""

    def __init__(self, channels: int, kept: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(channels, kept, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """To half the side."""
        return self.pool(self.conv(self.relu(self.norm(x))))  # type: ignore[no-any-return]


class Network(nn.Module):
    """Stem, dense blocks with transitions between, classifier."""

    def __init__(
        self, network: str, depth: int, *, growth: int = 6, blocks: int = 4, colours: int = 3, classes: int = 10
    ) -> None:
        super().__init__()
        channels = 2 * growth
        self.stem = nn.Conv2d(colours, channels, 3, padding=1, bias=False)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for block in range(blocks):
            self.blocks.append(DenseBlock(network, depth, channels, growth))
            channels += depth * growth
            if block < blocks - 1:
                self.transitions.append(Transition(channels, channels // 2))
                channels //= 2
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x = self.stem(images)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index < len(self.transitions):
                x = self.transitions[index](x)
        x = functional.relu(self.norm(x))
        x = torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1)
        return self.classifier(x)  # type: ignore[no-any-return]


def make_loader(data: Images, order: Sequence[int] | None = None) -> DataLoader[Any]:
    """Shuffled batches, or batches in a given order."""
    if order is None:
        return DataLoader(data, batch_size=BATCH_SIZE, shuffle=True)
    return DataLoader(data, batch_size=BATCH_SIZE, sampler=list(order))


def make_optimizer(network: nn.Module) -> torch.optim.SGD:
    """The paper's."""
    return torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)


def train_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, *, bf16: bool = False
) -> float:
    """One training step; the loss before it."""
    optimizer.zero_grad()
    with torch.autocast(images.device.type, dtype=torch.bfloat16) if bf16 else nullcontext():
        loss = functional.cross_entropy(network(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def train_epoch(network: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader[Any]) -> float:
    """Mean loss over the samples of one epoch."""
    network.train()
    total, samples = 0.0, 0
    for images, labels in loader:
        total += train_step(network, optimizer, images, labels) * len(labels)
        samples += len(labels)
    return total / samples


def sweep(
    data: Images, network: str, depths: Sequence[int], seeds: int, epochs: int
) -> Iterator[dict[str, str | int | float]]:
    """All runs, one after the other; a row for each epoch."""
    for depth in depths:
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = Network(network, depth, classes=max(data.labels) + 1)
            optimizer, loader = make_optimizer(model), make_loader(data)
            for epoch in range(1, epochs + 1):
                start = time.perf_counter()
                loss = train_epoch(model, optimizer, loader)
                seconds = time.perf_counter() - start
                yield {
                    "network": network,
                    "depth": depth,
                    "seed": seed,
                    "epoch": epoch,
                    "train_loss": loss,
                    "seconds": seconds,
                }


def main() -> None:
    """Prints a JSON object for each epoch."""
    parser = argparse.ArgumentParser(description="A depth sweep in plain PyTorch.")
    parser.add_argument("images")
    parser.add_argument("--network", choices=NETWORKS, default="densenet")
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=1)
    chosen = parser.parse_args()
    with np.load(chosen.images) as file:
        data = Images(file["images"], file["labels"].tolist())
    for row in sweep(data, chosen.network, chosen.depths, chosen.seeds, chosen.epochs):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
