r"""Learning rates that one value serves at all depths: factors ``m^e`` for each parameter, ``m = L / L_base``.

A group of parameters changes the loss in its first step by :math:`\eta \|g\|_2^2` (SGD) or :math:`\eta \|g\|_1` (Adam). The
factor on :math:`\eta` keeps this change equal at all depths, and the factor on Adam's epsilon keeps it in proportion to the
entries of the gradient. With the step ``m^-alpha`` and ``a = max(alpha, 1/2)``, at kaiming's initial weights:

=========  =============================================  =============  =========  =========
family     parameters                                     SGD            Adam       epsilon
=========  =============================================  =============  =========  =========
residual   branches, their norms included                 2 alpha - 1    alpha - 1  -alpha
dense      filters of the layers on states                -1             -3/2       -a
dense      filters of transitions                         -1             -3/2       0
dense      weights of the classifier                      -1             -1         0
dense      norms of the layers                            0              -1         -a - 1/2
dense      other norms, matrices of kernels, filters and  0              -1/2       -1/2
           norms behind a bottleneck
both       stem and all others                            0              0          0
=========  =============================================  =============  =========  =========

*Residual*: each of the ``L`` branches has a gradient of size ``m^-alpha``. With Adam, alpha = 1/2 is depth-µP (arXiv
2310.02244) and alpha = 1 CompleteP (arXiv 2505.01618). Below 1/2 the gradient of the first layers over that of the last ones
grows with depth in every block, so no exponents are given: with alpha = 0 and two blocks the squared norm grows like L^0.9.

*Dense*: depth is also width. Layers, transitions and classifier read ``c + L g`` channels with weights of size ``L^-1/2``,
so the gradient of a state is of size ``L^-1/2``. There are ``L^2 / 2`` slices ``K^{l,k}``, and the outputs of a transition are
a fraction of its inputs. With SGD and ``alpha > 1/2`` the slices ``K^{l,k}`` alone would admit ``2 alpha - 2`` in place of -1,
but they are one parameter with ``A^l``, which does not.

Weight decay is scaled so that rate times decay, the fraction of a weight that is lost per step, does not depend on depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from dnlbench.dnl.networks import Block, DNLNetwork, NormReluConv


@dataclass(frozen=True, kw_only=True)
class Exponents:
    """The exponents of ``m`` in the factors on learning rate and epsilon for a parameter."""

    sgd: float = 0.0
    adam: float = 0.0
    eps: float = 0.0


UNCHANGED = Exponents()
_INNER = Exponents(adam=-0.5, eps=-0.5)
"""The parameters of a single state, and of norms that read each state once."""


def residual_exponents(alpha: float) -> Exponents:
    """Return the exponents of the branches of a residual network with the step ``m^-alpha``, ``alpha >= 1/2``."""
    return Exponents(sgd=2 * alpha - 1, adam=alpha - 1, eps=-alpha)


def exponents_of(network: DNLNetwork, alpha: float) -> Mapping[nn.Parameter, Exponents]:
    """Return the exponents of each parameter of a residual or dense network."""
    if not network.blocks[0].dense:
        branches = residual_exponents(alpha)
        return {p: branches for block in network.blocks for p in block.parameters()}
    return dict(_of_dense(network, alpha))


def _of_dense(network: DNLNetwork, alpha: float) -> Iterator[tuple[nn.Parameter, Exponents]]:
    a = max(alpha, 0.5)
    for part in network.features:
        if isinstance(part, Block):
            yield from ((p, _INNER) for p in part.parameters())
            for layer in part.layers:
                reader = layer[0] if isinstance(layer, nn.Sequential) else layer
                assert isinstance(reader, NormReluConv)
                yield _weight(reader.conv), Exponents(sgd=-1.0, adam=-1.5, eps=-a)
                yield from ((p, Exponents(adam=-1.0, eps=-a - 0.5)) for p in reader.norm.parameters())
        elif isinstance(part, NormReluConv):
            yield from ((p, _INNER) for p in part.norm.parameters())
            yield _weight(part.conv), Exponents(sgd=-1.0, adam=-1.5)
    yield from ((p, _INNER) for p in network.norm.parameters())
    yield _weight(network.classifier), Exponents(sgd=-1.0, adam=-1.0)


def _weight(layer: nn.Module) -> nn.Parameter:
    return dict(layer.named_parameters())["weight"]
