"""The page in a real browser, with mouse and keyboard."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnlbench.charts.model import Axis, Chart, Scale, Series, Ticks
from dnlbench.charts.web import chart_data
from dnlbench.comparison import compare
from dnlbench.profiles import Profile
from dnlbench.report.html import comparison_html, profile_html
from dnlbench.report.html.charts import chart_figures
from dnlbench.report.html.page import page as document

MakeSweep = Callable[..., Profile]
BAD = {("densenet", 4, 1): "failed", ("densenet", 8, 2): "diverged", ("dense-gaussian", 16, 2): "skipped"}
LOG_Y = "document.querySelector('figure input[name=log-y]')"
BUTTONS = "document.querySelector('figure .legend').querySelectorAll('button')"
SLIDER = "document.querySelector('figure input[type=range]')"
CURVES = "[...document.querySelector('figure .chart').querySelectorAll('[data-series]')]"
DRAWING = "document.querySelector('figure .chart').innerHTML"


@pytest.fixture
def sweeps(make_sweep: MakeSweep, nasty: str, kept: dict[str, Any]) -> tuple[Profile, Profile]:
    if "sweeps" not in kept:
        kept["sweeps"] = make_sweep(name="base"), make_sweep(name=nasty, factor=1.1, bad=BAD)
    a, b = kept["sweeps"]
    return a, b


@pytest.fixture
def page(sweeps: tuple[Profile, Profile], kept: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison with failed runs and a hostile name."""
    if "page" not in kept:
        kept["page"] = tmp_path_factory.mktemp("page") / "report.html"
        kept["page"].write_text(comparison_html(sweeps[0], [sweeps[1]], [compare(*sweeps)]), encoding="utf-8")
    return Path(kept["page"])


def points(path: str) -> list[tuple[float, float]]:
    """Return the points of a plotted line."""
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def lines(browser: Any) -> dict[str, list[tuple[float, float]]]:
    """Return the curves of the first chart by name."""
    result = json.loads(
        browser.evaluate(f"JSON.stringify({CURVES}.map((c) => [c.dataset.series, c.getAttribute('d')]))")
    )
    return {name: points(path) for name, path in result}


def straight(x: list[float], y: list[float]) -> float:
    """Return the largest deviation of values from the best line a + b x."""
    slope, intercept = statistics.linear_regression(x, y)
    return max(abs(b - intercept - slope * a) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_it_opens_without_errors_or_requests(browser: Any, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width=width, scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [page.resolve().as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 380) == (scheme == "light")
    outside = """[...document.querySelectorAll('main *')].filter((each) => {
        const box = each.getBoundingClientRect();
        return box.width && box.right > innerWidth && !each.closest('.scroll');
    }).length"""
    assert browser.evaluate(outside) == 0


def test_nothing_can_be_loaded_or_sent(browser: Any, page: Path) -> None:
    browser.open(page)
    attempts = {
        "connect-src": "fetch('https://example.invalid/').catch(() => 0)",
        "img-src": "document.body.append(Object.assign(new Image(), {src: 'https://example.invalid/a.png'}))",
        "script-src-elem": "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))",
        "style-src-attr": "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">a</p>')",
        "font-src": "new FontFace('a', 'url(https://example.invalid/a.woff)').load().catch(() => 0)",
    }
    for directive, attempt in attempts.items():
        refused = browser.evaluate(
            "new Promise((done) => { document.addEventListener('securitypolicyviolation',"
            f" (event) => done(event.effectiveDirective), {{ once: true }}); {attempt}; setTimeout(() => done(''), 100000); }})"
        )
        assert refused == directive
    assert browser.evaluate("window.ran") is None
    assert browser.requests() == [page.resolve().as_uri()]


def test_hostile_text_is_shown_as_text(browser: Any, page: Path, nasty: str) -> None:
    browser.open(page)
    start = nasty.partition("\n")[0]
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    shown = browser.evaluate("document.body.textContent")
    assert shown.count(start) >= 4  # its name, its settings' title, the message and the log
    title = browser.evaluate("document.querySelector('h1').textContent")
    assert title.startswith(start)
    logs = json.loads(
        browser.evaluate("JSON.stringify([...document.querySelectorAll('pre')].map((p) => p.textContent))")
    )
    assert any(start in log and "line 59 of <b>many</b>" in log for log in logs)


def test_the_switch_makes_an_axis_logarithmic(browser: Any, page: Path, sweeps: tuple[Profile, Profile]) -> None:
    browser.open(page)
    chosen = "A L=2"
    runs = [run for run in sweeps[0].runs if (run.network, run.depth) == ("densenet", 2)]
    means = [statistics.fmean(run.epochs[epoch].train_loss for run in runs) for epoch in range(6)]
    logs = [math.log(mean) for mean in means]
    assert browser.evaluate(f"{LOG_Y}.checked") is True
    plotted = [y for _, y in lines(browser)[chosen]]
    assert straight(logs, plotted) < 0.2
    assert straight(means, plotted) > 5
    browser.evaluate(f"{LOG_Y}.focus()")
    browser.press(" ")
    assert browser.evaluate(f"{LOG_Y}.checked") is False
    plotted = [y for _, y in lines(browser)[chosen]]
    assert straight(means, plotted) < 0.2
    assert straight(logs, plotted) > 5
    across = [x for x, _ in lines(browser)[chosen]]
    browser.evaluate("document.querySelector('figure input[name=log-x]').click()")
    epochs = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert straight(epochs, across) < 0.2
    assert straight([math.log(e) for e in epochs], [x for x, _ in lines(browser)[chosen]]) < 0.2


def test_the_legend_hides_curves(browser: Any, page: Path) -> None:
    browser.open(page)
    before = browser.evaluate(DRAWING)
    names = list(lines(browser))
    assert names[:2] == ["A L=2", "A L=4"]
    assert "B L=4 seed 1" in names
    browser.evaluate(f"{BUTTONS}[0].focus()")
    browser.press(" ")
    assert browser.evaluate(f"{BUTTONS}[0].getAttribute('aria-pressed')") == "false"
    assert list(lines(browser)) == names[1:]
    failed = "document.querySelectorAll('figure .legend button')[5]"
    assert browser.evaluate(f"{failed}.textContent") == "B L=4"
    browser.evaluate(f"{failed}.click()")
    assert list(lines(browser)) == [name for name in names[1:] if not name.startswith("B L=4")]
    browser.evaluate(f"{failed}.click()")
    browser.evaluate(f"{BUTTONS}[0].focus()")
    browser.press(" ")
    assert browser.evaluate(DRAWING) == before
    browser.evaluate(f"{BUTTONS}.forEach((button) => button.click())")
    assert lines(browser) == {}
    assert "all curves are hidden" in browser.evaluate(DRAWING)
    assert browser.complaints() == []


def test_the_axes_fit_what_is_shown(browser: Any, page: Path) -> None:
    browser.open(page)
    height = browser.evaluate("document.querySelector('figure .chart').viewBox.baseVal.height")
    browser.evaluate(f"[...{BUTTONS}].slice(1).forEach((button) => button.click())")
    browser.evaluate(f"{LOG_Y}.click()")
    ys = [y for _, y in lines(browser)["A L=2"]]
    assert max(ys) - min(ys) > 0.5 * height


def test_values_are_read_by_keys_and_by_mouse(browser: Any, page: Path, sweeps: tuple[Profile, Profile]) -> None:
    browser.open(page)
    values = f"JSON.stringify([...{BUTTONS}].map((button) => button.querySelector('.value').textContent))"
    assert set(json.loads(browser.evaluate(values))) == {""}
    browser.evaluate(f"{SLIDER}.focus()")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    assert browser.evaluate("document.querySelector('figure output').textContent") == "epoch 3"
    runs = [run for run in sweeps[0].runs if (run.network, run.depth) == ("densenet", 2)]
    losses = [run.epochs[2].train_loss for run in runs]
    mean = statistics.fmean(losses)
    factor = math.exp(
        4.302652729911275 * statistics.stdev(losses) / math.sqrt(3) / mean
    )  # t quantile, 2 degrees of freedom
    by_key = json.loads(browser.evaluate(values))
    assert by_key[0] == f"{mean:.4g} [{mean / factor:.4g}, {mean * factor:.4g}]"
    output = browser.evaluate(f"{SLIDER}.getAttribute('aria-valuetext')")
    assert output.startswith(f"epoch 3: A L=2 {mean:.4g}; A L=4 ")
    x, y = lines(browser)["A L=2"][4]
    browser.evaluate("document.querySelector('figure .chart').scrollIntoView({ block: 'center' })")
    box = json.loads(
        browser.evaluate("JSON.stringify(document.querySelector('figure .chart').getBoundingClientRect())")
    )
    browser.move(box["left"] + x + 3, box["top"] + y)
    assert browser.evaluate("document.querySelector('figure output').textContent") == "epoch 5"
    assert json.loads(browser.evaluate(values)) != by_key
    browser.move(1, 1)
    assert browser.evaluate("document.querySelector('figure output').textContent") == "read values"


def test_all_controls_are_reached_by_the_keyboard(browser: Any, page: Path) -> None:
    browser.open(page)
    reached = set()
    for _ in range(60):
        browser.press("Tab")
        reached.add(
            browser.evaluate(
                "document.activeElement.name || document.activeElement.className || document.activeElement.type"
            )
        )
    assert {"log-x", "log-y", "range", "button", "scroll"} <= reached


def test_without_scripts_there_are_still_charts_and_tables(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.evaluate("document.querySelectorAll('.static').length") == 0
    live = browser.evaluate("document.querySelectorAll('.chart').length")
    browser.open(page, width=1000, scripts=False)
    assert browser.evaluate("document.querySelectorAll('figure input, figure button').length") == 0
    assert browser.evaluate("document.querySelectorAll('figure details table').length") == live
    pictures = "[...document.querySelectorAll('figure .static svg')]"
    assert browser.evaluate(f"{pictures}.filter((each) => each.getBoundingClientRect().width > 400).length") == live
    colors = (
        f"new Set({pictures}.flatMap((p) => [...p.querySelectorAll('use')].map((u) => getComputedStyle(u).stroke)))"
    )
    assert browser.evaluate(f"{colors}.size") > 3  # as the page's policy leaves them
    assert browser.complaints() == []


def open_chart(browser: Any, folder: Path, points: list[tuple[float, float]], *, log: bool, ticks: Ticks) -> None:
    """A page with one chart of one curve."""
    scale: Scale = "log" if log else "linear"
    x, y = zip(*points, strict=True)
    series = Series(key="a", label="a", role="mean", x=x, y=y, points=True)
    axis = Axis(label="value", scale=scale, ticks=ticks)
    chart = Chart(key="c", title="made-up", x=Axis(label="index", ticks="integer"), y=axis, series=(series,))
    (folder / "one.html").write_text(document("x", [chart_figures([chart])], chart_data([chart])), encoding="utf-8")
    browser.open(folder / "one.html")
    assert browser.complaints() == []


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    ("low", "high"), [(1, 150), (0.0141, 2.3), (1e-7, 1e-3), (2, 256), (5000, 17000), (0.9995, 1.0)]
)
def test_ticks_are_few_distinct_and_on_the_axis(
    browser: Any, tmp_path: Path, low: float, high: float, log: bool
) -> None:
    open_chart(browser, tmp_path, [(0, low), (1, high)], log=log, ticks="number")
    result = json.loads(
        browser.evaluate(
            "JSON.stringify([...document.querySelectorAll('.chart text[text-anchor=end]')].map("
            "(tick) => [tick.textContent, Number(tick.getAttribute('y'))]))"
        )
    )
    height = browser.evaluate("document.querySelector('.chart').viewBox.baseVal.height")
    assert 2 <= len(result) <= 9
    assert len({text for text, _ in result}) == len(result)
    downs = [down for _, down in result]
    assert downs == sorted(downs, reverse=True)
    assert all(10 <= down <= height - 46 + 5 for down in downs)


def test_numbers_are_short(browser: Any, tmp_path: Path) -> None:
    texts = {
        **{0.0: "0", 0.05: "0.05", 12_000: "12 k", 1e-5: "10⁻⁵"},
        **{-2e-4: "−2·10⁻⁴", 2_500_000: "2.5 M", 999: "999"},
    }
    open_chart(browser, tmp_path, list(enumerate(texts)), log=False, ticks="number")
    for index, text in enumerate(texts.values()):
        browser.evaluate(f"{SLIDER}.value = {index}; {SLIDER}.dispatchEvent(new Event('input'))")
        assert browser.evaluate("document.querySelector('.legend .value').textContent") == text
        assert browser.evaluate(f"{SLIDER}.getAttribute('aria-valuetext')") == f"index {index}: a {text}"


def test_fractions_are_in_percent_and_a_logarithmic_axis_counts_hidden_values(browser: Any, tmp_path: Path) -> None:
    open_chart(browser, tmp_path, [(0, 0.0), (1, 0.5)], log=True, ticks="percent")
    assert "1 values ≤ 0 not shown" in browser.evaluate(DRAWING)
    browser.evaluate(f"{SLIDER}.value = 1; {SLIDER}.dispatchEvent(new Event('input'))")
    assert browser.evaluate("document.querySelector('.legend .value').textContent") == "50 %"


def test_print_shows_what_is_folded_and_no_controls(browser: Any, page: Path) -> None:
    browser.open(page, width=800, scheme="dark")
    browser.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert browser.evaluate("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate("[...document.querySelectorAll('details')].every((each) => each.open)") is True
    browser.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("status", ["ok", "diverged", "skipped"])
def test_small_and_broken_sweeps_open_too(browser: Any, make_sweep: MakeSweep, tmp_path: Path, status: str) -> None:
    bad = {("densenet", 2, 0): status}
    path = tmp_path / "one.html"
    path.write_text(profile_html(make_sweep(("densenet",), (2,), seeds=1, epochs=1, bad=bad)), encoding="utf-8")
    browser.open(path)
    assert browser.complaints() == []
    assert "densenet" in browser.evaluate("document.querySelector('main').textContent")
