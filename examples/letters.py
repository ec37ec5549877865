"""Sweep a recurrent network that predicts the next letter of a text. Run it in this folder: python letters.py."""

from pydoc_data.topics import topics

import torch
from torch import nn

import dnlbench


def lines(train, data):
    """Lines of 64 letters from Python's manual. The targets are the inputs; the objective shifts them."""
    text = " ".join(topics.values()).encode("ascii", "replace")[: 64 * 240]
    tokens = torch.tensor(list(text)).reshape(-1, 64)
    return (tokens[:200], tokens[:200]) if train else (tokens[200:], tokens[200:])


class Layers(nn.GRU):
    def forward(self, x):
        return super().forward(x)[0]  # (B, T, 32), without the last states


def build(depth, input_shape, classes, network):
    return nn.Sequential(nn.Embedding(classes, 32), Layers(32, 32, depth, batch_first=True), nn.Linear(32, classes))


if __name__ == "__main__":
    sweep = {"networks": ["letters:build"], "depths": [1, 2], "seeds": 1}
    train = {"epochs": 2, "optimizer": "adamw", "objective": "next-token", "evaluate": True}
    spec = {"name": "letters", "sweep": sweep, "data": {"dataset": "letters:lines"}, "train": train}
    print(dnlbench.run(spec, out="letters.json"))
