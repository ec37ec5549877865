"""The HTML page: text, data, and no external references."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import statistics
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import t as student

from dnlbench.charts.web import chart_data
from dnlbench.comparison import compare, gate, parse_rule
from dnlbench.profiles import Profile, read_profile, summarize
from dnlbench.report.html import comparison_html, profile_html
from dnlbench.report.html.charts import charts_of
from dnlbench.report.html.markup import Markup, tag
from dnlbench.report.html.page import embedded_json
from dnlbench.studies import STUDIES

MakeSweep = Callable[..., Profile]
REPOSITORY = Path(__file__).parent.parent.parent
ALONE = {"meta", "br", "input"}


class Document(HTMLParser):
    """Parses elements with attributes and text, and checks their nesting."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for result, attributes in self.elements if result == name]

    def text_of(self, *names: str) -> str:
        return "".join(text for name, text in self.texts if name in names)


@pytest.fixture
def pages(make_sweep: MakeSweep, kept: dict[str, str]) -> dict[str, str]:
    if not kept:
        bad = {("densenet", 4, 1): "oom", ("densenet", 8, 0): "skipped"}
        a, b = make_sweep(name="base"), make_sweep(factor=1.1, bad=bad)
        result = compare(a, b)
        held = gate([result], [parse_rule("loss:worse", STUDIES["training"])])
        kept |= {"profile": profile_html(b), "comparison": comparison_html(a, [b, b], [result, result], held)}
    return kept


@pytest.mark.parametrize("kind", ["profile", "comparison"])
def test_the_document_has_a_heading_structure(pages: dict[str, str], kind: str) -> None:
    document = Document(pages[kind])
    assert document.all("html") == [{"lang": "en"}]
    levels = [int(name[1]) for name, _ in document.elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(head.get("scope") in ("col", "row") for head in document.all("th"))
    assert len(document.all("caption")) == len(document.all("table"))
    pictures = [each for _, each in document.elements if each.get("role") == "img"]
    assert len(pictures) == len(document.all("figure"))
    assert all(each["aria-label"] for each in pictures)
    scrolling = [each for each in document.all("div") if each.get("class") == "scroll"]
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in scrolling)


@pytest.mark.parametrize("kind", ["profile", "comparison"])
def test_the_page_has_no_external_references(pages: dict[str, str], kind: str) -> None:
    text, document = pages[kind], Document(pages[kind])
    assert "//" not in re.sub(r"\s// .*$", "", text, flags=re.MULTILINE)  # but for comments of the script
    assert "http" not in text.replace("http-equiv", "")
    for _, attributes in document.elements:
        assert not attributes.keys() & {"src", "srcset", "action", "data", "poster", "style", "xlink:href"}
        assert (attributes.get("href") or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "@import" not in text


def test_the_policy_allows_only_the_embedded_style_and_script(pages: dict[str, str]) -> None:
    document = Document(pages["comparison"])
    policy = next(m["content"] for m in document.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert not directives.keys() & {"connect-src", "img-src", "font-src"}
    script = pages["comparison"].rpartition("<script>")[2].partition("</script>")[0]
    style = pages["comparison"].partition("<style>")[2].partition("</style>")[0]
    for directive, content in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert directives[directive] == f"'sha256-{digest}'"


def test_hostile_text_is_escaped_everywhere(make_sweep: MakeSweep, nasty: str) -> None:
    bad = {("densenet", 4, 1): "failed"}
    spec = {"name": nasty, nasty: nasty, "sweep": {"depths": [2]}}
    plain = make_sweep((nasty, "densenet"), bad=bad)
    hostile = plain.model_copy(update={"name": nasty, "spec": spec})
    for page in (profile_html(hostile), comparison_html(plain, [hostile], [compare(plain, hostile)])):
        document = Document(page)
        assert not document.all("img")
        assert [each.get("type") for each in document.all("script")] == ["application/json", None]
        assert "onerror" in document.text_of("th", "caption", "h1", "h3")
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe]", page)
        data = data_of(page)
        assert any(nasty[:30] in chart["title"] for chart in data["charts"])


def test_json_in_a_script_element_round_trips(nasty: str) -> None:
    content = {"a": [nasty, "</SCRIPT ", "<!--", "\u2028"], "b": 1.5}
    assert not re.search("[<>&\u2028\u2029]", embedded_json(content))
    assert json.loads(embedded_json(content)) == content
    with pytest.raises(ValueError, match="JSON"):
        embedded_json(float("nan"))


def test_markup_escapes_everything_else() -> None:
    assert tag("p", "<b>", Markup("<i></i>"), title='"<', aria_label=None, hidden=True) == (
        '<p title="&quot;&lt;" hidden>&lt;b&gt;<i></i></p>'
    )


def test_curves_are_means_with_t_intervals(make_sweep: MakeSweep) -> None:
    profile = make_sweep(seeds=4)
    chart = charts_in(profile)[0]
    assert chart["title"] == "Training loss of densenet"
    for series, depth in zip(chart["series"], (2, 4, 8, 16), strict=True):
        runs = [run for run in profile.runs if (run.network, run.depth) == ("densenet", depth)]
        assert (series["label"], series["role"], series["x"]) == (f"L={depth}", "mean", [1, 2, 3, 4, 5, 6])
        for epoch in range(6):
            losses = [run.epochs[epoch].train_loss for run in runs]
            mean = statistics.fmean(losses)
            interval = student.interval(0.95, 3, math.log(mean), statistics.stdev(losses) / 2 / mean)
            result = (series["low"][epoch], series["high"][epoch])
            assert result == pytest.approx([math.exp(v) for v in interval], rel=1e-4)
            assert series["y"][epoch] == pytest.approx(mean, rel=1e-4)


def test_failed_runs_are_in_no_mean(make_sweep: MakeSweep) -> None:
    profile = make_sweep(("plain",), (2,), bad={("plain", 2, 0): "diverged", ("plain", 2, 1): "cancelled"})
    page = profile_html(profile)
    mean, *alone = data_of(page)["charts"][0]["series"]
    assert (mean["role"], mean["y"][-1]) == ("mean", pytest.approx(profile.runs[2].final_train_loss, rel=1e-4))
    assert [(each["label"], each["failed"], len(each["x"]), each["parent"]) for each in alone] == [
        ("L=2 seed 0", True, 3, mean["key"]),
        ("L=2 seed 1", False, 3, mean["key"]),
    ]
    assert "1 failed run, excluded from means: plain L=2 seed 0 diverged in epoch 3." in page


def test_errors_of_problems_have_geometric_means(make_profile: Callable[..., Profile]) -> None:
    """Errors 1 and 4, 0.5 and 2, 0.25 and 1 at L = 8, 16, 32."""
    base = make_profile({("local-tanh", depth): [1.0] * 2 for depth in (8, 16, 32)}, study="forward-limit")
    nothing = {"epochs": (), "final_train_loss": None, "samples_per_s": None}
    runs = [
        run.model_copy(update={**nothing, "measurements": {"error_max": 8 / run.depth * (1, 4)[run.seed]}})
        for run in base.runs
    ]
    summary = summarize(runs, STUDIES["forward-limit"])
    page = profile_html(base.model_copy(update={"runs": tuple(runs), "summary": summary}))
    (chart,) = [each for each in data_of(page)["charts"] if each["title"] == "Largest error vs. depth"]
    (mean,) = [each for each in chart["series"] if each["role"] == "mean"]
    assert (mean["x"], mean["y"]) == ([8, 16, 32], [2, 1, 0.5])
    assert set(mean["low"] + mean["high"]) <= {None}
    assert sorted(each["y"] for each in chart["series"] if each["role"] == "run") == [[1, 0.5, 0.25], [4, 2, 1]]
    table = re.search(r"<caption>largest error by depth L</caption>.*?</table>", page, re.DOTALL)
    assert table is not None
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t", row) for row in table[0].split("<tr>")]
    assert ["curve", "8", "16", "32"] in rows
    assert ["local-tanh", "2", "1", "0.5"] in rows


def test_the_summary_describes_each_network(make_sweep: MakeSweep) -> None:
    a, b = make_sweep(), make_sweep(factor=1.1)
    items = comparison_html(a, [b], [compare(a, b)])
    assert "<strong>densenet</strong>: final training loss worse, × 1.100 [1.100, 1.100]" in items
    output = profile_html(a)
    ratio = a.summary.contrasts[0].ratio
    assert f"(change per doubling of depth: L=2 → 4: × {ratio:.3f} [" in output
    first, last = (p.quantities["samples_per_s"].mean for p in (a.summary.points[0], a.summary.points[3]))
    assert f"at L=16 (−{100 * (1 - last / first):.3g} %)" in output


def test_errors_and_ends_of_logs_are_there(make_sweep: MakeSweep) -> None:
    document = Document(profile_html(make_sweep(bad={("densenet", 2, 0): "failed", ("densenet", 4, 0): "oom"})))
    logs = document.text_of("pre")
    assert "line 59 of <b>many</b>" in logs
    assert "line 3 of" not in logs
    assert "tried to allocate 2 GiB" in logs
    assert "\x1b" not in logs


@pytest.mark.parametrize("path", ["profiles/digits-quick.json", "tests/golden/profile-1.json"])
def test_profiles_of_earlier_versions_make_pages_too(path: str) -> None:
    profile = read_profile(REPOSITORY / path)
    Document(profile_html(profile))
    Document(comparison_html(profile, [profile], [compare(profile, profile)]))


def test_a_large_comparison_is_small(make_sweep: MakeSweep) -> None:
    many = [make_sweep(("densenet", "dense-attention"), seeds=5, epochs=150, factor=factor) for factor in (1.0, 1.01)]
    assert [len(profile.runs) for profile in many] == [40, 40]
    assert len(comparison_html(many[0], [many[1]], [compare(*many)]).encode()) < 500_000


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2, from 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("index", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_and_curves_stand_out(index: int) -> None:
    style = (REPOSITORY / "dnlbench/report/html/page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 3
    colors: dict[str, str] = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[index]))
    for name in ("text", "muted", "good", "bad", "warn", *(f"c{k}" for k in range(8))):
        assert contrast(colors[name], colors["background"]) >= 4.5, name
    assert contrast(colors["text"], colors["surface"]) >= 4.5
    assert contrast(colors["muted"], colors["surface"]) >= 4.5


def test_data_contain_only_json_numbers(make_sweep: MakeSweep) -> None:
    profile = make_sweep(("plain",), (2,))
    runs = [
        run.model_copy(
            update={
                "epochs": tuple(
                    e.model_copy(update={"train_loss": float("inf")}) if e.epoch == 3 else e for e in run.epochs
                )
            }
        )
        for run in profile.runs
    ]
    series = charts_in(profile.model_copy(update={"runs": tuple(runs)}))[0]["series"]
    assert [each["role"] for each in series] == ["run"] * 3
    assert all(each["x"] == [1, 2, 3, 4, 5, 6] and each["y"][2] is None for each in series)


def data_of(page: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    return result


def charts_in(*profiles: Profile) -> list[dict[str, Any]]:
    """Return the chart data of a page."""
    result: dict[str, Any] = json.loads(embedded_json(chart_data(charts_of(profiles))))
    return list(result["charts"])


@pytest.mark.parametrize("factor", [1e160, 1e200, 8e307, 1e-315])
def test_extreme_floats_are_plotted_or_omitted(make_sweep: MakeSweep, factor: float) -> None:
    """Intervals are infinite from about 1e154, where squares overflow; charts omit values from 1e250."""
    usual, far = make_sweep(), make_sweep(factor=factor)
    alone, together = charts_in(far), charts_in(usual, far)
    Document(comparison_html(usual, [far], [compare(usual, far)]))
    assert [chart["title"] for chart in together][:2] == [
        "Training loss of densenet",
        "Training loss of dense-gaussian",
    ]
    for charts_ in (alone, together):
        values = [v for chart in charts_ for each in chart["series"] for key in ("y", "low", "high") for v in each[key]]
        assert max(abs(value) for value in values if value is not None) <= 1e250
    if 1e154 < factor < 1e250:
        curve = alone[0]["series"][0]
        assert min(curve["y"]) > factor / 100
        assert set(curve["low"] + curve["high"]) <= {None, 0}


def test_fits_beyond_the_range_of_floats_are_plotted_partly(make_sweep: MakeSweep) -> None:
    profile = make_sweep(("densenet",))
    fit = profile.summary.fits[0].model_copy(update={"model": "power", "constant": 1.0, "order": -300.0, "problem": ""})
    steep = profile.model_copy(update={"summary": profile.summary.model_copy(update={"fits": (fit,)})})
    drawn_series = [each for chart in charts_in(steep) for each in chart["series"]]
    (fitted,) = [each for each in drawn_series if each["label"] == "densenet fit"]
    assert (fitted["x"][0], fitted["y"][0]) == (2, pytest.approx(2.0**300, rel=1e-4))
    assert all((y is None) == (x > 10 ** (250 / 300)) for x, y in zip(fitted["x"], fitted["y"], strict=True))
