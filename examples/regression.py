"""Sweep a network over its depth on a CSV table of diabetes patients. Run it in this folder: python regression.py."""

import numpy as np
from sklearn.datasets import load_diabetes
from torch import nn

import dnlbench


def build(depth, input_shape, classes, network):
    """A perceptron with `depth` hidden layers; `classes` is the number of predicted values."""
    layers = [nn.Linear(*input_shape, 32)]
    for _ in range(depth):
        layers += [nn.ReLU(), nn.Linear(32, 32)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(32, classes))


if __name__ == "__main__":
    data = load_diabetes()
    table, header = np.column_stack([data.data, data.target / 100]), ",".join([*data.feature_names, "target"])
    np.savetxt("diabetes.csv", table, delimiter=",", header=header, comments="")
    spec = {
        "name": "regression",
        "sweep": {"networks": ["regression:build"], "depths": [1, 2], "seeds": 1},
        "data": {"dataset": "csv", "root": "diabetes.csv", "target": "target", "evaluation_fraction": 0.2},
        "train": {"epochs": 2, "optimizer": "adamw", "objective": "mse", "evaluate": True},
    }
    profile = dnlbench.run(spec, out="regression.json")
    print(profile)
