"""Dense layers with less traffic and memory: the same function as the plain ones, computed from shared states.

A dense layer normalises all states that it reads, and its batch statistics of a state are the same numbers as every other
layer's, for they depend on the state alone. So here each state is kept once, beside its mean and deviation, in one buffer for a
whole block (`states`). A layer reads the buffer in one pass that normalises, scales and rectifies (`passes`), and nothing of
what it makes for its convolution is kept: the backward pass makes it again. Activation memory is that of the states, linear in
depth, where a network of separate layers keeps every layer's input, quadratic in depth.

Memory-efficient DenseNets (Pleiss et al. 2017, arXiv 1707.06990) make their concatenated, normalised inputs again too; here
there is nothing to concatenate, and the statistics are not made again.
"""

from dnlbench.dnl.memory_efficient.states import SharedStates
