"""What is measured of a block of a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Series = tuple[float | None, ...]
"""By layer or state, from index 0; None where it is not defined."""


@dataclass(frozen=True, kw_only=True)
class BlockMetrics:
    """A block of ``L`` layers: layer ``l`` makes state ``l + 1``.

    ``‖x‖`` is the Euclidean norm over the images, channels and pixels of a state. The network is in evaluation mode, batch
    norms with their running statistics: so it is one fixed map of a single image, of which derivatives and identities can be
    spoken of; with the statistics of a batch a layer would depend on the other images too.

    In a dense block ``x^0``, the block's input, has other channels than ``x^1, x^2, …`` and is no sample of the same curve: it
    enters through ``A^l``. There all that compares consecutive states begins at ``x^1``.
    """

    first_state: int
    """Of the states that are compared: 1 in a dense block, 0 in the others."""

    state_step: Series
    """``‖x^{l+1} − x^l‖ / ‖x^l‖``. Samples of a continuous curve ``x(t)`` (Cor. 5 of the continuous limit) have ``O(1/L)``
    here; states that converge in depth have a finite sum."""

    map_distance: Series
    """Operator norm of a layer's derivative with respect to the last state ``x^l``, at the states of some images, by power
    iteration, which comes from below; the mean over the images. Of what, depends on the family:

    - *residual*: of ``d x^{l+1}/d x^l − I``, which is that of the branch, ``tau Df``: the ``‖P_n‖`` of deep ReLU networks;
    - *sequential*: of ``d x^{l+1}/d x^l − I`` too, with ``W_n − I`` for ``P_n``;
    - *dense*: of ``d x^{l+1}/d x^l`` with the earlier states held fixed. There is no identity that a dense layer should come
      near to: it makes a new state from all that there are. In the continuous limit the last state is one of ``L`` under an
      integral, and its part in the next one, ``tau K^{l,l} DN``, is ``O(1/L)``."""

    filter_distance: Series
    """The same from weights alone, for baselines: ``‖W − I‖ / ‖I‖`` in the Frobenius norm of filters, ``W`` being what the
    layer does while all its units are active: its filter with the batch norm's scale, with bottleneck the composition of
    both; of a residual layer ``I + tau f``. The matrix ``W_n − I`` of deep ReLU networks."""

    parameter_step: Series
    """How far the parameters of layer ``l + 1`` are from those of layer ``l``, root mean squares, over the size of the
    parameters: ``|K^{l+1,k} − K^{l,k}|``, ``k <= l``, ``|A^{l+1} − A^l|`` and so on together. The differences along the
    layers that ``R_L``, Eq. (5), penalises."""

    roughness: Mapping[str, float]
    """By array (``K``, ``A``, ``filter``, …) and for ``all``: root mean square of all differences in ``R_L``, for ``K`` along
    both of its indices, over the root mean square of the parameters. It is 0 for equal layers, ``O(1/L)`` for samples of a
    smooth curve and ``√2`` for layers that have nothing to do with each other. Arrays of a single element have none."""

    pattern_change: Series
    """Share of the positions at which the units that layers ``l`` and ``l + 1`` read their newest states through (ReLU after
    the batch norm, of equal channel indices) are on different sides of zero. 0 is an activation domain that does not change
    with depth; two patterns that have nothing to do with each other and are half active differ in half of the positions."""

    forward: Series
    """Root mean square of the values of ``x^l``, ``l = 0 .. L``."""

    state_gradient: Series
    """``‖d loss / d x^l‖``, ``l = 0 .. L``, of each image's own loss: root mean square over the images."""

    parameter_gradient: Series
    """Norm of the gradient of the mean loss with respect to all that layer ``l`` learns: filters, scales and shifts."""


@dataclass(frozen=True, kw_only=True)
class TrainingMetrics:
    """A network in training mode, with the statistics of each batch: what a training step sees."""

    loss: float
    """Mean cross-entropy over the images."""
    blocks: tuple[TrainingBlock, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingBlock:
    """A block in training mode.

    Each field is that of `BlockMetrics`, except that an image's gradient includes its effect on the other images of its batch.
    """

    forward: Series
    state_gradient: Series
    parameter_gradient: Series
