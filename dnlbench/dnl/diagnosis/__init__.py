"""How near a trained network is to the regimes in which theory says what depth does.

Two theories stand behind the figures.

- *The continuous limit* (arXiv 2510.02049): states and parameters of a network of depth ``L`` are samples of curves on
  ``[0, 1]``. Then consecutive states and consecutive parameters differ by ``O(1/L)`` relative to their size (Cor. 5 for the
  states; the parameters are what the differences in ``R_L``, Eq. (5), keep together).
- *Deep ReLU networks* (arXiv 2107.12530): for ``x_n = ReLU(W_n x_{n−1} + b_n)`` to converge as ``n → ∞`` it is necessary that
  ``W_n → I`` and ``b_n → 0``, and sufficient that ``W_n = I + P_n`` with a finite sum of ``‖P_n‖`` and of ``‖b_n‖``. On an
  activation domain, where no unit changes sides, the network is an affine map.

Which figure belongs to which condition is said with each, in `dnlbench.dnl.diagnosis.metrics`.
"""

from dnlbench.dnl.diagnosis.measure import diagnose, diagnose_in_training_mode
from dnlbench.dnl.diagnosis.metrics import BlockMetrics, TrainingBlock, TrainingMetrics
