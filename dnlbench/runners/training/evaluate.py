"""Loss and accuracy on images that are not trained on."""

from __future__ import annotations

import torch
from torch.nn import functional

from dnlbench.runners.training.data import Split
from dnlbench.runners.training.learner import Learner

BATCH = 256


@torch.no_grad()
def evaluate(learner: Learner, index: int, split: Split, *, bf16: bool) -> tuple[float, float]:
    """Mean loss and accuracy of one of the learner's networks on a split."""
    learner.network.eval()
    loss, correct, device = 0.0, 0, split.images.device
    for indices in torch.split(torch.arange(len(split), device=device), BATCH):
        images, labels = split.batch(indices)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = learner.logits(index, images)
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(dim=1) == labels).sum())
    return loss / len(split), correct / len(split)
