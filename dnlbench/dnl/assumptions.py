r"""The assumptions of the theory on a network, Eq. (1), with the constants of a given network.

States are measured in the norm :math:`|x| = \max_i \|x_i\|_2` over the positions. With ``Lip`` the Lipschitz constant of sigma,
and on the ball :math:`|x|, |y| \le r`,

.. math::

    |\sigma(z)| \le \mathrm{Lip} \, |z|, \qquad
    |N_\theta(x)| \le \|V\|_2 \, |x|, \qquad
    |N_\theta(x) - N_\theta(y)| \le \|V\|_2 \, \lambda(r) \, |x - y|.

============  ===============================  ========================================================================
kernel        :math:`a`                        :math:`\lambda(r)`
============  ===============================  ========================================================================
local         0                                1
attention     :math:`r^2 \|Q^T R\|_2/\sqrt c`  :math:`a + \sqrt{1 + a^2}`
gaussian      :math:`r^2`                      :math:`a + \sqrt{1 + a^2}`
rbf           :math:`r^2 / h^2`                :math:`\min\{ a + \sqrt{\max(1, 1 - 2a + 4a^2)}, \; 1 + 4 W((n - 1) / e) \}`
============  ===============================  ========================================================================

``W`` is Lambert's function, ``W(z) e^W(z) = z``: with the rbf kernel ``N`` is Lipschitz everywhere. For a single position all
kernels equal the local one.

*Growth.* ``N(x)_i`` is ``V`` times a mean of the ``x_j``.

*Lipschitz.* Let ``p_ij = kappa(x_i, x_j) / C_i``, ``s_ij = log kappa(x_i, x_j)`` and ``m_i = sum_j p_ij x_j``. Then

.. math:: dN_i = V \sum_j p_{ij} \big( dx_j + (x_j - m_i) \, ds_{ij} \big).

Take a unit vector ``u``, ``|dx| <= 1`` and ``xi_j = u·(x_j − m_i)``, which under the weights ``p_ij`` has mean 0 and a variance
``v <= r²``. With ``s_ij = x_i·M x_j`` (attention: ``M = Q^T R / sqrt(c)``, gaussian: ``M = I``) the change ``dx_i`` of the
reading position contributes ``u·Cov(x) M^T dx_i <= r² ‖M‖ = a`` and the ``dx_j`` that are read at most, by Jensen,

.. math:: \sum_j p_{ij} \| u + \xi_j M^T x_i \| \le \Big( 1 + v \, \|M^T x_i\|^2 \Big)^{1/2} \le \sqrt{1 + a^2}.

With ``s_ij = −‖x_i − x_j‖² / (2 h²)`` they contribute ``u·Cov(x) dx_i / h² <= a`` and

.. math:: \sum_j p_{ij} \| u + \xi_j (x_i - x_j) / h^2 \| \le \Big( 1 - 2 v / h^2 + v \, (2 r)^2 / h^4 \Big)^{1/2},

which is largest at one end of ``0 <= v <= r²``. Distant positions hardly contribute: with ``y_j = (x_j − x_i) / h`` the
weights are ``e^(−‖y_j‖²/2)`` over their sum, and ``y_i = 0``. Hence ``g = sum_j p_ij ‖y_j‖²`` is largest where its derivatives
with respect to the squares vanish, ``‖y_j‖² = 2 + g`` for all ``j ≠ i``, which gives ``g = 2 W((n − 1) / e)``; and the two
contributions are at most ``g`` and ``1 + g`` as well.

For ``n`` arbitrary the bound of the products cannot be improved: with ``M`` a multiple of an orthogonal matrix, half of the
positions at ``r u``, half at ``−r u`` and ``M^T x_i`` at a right angle to ``u`` it is attained as ``n`` grows.

*States* (Lemma 2). With :math:`\alpha = \mathrm{Lip} (\max_l \|A^l\| |x^0| + \max_l |b^l|)` and
:math:`\beta = \mathrm{Lip} \max_{l,k} \|K^{l,k}\| \max_k \|V^k\|_2`,

.. math::

    |x^{l+1}| \le \alpha + \tau \beta \sum_{k \le l} |x^k|, \quad \text{hence} \quad
    |x^l| \le (\alpha + \tau \beta |x^0|) (1 + \tau \beta)^{l-1} \le (\alpha + \tau \beta |x^0|) \, e^\beta, \quad l \ge 1,

the second by induction (discrete Gronwall): the right side of the first, taken as an equation, grows by the factor
``1 + tau beta`` from each ``l`` to the next.

``‖A‖`` and ``‖K‖``, norms of matrices of ``n × n`` blocks with ``c × c`` entries, are bounded by

.. math:: \max_i \sum_j \|K_{ij}\|_2 \le \max_i \sum_j \|K_{ij}^T K_{ij}\|_F^{1/2},

the right side being at most ``c^(1/4)`` times the left, and about ten times cheaper than the singular values of all blocks.

Source: arXiv 2510.02049, section 3 with remark 1, and Lemma 2 in section 4. The displayed formulas were not legible in the text
at hand; these forms were rebuilt from its words, and the constants derived here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.curves import Curves
from dnlbench.dnl.extension import grid, sample_one_index
from dnlbench.dnl.kernels import IMPLEMENTATIONS
from dnlbench.dnl.parameters import Arrays, columns
from dnlbench.dnl.vector import VectorForm

_JACOBIANS = 32
"""Number of states, over all layers and inputs, whose Jacobian is computed."""

_ITERATIONS = 10
"""Iterations for the norm of each Jacobian. On random networks more iterations changed it by less than 1e-8."""


@dataclass(frozen=True, kw_only=True)
class AssumptionReport:
    """The constants of one network on one batch: proved bounds and observed values. Maxima are over the batch too.

    Observed values never exceed their bounds by more than rounding.
    """

    sigma_lipschitz: float
    """``Lip``: 1, or ``max(1, |slope|)`` for prelu."""
    growth_bound: float
    """``max_k ‖V^k‖_2``, so that ``|N_k(x)| <= growth_bound |x|``."""
    growth_seen: float
    """``max_k |N_k(x^k)| / |x^k|``, ``0 <= k < L``; states that are 0 do not count."""
    lipschitz_bound: float
    """``max_k ‖V^k‖_2 lambda_k(r)``, on the whole ball."""
    lipschitz_seen: float
    """The largest ``max_i sum_j ‖J_ij^T u‖`` over unit vectors ``u`` and the Jacobians ``J`` of ``N_k`` at ``x^k``, for the 32
    states with the largest ``‖V^k‖_2 lambda_k(|x^k|)``. The maximum over ``u`` is the norm of ``J``."""
    state_bound: float
    """``max(|x^0|, (alpha + tau beta |x^0|) (1 + tau beta)^(L − 1))``; infinite if it overflows float64."""
    state_bound_sharp: float
    """``max_l u_l`` with ``u_0 = |x^0|``, ``u_{l+1} = Lip (|A^l x^0 + b^l| + tau sum_{k<=l} ‖K^{l,k}‖ ‖V^k‖_2 u_k)``: Lemma 2
    before maxima are taken, and never above `state_bound`."""
    state_seen: float
    """``r = max_l |x^l|``, ``0 <= l <= L``: the radius of the ball that contains the states."""


@torch.no_grad()
def assess(form: VectorForm, parameters: Arrays | Curves, x: Tensor) -> AssumptionReport:
    """Compute the constants for a network and its states.

    ``K`` is read, or sampled from curves, column by column: memory grows like ``L``, time like ``L²``. Curves are sampled at
    ``t_l = l / L``. ``x`` is the result of `dnlbench.dnl.vector.states`, shape (L + 1, B, n, c).

    Raises:
        ValueError: if the states are not finite, or if their shape does not match the parameters.
    """
    one_index, weights = _at_depth(parameters, x)
    theta = form.theta(one_index)
    growth = torch.linalg.matrix_norm(theta[0], ord=2)  # (L,)
    sizes, read = _size(x), x[:-1]
    radius = float(sizes.max())
    local = growth[:, None] * _stretch(form, sizes[:-1], theta, x.shape[2])  # (L, B)
    on_the_ball = growth[:, None] * _stretch(form, torch.full_like(sizes[:-1], radius), theta, x.shape[2])
    averages = _size(form.transform(read, *(p[:, None] for p in theta)))
    bound, sharp = _state_bounds(form, one_index["A"], one_index["b"], weights, growth.double(), x[0])
    return AssumptionReport(
        sigma_lipschitz=sigma_lipschitz(form),
        growth_bound=float(growth.max()),
        growth_seen=float((averages / sizes[:-1]).nan_to_num(nan=0.0).max()),
        lipschitz_bound=float(on_the_ball.max()),
        lipschitz_seen=_largest_jacobian(form, read, theta, local),
        state_bound=bound,
        state_bound_sharp=sharp,
        state_seen=radius,
    )


def sigma_lipschitz(form: VectorForm) -> float:
    """Return ``Lip`` in ``|sigma(y) − sigma(z)| <= Lip |y − z|``."""
    return max(1.0, abs(form.slope)) if form.activation == "prelu" else 1.0


def block_norms(matrices: Tensor, channels: int) -> Tensor:
    """Compute ``max_i sum_j ‖K_ij^T K_ij‖_F^(1/2)``, bounds of ``max |K x| / |x|`` in the norm ``|x| = max_i ‖x_i‖_2``.

    Computed in float64, in which fourth powers of small entries do not underflow. Shape (m, d, d) to (m,); ``channels``, the
    size of a block, divides ``d``.
    """
    n = matrices.shape[-1] // channels
    blocks = matrices.double().reshape(-1, n, channels, n, channels).transpose(2, 3)
    squares: Tensor = torch.linalg.matrix_norm(blocks.mT @ blocks)  # (m, n, n)
    return squares.sqrt().sum(dim=2).amax(dim=1)


def _size(x: Tensor) -> Tensor:
    """Compute ``max_i ‖x_i‖_2``, shape (..., n, c) to (...)."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=-1)
    return norms.amax(dim=-1)


def _at_depth(parameters: Arrays | Curves, x: Tensor) -> tuple[dict[str, Tensor], Iterable[Tensor]]:
    """Return the one-index parameters, and column ``k`` of ``K``, shape (L − k, d, d), for each ``k``."""
    if x.dim() != 4 or len(x) < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; states are of shape (L + 1, B, n, c) with L >= 1")
    if not x.isfinite().all():
        raise ValueError("the states are not finite, so no ball contains them")
    L, (n, c) = len(x) - 1, x.shape[2:]
    one_index = dict(parameters.one_index() if isinstance(parameters, Arrays) else sample_one_index(parameters, L))
    for name, shape in (("b", (L, n * c)), ("V", (L, c, c))):
        if one_index[name].shape != shape:
            raise ValueError(
                f"{name} has shape {tuple(one_index[name].shape)}; states of shape {tuple(x.shape)} need {shape}"
            )
    return one_index, _columns(parameters, L)


def _columns(parameters: Arrays | Curves, depth: int) -> Iterable[Tensor]:
    if isinstance(parameters, Arrays):
        return columns(parameters.K)
    K, t = parameters.K, grid(depth)
    return (K(t[k:, None], t[k : k + 1])[:, 0] for k in range(depth))


def _stretch(form: VectorForm, r: Tensor, theta: Sequence[Tensor], n: int) -> Tensor:
    """Compute ``lambda(r)`` of each layer for ``n`` positions; shape (L, B) to (L, B)."""
    if n == 1:  # the mean of one
        return torch.ones_like(r)
    _, *matrices = theta
    return IMPLEMENTATIONS[form.kernel].stretch(r, matrices, form.bandwidth, n)


def _state_bounds(
    form: VectorForm, A: Tensor, b: Tensor, weights: Iterable[Tensor], growth: Tensor, x0: Tensor
) -> tuple[float, float]:
    """Compute `AssumptionReport.state_bound` and `AssumptionReport.state_bound_sharp`; ``growth`` is ``‖V^k‖_2``."""
    L, c, Lip, size = len(b), x0.shape[-1], sigma_lipschitz(form), float(_size(x0).max())
    affine = (x0.flatten(1) @ A.mT + b[:, None]).view(L, *x0.shape)
    u = Lip * _size(affine).amax(dim=1).double()  # of the states 1 … L, once all that they read is added
    closed, largest, now = form.closed(L), 0.0, torch.as_tensor(size).to(u)
    for k, column in enumerate(weights):
        norms = block_norms(column, c)
        if closed is not None:
            norms = norms.masked_fill(closed[k:, k].to(norms.device), 0.0)
        largest = max(largest, float(norms.max()))
        u[k:] += Lip / L * growth[k] * now * norms
        now = u[k]
    alpha = Lip * (block_norms(A, c).max() * size + _size(b.double().view(L, -1, c)).max())
    step = Lip * largest * growth.max() / L  # tau beta
    bound = (alpha + step * size) * (1 + step) ** (L - 1)
    return max(size, float(bound)), max(size, float(u.max()))


def _largest_jacobian(form: VectorForm, x: Tensor, theta: Sequence[Tensor], bounds: Tensor) -> float:
    """Compute `AssumptionReport.lipschitz_seen` from the states (L, B, n, c) with the largest ``bounds``, (L, B)."""
    chosen = bounds.flatten().topk(min(_JACOBIANS, bounds.numel())).indices
    layers = chosen // bounds.shape[1]
    return float(_induced_norms(_jacobians(form, x.flatten(0, 1)[chosen], [p[layers] for p in theta])).max())


def _jacobians(form: VectorForm, x: Tensor, theta: Sequence[Tensor]) -> Tensor:
    """Compute ``dN_i / dx_j`` at each of the states (S, n, c), shape (S, n, c, n, c).

    Each state is copied once for each of its values, so that one backward pass computes all rows.
    """
    S, n, c = x.shape
    copies = x.expand(n * c, S, n, c).clone().requires_grad_()
    with torch.enable_grad():
        values = form.transform(copies, *theta)
    rows = torch.eye(n * c, dtype=x.dtype, device=x.device).view(n * c, 1, n, c).expand_as(values)
    (gradients,) = torch.autograd.grad(values, copies, rows)
    return gradients.transpose(0, 1).reshape(S, n, c, n, c)


def _induced_norms(J: Tensor) -> Tensor:
    """Compute a lower bound of ``max_i max_{‖u‖ = 1} sum_j ‖J_ij^T u‖ = max |J v| / |v|``, shape (S, n, c, n, c) to (S, n).

    The best ``v`` for a ``u`` has ``v_j`` in the direction of ``J_ij^T u``; the best ``u`` for a ``v`` has that of
    ``sum_j J_ij v_j``. Alternating them never lowers the sum, but may end in a local maximum. The iteration therefore starts
    from each left singular vector of the row ``i`` of blocks.
    """
    S, n, c = J.shape[:3]
    rows = J.reshape(S, n, c, n * c)
    u = torch.linalg.svd(rows, full_matrices=False).U.mT  # (S, n, starts, c)
    for _ in range(_ITERATIONS):
        v = functional.normalize((u @ rows).view(S, n, -1, n, c), dim=-1)
        u = functional.normalize(v.flatten(-2) @ rows.mT, dim=-1)
    norms: Tensor = torch.linalg.vector_norm((u @ rows).view(S, n, -1, n, c), dim=-1)  # (S, n, starts, n)
    return norms.sum(dim=-1).amax(dim=-1)
