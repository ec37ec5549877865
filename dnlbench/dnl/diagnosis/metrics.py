"""The metrics of a block of a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Series = tuple[float | None, ...]
"""Values by layer or state, from index 0; None if undefined."""


@dataclass(frozen=True, kw_only=True)
class BlockMetrics:
    """The metrics of a block of ``L`` layers; layer ``l`` computes state ``l + 1``.

    ``‖x‖`` is the Euclidean norm over the images, channels and pixels of a state. The network is in evaluation mode, with
    the running statistics of the batch norms, so it is a fixed map of a single image with a derivative. With the statistics of
    a batch a layer would depend on the other images too.

    In a dense block ``x^0``, the block's input, has other channels than ``x^1, x^2, …`` and is not a sample of the same curve:
    it enters through ``A^l``. Comparisons of consecutive states start at ``x^1`` there.
    """

    first_state: int
    """Index of the first state that is compared: 1 in a dense block, otherwise 0."""

    state_step: Series
    """``‖x^{l+1} − x^l‖ / ‖x^l‖``. It is ``O(1/L)`` for samples of a continuous curve ``x(t)`` (Cor. 5 of the continuous
    limit), and has a finite sum for states that converge in depth."""

    map_distance: Series
    """Operator norm of a derivative with respect to the last state ``x^l``, the mean over some images, by power iteration (a
    lower bound). The derivative depends on the family:

    - *residual*: ``d x^{l+1}/d x^l − I``, the derivative ``tau Df`` of the branch: ``P_n`` of deep ReLU networks;
    - *sequential*: ``d x^{l+1}/d x^l − I``, with ``W_n − I`` as ``P_n``;
    - *dense*: ``d x^{l+1}/d x^l`` for fixed earlier states. A dense layer need not be close to the identity: it computes a new
      state from all earlier ones. In the continuous limit the last state is one of ``L`` under an integral, and its part in
      the next one, ``tau K^{l,l} DN``, is ``O(1/L)``."""

    filter_distance: Series
    """Distance from the identity computed from the weights, for baselines: ``‖W − I‖ / ‖I‖`` in the Frobenius norm of filters.
    ``W`` is the layer with all units active: its filter times the scale of the batch norm, with a bottleneck the composition
    of both, for a residual layer ``I + tau f``. ``W − I`` is the matrix ``W_n − I`` of deep ReLU networks."""

    parameter_step: Series
    """Root mean square difference of the parameters of layers ``l + 1`` and ``l``, over that of the parameters:
    ``|K^{l+1,k} − K^{l,k}|``, ``k <= l``, ``|A^{l+1} − A^l|`` and the others together. ``R_L``, Eq. (5), penalizes these
    differences."""

    roughness: Mapping[str, float]
    """Root mean square of all differences in ``R_L`` over that of the parameters, by array (``K``, ``A``, ``filter``, …) and
    for ``all``; for ``K`` along both of its indices. It is 0 for equal layers, ``O(1/L)`` for samples of a smooth curve and
    ``√2`` for independent layers. Arrays of a single element have none."""

    pattern_change: Series
    """Fraction of positions at which layers ``l`` and ``l + 1`` have different activation patterns: the units (ReLU after batch
    norm, equal channel indices) on their newest states have different signs. 0: the activation domain does not change with
    depth. Two independent patterns that are half active differ in half of the positions."""

    forward: Series
    """Root mean square of the values of ``x^l``, ``l = 0 .. L``."""

    state_gradient: Series
    """``‖d loss / d x^l‖``, ``l = 0 .. L``, for the loss of each image: root mean square over the images."""

    parameter_gradient: Series
    """Norm of the gradient of the mean loss with respect to the parameters of layer ``l``: filters, scales and shifts."""


@dataclass(frozen=True, kw_only=True)
class TrainingMetrics:
    """The metrics of a network in training mode, with the statistics of each batch, as in a training step."""

    loss: float
    """Mean cross-entropy over the images."""
    blocks: tuple[TrainingBlock, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingBlock:
    """The metrics of a block in training mode.

    The fields are those of `BlockMetrics`, but the gradient of an image includes its effect on the other images of its batch.
    """

    forward: Series
    state_gradient: Series
    parameter_gradient: Series
