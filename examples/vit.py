"""Sweep a small vision transformer over its depth, with warm-up and clipping. Run it in this folder: python vit.py."""

from torch import nn
from torchvision.models import VisionTransformer

import dnlbench


def build(depth, input_shape, classes, network):
    """A vision transformer with `depth` blocks, for patches of 2×2 pixels."""
    channels, size, _ = input_shape
    sizes = {"num_heads": 4, "hidden_dim": 32, "mlp_dim": 64}
    model = VisionTransformer(size, patch_size=2, num_layers=depth, num_classes=classes, **sizes)
    model.conv_proj = nn.Conv2d(channels, 32, kernel_size=2, stride=2)
    return model


if __name__ == "__main__":
    spec = {
        "name": "vit",
        "sweep": {"networks": ["vit:build"], "depths": [1, 2], "seeds": 1},
        "data": {"dataset": "digits", "limit": 256},
        "train": {"epochs": 2, "batch_size": 32, "optimizer": "adamw", "lr": 0.003},
    }
    protocol = {"train.warmup_steps": 8, "train.clip_norm": 1.0}
    profile = dnlbench.run(spec, settings=protocol, out="vit.json")
    print(profile)
