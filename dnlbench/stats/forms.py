"""The forms of values over depth: ``a + C x(L)`` with a basis function x that has one parameter, its shape.

===========  ==============================  =============================  ===================================
name         curve                           shape                          as depth grows
===========  ==============================  =============================  ===================================
power        a + C / L^p                     p                              a
exponential  a + C exp(-r L)                 r                              a, soon
stretched    a + C exp(-k √L)                k                              a, between the two above
hyperbola    a + C / (1 + q L)               q                              a, like 1/L after a slow start
logarithmic  a + C / (1 + c ln L)            c                              a, more slowly than any power
two powers   a + B / L + C / L²              the angle of (B, C)            a
line         a - C ln L                      none                           no limit
turn         a + C ln²(L / m)                m, inside the depths measured  no limit: it turns at m
===========  ==============================  =============================  ===================================

Five depths and a few seeds can seldom distinguish these forms, so a limit must be valid for all forms that are not rejected.
Depths are in units of the smallest one, so ``x = 1`` there for all but the last three.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

ORDERS = (0.1, 6.0)
"""The range of orders that is searched."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A row of the table."""

    name: str
    text: str
    """The curve in reports."""
    basis: Callable[[Array, Array], Array]
    """The basis function x of depths and shapes, which broadcast."""
    slope: Callable[[Array, Array], Array]
    """The derivative of x with respect to the shape."""
    shapes: Callable[[Array], Array]
    """The shapes that are searched for given depths, the slowest curve first."""
    parameters: int = 3
    has_limit: bool = True
    has_slow_end: bool = True
    """True if the first shapes approach a line in ln L or in L, with an unbounded amplitude."""


def _power(depths: Array, p: Array) -> Array:
    return depths**-p


def _exponential(depths: Array, r: Array) -> Array:
    import numpy as np  # here, not above: it takes a tenth of a second that --help should not wait for

    return np.exp(-r * (depths - 1))


def _stretched(depths: Array, k: Array) -> Array:
    import numpy as np

    return np.exp(-k * (depths**0.5 - 1))


def _log(depths: Array) -> Array:
    import numpy as np

    return np.log(depths)


def _geomspace(low: float, high: float, count: int) -> Array:
    import numpy as np

    return np.geomspace(low, high, count)


def _two_powers(depths: Array, angle: Array) -> Array:
    import numpy as np

    return np.cos(angle) / depths + np.sin(angle) / depths**2


def _angles(depths: Array) -> Array:
    import numpy as np

    return np.linspace(-math.pi / 2, math.pi / 2, 181)[1:]


def _between(depths: Array) -> Array:
    inner = sorted({float(depth) for depth in depths})[1:-1]
    return _geomspace(inner[0], inner[-1], 41)


POWER = Form(
    name="power",
    text="a + C / L^p",
    basis=_power,
    slope=lambda depths, p: -_log(depths) * _power(depths, p),
    shapes=lambda depths: _geomspace(*ORDERS, 161),
)
LINE = Form(
    name="line",
    text="a straight line in log L",
    basis=lambda depths, _: -_log(depths) + 0 * _,
    slope=lambda depths, _: 0 * depths,
    shapes=lambda depths: 0 * depths[:1],
    parameters=2,
    has_limit=False,
)
TURN = Form(
    name="turn",
    text="a curve that turns among the depths measured",
    basis=lambda depths, m: _log(depths / m) ** 2,
    slope=lambda depths, m: -2 * _log(depths / m) / m,
    shapes=_between,
    has_limit=False,
)
FORMS = (
    POWER,
    Form(
        name="exponential",
        text="a + C exp(-L/s)",
        basis=_exponential,
        slope=lambda depths, r: (1 - depths) * _exponential(depths, r),
        shapes=lambda depths: _geomspace(0.1 / float(depths.max()), 3.0, 81),
    ),
    Form(
        name="stretched",
        text="a + C exp(-√(L/s))",
        basis=_stretched,
        slope=lambda depths, k: (1 - depths**0.5) * _stretched(depths, k),
        shapes=lambda depths: _geomspace(0.15 / float(depths.max()) ** 0.5, 4.5, 81),
    ),
    Form(
        name="hyperbola",
        text="a + C / (L + s)",
        basis=lambda depths, q: 1 / (1 + q * (depths - 1)),
        slope=lambda depths, q: (1 - depths) / (1 + q * (depths - 1)) ** 2,
        shapes=lambda depths: _geomspace(0.1 / float(depths.max()), 1.0, 81),
    ),
    Form(
        name="logarithmic",
        text="a + C / (1 + c ln L)",
        basis=lambda depths, c: 1 / (1 + c * _log(depths)),
        slope=lambda depths, c: -_log(depths) / (1 + c * _log(depths)) ** 2,
        shapes=lambda depths: _geomspace(0.2, 20.0, 81),
    ),
    Form(
        name="two powers",
        text="a + B / L + C / L²",
        basis=_two_powers,
        slope=lambda depths, angle: _two_powers(depths, angle + math.pi / 2),
        shapes=_angles,
        has_slow_end=False,
    ),
    LINE,
    TURN,
)
"""The power is first: theory predicts it, and it is reported if several forms fit."""


def form_named(name: str) -> Form | None:
    """Return the form with a name; None for a name of another version."""
    return next((form for form in FORMS if form.name == name), None)
