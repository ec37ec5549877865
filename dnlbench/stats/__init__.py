"""Statistics on plain floats: intervals of means and ratios, tests, and curves fitted over depth."""

from dnlbench.stats.exact_limits import fit_limit_of_curves
from dnlbench.stats.fits import LimitFit, NoSpreadError, Refusal, fit_limit
from dnlbench.stats.forms import ORDERS, Form, form_named
from dnlbench.stats.holm import count_families, holm, holm_over_families
from dnlbench.stats.intervals import Interval, Range, axis_within, ends_of, log_mean_interval, mean_interval, range_of
from dnlbench.stats.means import TooFewDepthsError
from dnlbench.stats.orders import LocalOrders, OrderFit, fit_exponent, fit_order, local_orders
from dnlbench.stats.ratios import (
    LogRatio,
    RatioTest,
    geometric_mean,
    paired_log_ratio,
    ratio_test,
    seeds_left_out,
    seeds_text,
    welch_log_ratio,
)
from dnlbench.stats.student import LEVEL
