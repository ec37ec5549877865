from __future__ import annotations

import pytest

from dnlbench.comparison import FAILED, Rule, parse_rule
from dnlbench.errors import ConfigurationError
from dnlbench.studies import STUDIES


@pytest.mark.parametrize(
    ("text", "study", "rule"),
    [
        ("loss:worse", "training", Rule(quantity="final_train_loss", text="loss:worse")),
        (
            "final_train_loss:2%",
            "training",
            Rule(quantity="final_train_loss", tolerance=0.02, text="final_train_loss:2%"),
        ),
        ("throughput: 5 %", "training", Rule(quantity="samples_per_s", tolerance=0.05, text="throughput:5%")),
        ("memory:.5%", "training", Rule(quantity="peak_memory_bytes", tolerance=0.005, text="memory:0.5%")),
        ("error_max:worse", "forward-limit", Rule(quantity="error_max", text="error_max:worse")),
        ("optimal_value:2%", "optimum-limit", Rule(quantity="optimal_value", tolerance=0.02, text="optimal_value:2%")),
        ("failed", "optimum-limit", Rule(quantity=FAILED, text="failed")),
    ],
)
def test_rules_are_read(text: str, study: str, rule: Rule) -> None:
    found = parse_rule(text, STUDIES[study])
    assert (found.quantity, found.text) == (rule.quantity, rule.text)
    assert found.tolerance == pytest.approx(rule.tolerance)


@pytest.mark.parametrize(
    ("text", "study", "message"),
    [
        (
            "los:worse",
            "training",
            r"rule 'los:worse': unknown; .*loss \(final_train_loss\), throughput \(samples_per_s\)",
        ),
        ("loss", "training", "QUANTITY:worse or QUANTITY:5%"),
        ("", "training", "unknown"),
        (":5%", "training", "unknown"),
        ("failed:5%", "training", "unknown"),
        ("loss:worse", "forward-limit", "of the forward-limit study: error_max, error_end"),
        ("loss:5", "training", "'5' is neither 'worse' nor a percentage above 0 such as 5%"),
        ("loss:0%", "training", "percentage above 0"),
        ("loss:-5%", "training", "neither"),
        ("loss:nan%", "training", "neither"),
        (
            "optimal_value:worse",
            "optimum-limit",
            "no better direction; give the change that is allowed, such as optimal_value:2%",
        ),
    ],
)
def test_what_is_no_rule_is_refused(text: str, study: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_rule(text, STUDIES[study])
