"""JUnit XML, checked against the schema of Jenkins (junit-10.xsd) and the requirements of GitLab."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from dnlbench.comparison import compare, gate, parse_rule
from dnlbench.profiles import Profile
from dnlbench.report.junit import comparison_junit
from dnlbench.studies import STUDIES

MakeSweep = Callable[..., Profile]
BAD = {
    ("densenet", 4, 1): "failed",
    ("densenet", 8, 2): "diverged",
    ("dense-gaussian", 16, 0): "oom",
    ("dense-gaussian", 16, 1): "cancelled",
    ("dense-gaussian", 16, 2): "skipped",
}
COUNT, SECONDS = r"\d+", r"\d+(\.\d+)?"
ALLOWED = {
    "testsuites": {"name": ".*", "tests": COUNT, "failures": COUNT, "errors": COUNT, "time": SECONDS},
    "testsuite": {
        **{"name": ".+", "tests": COUNT, "failures": COUNT, "errors": COUNT, "skipped": COUNT, "time": SECONDS},
        "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    },
    "testcase": {"classname": ".+", "name": ".+", "time": SECONDS},
    "failure": {"message": ".+", "type": ".+"},
    "error": {"message": ".+", "type": ".+"},
    "skipped": {"message": ".+"},
}
REQUIRED = {"testsuite": {"name", "tests", "failures", "errors"}, "testcase": {"name", "classname"}}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "error", "skipped"},
    **{kind: set[str]() for kind in ("failure", "error", "skipped")},
}


def check(element: ET.Element) -> None:
    """Validate against the used part of the schema."""
    assert REQUIRED.get(element.tag, set()) <= set(element.keys())
    for name, value in element.items():
        assert re.fullmatch(ALLOWED[element.tag][name], value, re.DOTALL), (element.tag, name, value)
    assert len(element) <= 1 or element.tag != "testcase"
    for child in element:
        assert child.tag in CHILDREN[element.tag]
        check(child)


@pytest.fixture
def root(make_sweep: MakeSweep) -> ET.Element:
    a, b = make_sweep(), make_sweep(factor=1.2, bad=BAD)
    result = compare(a, b)
    rules = [parse_rule(text, STUDIES["training"]) for text in ("loss:worse", "throughput:5%", "failed")]
    return ET.fromstring(comparison_junit([b], [result], gate([result], rules)))


def test_it_keeps_to_the_schema(root: ET.Element) -> None:
    assert root.tag == "testsuites"
    check(root)


def test_counts_are_those_of_the_cases(root: ET.Element) -> None:
    for suite in root:
        for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.get(name, "")) == len(suite.findall(f"testcase/{kind}"))
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
        assert float(suite.get("time", "")) == pytest.approx(sum(float(case.get("time", "")) for case in suite))
    for name in ("tests", "failures", "errors"):
        assert int(root.get(name, "")) == sum(int(suite.get(name, "")) for suite in root)


def test_a_case_for_each_run(root: ET.Element, make_sweep: MakeSweep) -> None:
    runs, held = root
    assert len(runs) == 24
    assert [(case.get("classname"), case.get("name")) for case in runs][:4] == [
        ("densenet", "L=2 seed=0"),
        ("densenet", "L=2 seed=1"),
        ("densenet", "L=2 seed=2"),
        ("densenet", "L=4 seed=0"),
    ]
    assert {case.get("time") for case in runs} == {"2.500", "0.000"}
    kinds = {(case.get("classname"), case.get("name")): case[0].tag for case in runs if len(case)}
    assert kinds == {
        ("densenet", "L=4 seed=1"): "error",
        ("densenet", "L=8 seed=2"): "failure",
        ("dense-gaussian", "L=16 seed=0"): "error",
        ("dense-gaussian", "L=16 seed=1"): "skipped",
        ("dense-gaussian", "L=16 seed=2"): "skipped",
    }
    failed = next(case[0] for case in runs if len(case))
    assert failed.get("message", "").startswith("failed: </script>")
    assert failed.get("type") == "RuntimeError"
    assert "line 59 of <b>many</b>" in (failed.text or "")
    assert "line 3 of" not in (failed.text or "")
    assert {case.get("classname") for case in held} == {"gate"}


def test_a_case_for_each_finding(root: ET.Element, make_sweep: MakeSweep) -> None:
    held = {case.get("name", "").partition(" of ")[0]: case for case in root[1]}
    assert held.keys() == {
        f"{r} {n}" for r in ("loss:worse", "throughput:5%", "failed") for n in ("densenet", "dense-gaussian")
    }
    assert held["failed densenet"][0].tag == "failure"
    assert "seed 1 failed at L=4" in held["failed densenet"][0].get("message", "")
    assert held["loss:worse densenet"][0].get("type") == "regression"
    a = make_sweep()
    result = compare(a, a)
    suite = ET.fromstring(comparison_junit([a], [result], gate([result], [parse_rule("failed", STUDIES["training"])])))[
        1
    ]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "0", "0")


def test_a_rule_without_comparable_network_is_an_error(make_sweep: MakeSweep) -> None:
    """This matches exit code 5. It is no error if at least one network of the candidate is comparable."""
    reference = make_sweep(seeds=2)
    apart = compare(reference, reference)  # whose runs took no turns
    rules = [parse_rule("throughput:5%", STUDIES["training"])]
    cases = ET.fromstring(comparison_junit([reference], [apart], gate([apart], rules)))[1]
    assert [case[0].tag for case in cases] == ["error", "error"]
    assert cases[0][0].get("type") == "not comparable"
    runs = tuple(
        run.model_copy(update={"peak_memory_bytes": None}) if run.network == "densenet" else run
        for run in reference.runs
    )
    partly = reference.model_copy(update={"runs": runs, "name": "partly"})
    comparisons = [compare(reference, partly), compare(reference, reference)]
    result = gate(comparisons, [parse_rule("memory:10%", STUDIES["training"])])
    whole = ET.fromstring(comparison_junit([partly, reference], comparisons, result))
    check(whole)
    assert result.outcome == "inconclusive"
    assert [[child.tag for child in case] for case in whole[-1]] == [["skipped"], [], [], []]


def test_invalid_xml_characters_are_omitted(make_sweep: MakeSweep, nasty: str) -> None:
    bad = make_sweep((nasty + "\ud800",), bad={(nasty + "\ud800", 2, 0): "failed"})
    text = comparison_junit([bad], [compare(bad, bad)])
    text.encode()
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]", text)
    result = ET.fromstring(text)
    check(result)
    assert "<img src=x" in (result[0][0].get("classname") or "")


def test_several_candidates_are_several_suites(make_sweep: MakeSweep) -> None:
    a = make_sweep(("densenet",), (2,))
    others = [a.model_copy(update={"name": name}) for name in ("b", "c")]
    result = ET.fromstring(comparison_junit(others, [compare(a, other) for other in others]))
    assert [suite.get("name", "")[:2] for suite in result] == ["b,", "c,"]


def test_without_attempts_the_time_is_the_training_time(make_sweep: MakeSweep) -> None:
    profile = make_sweep(("densenet",), (2,), seeds=1)
    run = profile.runs[0].model_copy(update={"attempts": ()})
    alone = profile.model_copy(update={"runs": (run,)})
    case = ET.fromstring(comparison_junit([alone], [compare(alone, alone)]))[0][0]
    assert float(case.get("time", "")) == pytest.approx(sum(epoch.seconds for epoch in run.epochs), abs=1e-3)
