"""Distance of a trained network from the regimes that the theory of depth describes.

The metrics refer to two theories.

- *The continuous limit* (arXiv 2510.02049): states and parameters of a network of depth ``L`` are samples of curves on
  ``[0, 1]``. Then consecutive states and consecutive parameters differ by ``O(1/L)`` relative to their size (Cor. 5 for the
  states; for the parameters the differences in ``R_L``, Eq. (5), enforce it).
- *Deep ReLU networks* (arXiv 2107.12530): for ``x_n = ReLU(W_n x_{n−1} + b_n)`` to converge as ``n → ∞`` it is necessary that
  ``W_n → I`` and ``b_n → 0``, and sufficient that ``W_n = I + P_n`` with a finite sum of ``‖P_n‖`` and of ``‖b_n‖``. On an
  activation domain, where no unit changes its sign, the network is an affine map.

`dnlbench.dnl.diagnosis.metrics` states the condition for each metric.
"""

from dnlbench.dnl.diagnosis.measure import diagnose, diagnose_in_training_mode
from dnlbench.dnl.diagnosis.metrics import BlockMetrics, TrainingBlock, TrainingMetrics
