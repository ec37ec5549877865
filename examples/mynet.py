from torch import nn


def build(depth, input_shape, classes, network):
    """A plain convolutional network with `depth` layers."""
    width = network["options"].get("width", 16)
    layers = [nn.Conv2d(input_shape[0], width, 3, padding=1)]
    for _ in range(depth):
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
