"""Sweep a ResNet of torchvision over its depth. Run it in this folder: python resnet.py."""

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

import dnlbench


def build(depth, input_shape, classes, network):
    """A ResNet with `depth` blocks in each of its four stages, for small images; ResNet-18 has depth 2."""
    model = ResNet(BasicBlock, [depth] * 4, num_classes=classes)
    model.conv1 = nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


if __name__ == "__main__":
    spec = {
        "name": "resnet",
        "sweep": {"networks": ["resnet:build"], "depths": [1, 2], "seeds": 1},
        "data": {"dataset": "digits", "limit": 128},
        "train": {"epochs": 1, "batch_size": 32},
    }
    profile = dnlbench.run(spec, out="resnet.json")
    print(profile)
