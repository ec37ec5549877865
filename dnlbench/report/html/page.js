"use strict";
// Makes the still charts of this page live: axes by choice, curves on and off, values under a cursor that keys move too.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const EDGE = { left: 68, right: 12, top: 10, bottom: 46 };
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const MARKS_A_CURVE = 5;

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // Numbers as text ---------------------------------------------------------------------------------------------------

  function label(value, whole = false) {
    if (value === 0 || whole) return String(Math.round(value));
    const sign = value < 0 ? "−" : "", size = Math.abs(value);
    if (size < 1e-3) {
      const exponent = Math.floor(Math.log10(size) + 1e-9), mantissa = short(size / 10 ** exponent, 3);
      const raised = [...String(-exponent)].map((digit) => SUPERSCRIPTS[digit]).join("");
      return sign + (mantissa === "1" ? "" : mantissa + "·") + "10⁻" + raised;
    }
    for (const [factor, prefix] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]])
      if (size >= factor) return sign + short(size / factor, 4) + prefix;
    return sign + short(size, 4);
  }

  const short = (value, digits) => String(Number(value.toPrecision(digits)));

  // Axes --------------------------------------------------------------------------------------------------------------

  function scaleOver(values, bands, axis, log, start, end) {
    const placed = values.filter((v) => v !== null && (!log || v > 0)).map((v) => (log ? Math.log(v) : v));
    let low = placed.reduce((a, b) => Math.min(a, b), Infinity), high = placed.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!placed.length) [low, high] = [0, log ? Math.log(10) : 1];
    if (!log) {
      const reach = 0.5 * (high - low || Math.abs(high)), ends = bands.filter((v) => v != null);
      [low, high] = [Math.max(Math.min(low, ...ends), low - reach), Math.min(Math.max(high, ...ends), high + reach)];
    }
    const wide = high - low > 1e-9 * Math.max(1, Math.abs(low), Math.abs(high));
    const margin = wide ? 0.04 * (high - low) : Math.max(Math.abs(low) / 10, 0.5);
    low -= margin;
    high += margin;
    if (!log) [low, high] = [Math.max(low, axis.least ?? low), Math.min(high, axis.most ?? high)];
    const place = (v) => (log && v <= 0 ? start : start + (((log ? Math.log(v) : v) - low) / (high - low)) * (end - start));
    return { low, high, log, place };
  }

  function ticks(scale, axis, most) {
    if (!scale.log) return multiples(scale.low, scale.high, most, axis.whole);
    const low = Math.exp(scale.low), high = Math.exp(scale.high), found = powers(low, high, axis.base, most);
    return found.length >= 2 ? found : multiples(low, high, most, axis.whole).filter((v) => v > 0);
  }

  function multiples(low, high, most, whole) {
    const least = (high - low) / Math.max(1, most), power = 10 ** Math.floor(Math.log10(least));
    let step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= least * 0.999);
    if (whole) step = Math.max(1, step);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k <= Math.floor(high / step + 1e-9); k++) found.push(k * step);
    return found;
  }

  function powers(low, high, base, most) {
    const first = Math.floor(Math.log(low) / Math.log(base)), last = Math.ceil(Math.log(high) / Math.log(base));
    let found = [];
    for (const mantissas of base === 10 ? [[1, 2, 5], [1, 3], [1]] : [[1]]) {
      found = [];
      for (let k = first; k <= last; k++) for (const m of mantissas) found.push(m * base ** k);
      found = found.filter((v) => low <= v && v <= high);
      if (found.length <= most) return found;
    }
    const stride = Math.ceil(found.length / most);
    return found.filter((_, place) => place % stride === 0);
  }

  // One chart ---------------------------------------------------------------------------------------------------------

  class LiveChart {
    constructor(figure, chart) {
      this.chart = chart;
      this.log = { x: chart.x.log, y: chart.y.log };
      this.off = new Set();
      this.at = null; // place in this.steps; null: no cursor
      this.svg = figure.querySelector(".chart");
      this.plot = figure.querySelector(".plot");
      const measured = chart.series.filter((s) => !s.faint);
      this.steps = [...new Set((measured.length ? measured : chart.series).flatMap((s) => s.x))].sort((a, b) => a - b);
      this.values = this.makeLegend(figure.querySelector(".legend"));
      this.plot.before(this.makeControls());
      this.plot.addEventListener("pointermove", (event) => this.pointAt(event));
      this.plot.addEventListener("pointerdown", (event) => this.pointAt(event));
      this.plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.read(null));
      new ResizeObserver(() => this.plot.clientWidth !== this.width && this.draw()).observe(this.plot);
      this.draw();
    }

    makeControls() {
      const bar = element("div", { class: "controls" });
      for (const axis of ["x", "y"]) {
        const box = element("input", { type: "checkbox", name: `log-${axis}` });
        box.checked = this.log[axis];
        box.addEventListener("change", () => { this.log[axis] = box.checked; this.draw(); });
        bar.append(element("label", {}, box, `logarithmic ${axis}`));
      }
      this.slider = element("input", { type: "range", min: 0, max: this.steps.length - 1, step: 1, value: 0 });
      this.slider.setAttribute("aria-label", `${this.chart.title}: read values at ${this.chart.x.label}`);
      this.slider.addEventListener("input", () => this.read(Number(this.slider.value)));
      this.slider.addEventListener("focus", () => this.at === null && this.read(Number(this.slider.value)));
      this.output = element("output", {}, "read values");
      bar.append(element("label", { class: "reading" }, this.output, this.slider));
      return bar;
    }

    makeLegend(list) {
      return [...list.children].map((item, place) => {
        const value = element("span", { class: "value" });
        const button = element("button", { type: "button", "aria-pressed": "true" }, ...item.childNodes, value);
        button.addEventListener("click", () => {
          if (!this.off.delete(place)) this.off.add(place);
          button.setAttribute("aria-pressed", String(!this.off.has(place)));
          this.draw();
        });
        item.append(button);
        return value;
      });
    }

    shown() {
      return this.chart.series.filter((_, place) => !this.off.has(place));
    }

    draw() {
      this.width = this.plot.clientWidth || 640;
      this.height = Math.round(Math.min(360, Math.max(240, 0.58 * this.width)));
      const shown = this.shown(), bottom = this.height - EDGE.bottom;
      const { x, y } = this.chart, bands = shown.flatMap((s) => [...s.low, ...s.high]);
      this.x = scaleOver(shown.flatMap((s) => s.x), [], x, this.log.x, EDGE.left, this.width - EDGE.right);
      this.y = scaleOver(shown.flatMap((s) => s.y), bands, y, this.log.y, bottom, EDGE.top);
      this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      this.svg.replaceChildren();
      this.drawAxes(bottom);
      for (const series of shown) this.drawBand(series);
      for (const series of shown) this.drawCurve(series);
      if (!shown.length) this.text(this.width / 2, this.height / 2, "all curves are off", "middle");
      this.hidden(shown);
      this.cursor = this.path("", "cursor");
      this.read(this.at);
    }

    drawAxes(bottom) {
      const { chart, svg } = this, right = this.width - EDGE.right;
      for (const value of ticks(this.x, chart.x, Math.max(3, Math.floor(this.width / 70)))) {
        const at = this.x.place(value);
        this.path(`M${at},${EDGE.top}V${bottom}`, "grid");
        this.text(at, bottom + 18, label(value, chart.x.whole), "middle");
      }
      for (const value of ticks(this.y, chart.y, 7)) {
        const at = this.y.place(value);
        this.path(`M${EDGE.left},${at}H${right}`, "grid");
        this.text(EDGE.left - 7, at + 4, label(value), "end");
      }
      this.path(`M${EDGE.left},${EDGE.top}V${bottom}H${right}`, "frame");
      this.text((EDGE.left + right) / 2, this.height - 8, chart.x.label, "middle");
      const middle = (EDGE.top + bottom) / 2;
      this.text(12, middle, chart.y.label, "middle").setAttribute("transform", `rotate(-90 12 ${middle})`);
      svg.dataset.log = `${this.log.x ? "x" : ""}${this.log.y ? "y" : ""}`;
    }

    drawBand(series) {
      const known = series.x.map((_, i) => i).filter((i) => this.has(series, i) && series.low[i] != null && series.high[i] != null);
      if (series.points) {
        for (const i of known)
          this.path(`M${this.across(series.x[i])},${this.down(series.low[i])}V${this.down(series.high[i])}`, `line c${series.colour} bar`);
      } else if (known.length) {
        const edge = (i, side) => `${this.across(series.x[i])},${this.down(series[side][i])}`;
        const round = [...known.map((i) => edge(i, "high")), ...known.reverse().map((i) => edge(i, "low"))];
        this.path(`M${round.join("L")}Z`, `band c${series.colour}`);
      }
    }

    drawCurve(series) {
      const places = series.x.map((_, i) => i).filter((i) => this.has(series, i));
      if (!places.length) return;
      const at = (i) => [this.across(series.x[i]), this.down(series.y[i])];
      const faint = series.faint ? " faint" : "";
      this.path(`M${places.map(at).join("L")}`, `line c${series.colour} d${series.dash}${faint}`).dataset.series = series.name;
      const stride = series.points ? 1 : Math.ceil(places.length / MARKS_A_CURVE);
      for (let k = Math.floor(stride / 2); k < places.length && !series.faint; k += stride)
        this.mark(data.marks[series.mark], ...at(places[k]), `mark c${series.colour}`);
      if (series.broken) this.mark(data.cross, ...at(places.at(-1)), `line c${series.colour}`);
    }

    has(series, i) {
      return (!this.log.x || series.x[i] > 0) && (!this.log.y || series.y[i] > 0);
    }

    across(value) {
      return Number(this.x.place(value).toFixed(1));
    }

    down(value) {
      const place = this.y.place(value);
      return Number(Math.min(this.height - EDGE.bottom + 4, Math.max(EDGE.top - 4, place)).toFixed(1));
    }

    hidden(shown) {
      const count = shown.reduce((sum, s) => sum + s.x.filter((_, i) => !this.has(s, i)).length, 0);
      if (count) this.text(this.width - EDGE.right, EDGE.top + 10, `${count} values ≤ 0 have no place here`, "end");
    }

    // The cursor ------------------------------------------------------------------------------------------------------

    pointAt(event) {
      const x = event.clientX - this.svg.getBoundingClientRect().left;
      let nearest = 0;
      this.steps.forEach((step, i) => {
        if (Math.abs(this.x.place(step) - x) < Math.abs(this.x.place(this.steps[nearest]) - x)) nearest = i;
      });
      this.slider.value = nearest;
      this.read(nearest);
    }

    read(place) {
      this.at = place;
      const step = place === null ? null : this.steps[place];
      const said = [];
      this.chart.series.forEach((series, i) => {
        const k = step === null || this.off.has(i) ? -1 : series.x.indexOf(step);
        this.values[i].textContent = k < 0 ? "" : this.valueAt(series, k);
        if (k >= 0) said.push(`${series.name} ${label(series.y[k])}`);
      });
      if (step === null) {
        this.cursor.setAttribute("d", "");
        this.output.textContent = "read values";
        return;
      }
      const where = `${this.chart.x.label} ${label(step, this.chart.x.whole)}`;
      this.output.textContent = where;
      this.slider.setAttribute("aria-valuetext", `${where}: ${said.join("; ")}`);
      const at = this.across(step);
      this.cursor.setAttribute("d", this.log.x && step <= 0 ? "" : `M${at},${EDGE.top}V${this.height - EDGE.bottom}`);
    }

    valueAt(series, k) {
      const low = series.low[k], high = series.high[k];
      return label(series.y[k]) + (low == null || high == null ? "" : ` [${label(low)}, ${label(high)}]`);
    }

    // Drawing ---------------------------------------------------------------------------------------------------------

    make(name, attributes) {
      const made = document.createElementNS(this.svg.namespaceURI, name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      return this.svg.appendChild(made);
    }

    path(d, name) {
      return this.make("path", { d, class: name });
    }

    mark(shape, x, y, name) {
      this.make("path", { d: shape, transform: `translate(${x} ${y})`, class: name });
    }

    text(x, y, content, anchor) {
      const made = this.make("text", { x, y, "text-anchor": anchor });
      made.textContent = content;
      return made;
    }
  }

  document.documentElement.classList.add("live");
  for (const figure of document.querySelectorAll("figure[data-chart]"))
    new LiveChart(figure, data.charts[Number(figure.dataset.chart)]);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
})();
