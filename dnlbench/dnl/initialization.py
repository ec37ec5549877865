r"""Initial weights of image networks.

Convolutions, by ``network.initialization``, with ``f`` the fan-in ``c_in k^2`` of a ``k`` × ``k`` filter:

===========  =======================================  ============================================================
``torch``    uniform, variance ``1 / (3 f)``          torch's default; the classifier's bias is uniform as well
``kaiming``  normal, variance ``2 / f``               torchvision's DenseNet; the classifier's bias is 0
===========  =======================================  ============================================================

An input after batch norm and ReLU has a second moment of about ½, so ``kaiming`` gives states of variance about 1, and
``torch`` of about 1/6. Batch norm removes the difference from the function, but not from training: weights that are
:math:`\sqrt 6` times as large move a sixth as far relative to their size at an equal learning rate. The scale of the states
also determines the initial locality of the Gaussian kernel exp(x_i·x_j). Batch norms start with scale 1 and shift 0, and no
convolution has a bias.

The matrices Q and R of attention, by ``network.attention_initialization``. The softmax over positions ``j`` depends on the
scores :math:`s_{ij} = (Q x_i)\cdot(R x_j) / \sqrt c` up to a constant in ``j``. The deviation of the kernel from an average
over all positions therefore depends on the variance of the scores over ``j``:

.. math:: v = \frac1n \sum_i \mathrm{Var}_j(s_{ij}) = \frac1c \operatorname{tr}(M C), \quad
    M = \frac1n \sum_i (Q x_i)(Q x_i)^T, \quad C = \mathrm{Cov}_j(R x_j).

``torch`` is the default of a linear layer (uniform, variance ``1 / (3 c)``). ``unit-scores`` scales Q and R of each state by
``v^(-1/4)``, with ``v`` measured on a batch, so that ``v`` is 1 there (data-dependent initialization, as in Mishkin & Matas
2016 for the variance of layers). On digits, for all states at depths 2, 8 and 32, three seeds, on other images:

===============  ===============  ======================  ======================================================
convolutions     Q and R          ``v``: median, range    variance over pixels, median: before and after ``N``
===============  ===============  ======================  ======================================================
``torch``        ``torch``        5e-4, 8e-5 to 3e-3      0.03 and 5e-6, below batch norm's eps of 1e-5
``torch``        ``unit-scores``  1.3, 0.4 to 12          0.04 and 0.01
``kaiming``      ``torch``        0.03, 4e-3 to 0.3       0.2 and 2e-3
``kaiming``      ``unit-scores``  1.2, 0.3 to 19          0.25 and 0.05
===============  ===============  ======================  ======================================================

The first row is global average pooling. With a scale computed without data ``v`` varies from 0.03 to 2 between states, since Q
and R have few channels, and states differ in the part of their variance within an image.

Final training loss on digits at depths 2, 4 and 8 (``digits-quick``: 8 epochs of SGD at learning rate 0.03, means over three
seeds), which is why ``kaiming`` and ``unit-scores`` are the defaults:

===============  =====================  ==================================
network          ``torch`` for both     ``kaiming`` and ``unit-scores``
===============  =====================  ==================================
densenet         0.030, 0.014, 0.011    0.049, 0.011, 0.007
dense-attention  0.47, 0.70, 0.67       0.18, 0.15, 0.17
dense-gaussian   0.149, 0.115, 0.127    0.113, 0.065, 0.061
===============  =====================  ==================================

Only one of the two is not enough for attention: with one seed, ``torch`` and ``unit-scores`` gave 0.21, 0.24 and an unstable
1.2, ``kaiming`` and ``torch`` 0.31, 0.35 and 0.31.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from dnlbench.dnl.kernels import Attention

CALIBRATION_IMAGES = 64
"""Number of images for `unit_scores` in training sweeps: the first of the run's first epoch."""


def kaiming(network: nn.Module) -> None:
    """Initialize all convolutions as torchvision's DenseNet, and set the biases of linear layers to 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # torch would load its compiler, for seconds
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def score_variance(x: Tensor, q: Tensor, r: Tensor) -> Tensor:
    """Compute the variance ``v`` of attention scores over the positions ``j``, without the (n, n) matrix.

    For states (B, n, c) and matrices (c, c): the mean over images and positions ``i``, a scalar; 0 for a single position.
    """
    query, key = x @ q.mT, x @ r.mT
    key = key - key.mean(dim=1, keepdim=True)
    positions, channels = x.shape[1:]
    moments, covariances = query.mT @ query / positions, key.mT @ key / positions  # (B, c, c)
    return (moments * covariances).sum(dim=(1, 2)).mean() / channels


@torch.no_grad()
def unit_scores(network: nn.Module, images: Tensor) -> None:
    """Scale Q and R of every attention kernel so that its scores have variance 1 over positions.

    The network is evaluated once, with the statistics of this batch in its batch norms. Each kernel is scaled before it
    transforms its state, so that later states are those of the scaled network. Kernels with constant states stay as they are.
    Nothing else in the network changes, its running statistics included.

    The network is on the CPU, for weights that are the same on every device; images have shape (B, C, H, W).
    """
    kernels = [module for module in network.modules() if isinstance(module, Attention)]
    if not kernels:
        return
    copy = deepcopy(network).eval()
    for module in copy.modules():
        module.training = isinstance(module, nn.BatchNorm2d)
        if isinstance(module, Attention):
            module.register_forward_pre_hook(_scale)
    copy(images)
    copies = (module for module in copy.modules() if isinstance(module, Attention))
    for kernel, scaled in zip(kernels, copies, strict=True):
        kernel.load_state_dict(scaled.state_dict())


def _scale(kernel: nn.Module, inputs: tuple[Tensor]) -> None:
    assert isinstance(kernel, Attention)
    variance = float(score_variance(inputs[0].flatten(2).mT, kernel.q.weight, kernel.r.weight))
    if variance > 0:
        kernel.q.weight *= variance**-0.25
        kernel.r.weight *= variance**-0.25
