"""Dense layers with less memory and memory traffic: the same function as the standard layers, computed from shared states.

A dense layer normalizes all states that it reads. The batch statistics of a state depend on that state alone, so they are the
same for every layer. Each state is therefore stored once, with its mean and deviation, in one buffer for a full block
(`states`). A layer reads the buffer in one pass that computes batch norm and ReLU (`passes`). The input of its convolution is
not stored; the backward pass recomputes it. Activation memory is that of the states, linear in depth. A network of separate
layers stores the input of every layer, which is quadratic in depth.

Memory-efficient DenseNets (Pleiss et al. 2017, arXiv 1707.06990) recompute their concatenated, normalized inputs too. Here
nothing is concatenated, and the statistics are not recomputed.
"""

from dnlbench.dnl.memory_efficient.states import SharedStates
