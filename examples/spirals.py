"""Sweep a network over its depth on a torch Dataset. Run it in this folder: python spirals.py."""

import torch
from torch import nn
from torch.utils.data import Dataset

import dnlbench


class Spirals(Dataset):
    """Points (x, y) on two spirals, with the spiral as class."""

    def __init__(self, train, data):
        random = torch.Generator().manual_seed(int(train))
        self.angles, self.spirals = 9 * torch.rand(400, generator=random), torch.arange(400) % 2

    def __len__(self):
        return len(self.spirals)

    def __getitem__(self, index):
        angle, spiral = self.angles[index], self.spirals[index]
        turned = angle + torch.pi * spiral
        return angle / 9 * torch.stack([turned.cos(), turned.sin()]), spiral


def build(depth, input_shape, classes, network):
    """A perceptron with `depth` hidden layers."""
    layers = [layer for _ in range(depth) for layer in (nn.ReLU(), nn.Linear(32, 32))]
    return nn.Sequential(nn.Linear(*input_shape, 32), *layers, nn.ReLU(), nn.Linear(32, classes))


if __name__ == "__main__":
    sweep = {"networks": ["spirals:build"], "depths": [1, 2], "seeds": 1}
    train = {"epochs": 2, "optimizer": "adamw", "evaluate": True}
    spec = {"name": "spirals", "sweep": sweep, "data": {"dataset": "spirals:Spirals"}, "train": train}
    print(dnlbench.run(spec, out="spirals.json"))
