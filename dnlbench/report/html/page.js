"use strict";
// Draws the interactive charts of this page: axis scales, visible curves, and values at a cursor for mouse and keyboard.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const MARGINS = { left: 68, right: 12, top: 10, bottom: 46 }, PADDING = 0.04, BAND_FRACTION = 0.5;
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹", PREFIXES = [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]];
  const MARKS_PER_CURVE = 5, TICK_GAP = 34;

  const template = document.createElement("template");
  template.innerHTML = "<svg></svg>";
  const SVG = template.content.firstChild.namespaceURI;

  function element(name, attributes = {}, ...children) {
    const isSvg = ["svg", "path", "text"].includes(name);
    const created = isSvg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
    created.append(...children);
    return created;
  }

  // Number formatting -------------------------------------------------------------------------------------------------

  const short = (value, digits) => String(Number(value.toPrecision(digits)));

  function label(value, { ticks } = {}) {
    if (value === 0 || ticks === "integer" || ticks === "depth") return String(Math.round(value));
    if (ticks === "percent") return `${short(100 * value, 4)} %`;
    const sign = value < 0 ? "−" : "", size = Math.abs(value);
    if (size < 1e-3) {
      const exponent = Math.floor(Math.log10(size) + 1e-9), mantissa = short(size / 10 ** exponent, 3);
      const superscript = [...String(-exponent)].map((digit) => SUPERSCRIPTS[digit]).join("");
      return `${sign}${mantissa === "1" ? "" : `${mantissa}·`}10⁻${superscript}`;
    }
    const [factor, prefix] = PREFIXES.find(([least]) => size >= least) ?? [1, ""];
    return sign + short(size / factor, 4) + prefix;
  }

  // Axes --------------------------------------------------------------------------------------------------------------

  // On a linear axis, intervals widen the axis by at most BAND_FRACTION of the range of values.
  function scaleOver(values, bands, axis, log, start, end) {
    const g = (v) => (log ? Math.log(v) : v), shown = values.filter((v) => v !== null && (!log || v > 0)).map(g);
    let [low, high] = shown.length ? [Math.min(...shown), Math.max(...shown)] : [0, log ? Math.log(10) : 1];
    if (!log) {
      const reach = BAND_FRACTION * (high - low || Math.abs(high)), ends = bands.filter((v) => v !== null);
      [low, high] = [Math.max(Math.min(low, ...ends), low - reach), Math.min(Math.max(high, ...ends), high + reach)];
    }
    const wide = high - low > 1e-9 * Math.max(1, Math.abs(low), Math.abs(high));
    const margin = wide ? PADDING * (high - low) : Math.max(Math.abs(low) / 10, 0.5);
    [low, high] = [low - margin, high + margin];
    if (!log) [low, high] = [Math.max(low, axis.least ?? low), Math.min(high, axis.most ?? high)];
    const position = (v) => (log && v <= 0 ? start : start + ((g(v) - low) / (high - low)) * (end - start));
    return { low, high, log, position };
  }

  function ticks(scale, axis, most) {
    const integers = axis.ticks === "integer" || axis.ticks === "depth";
    if (!scale.log) return multiples(scale.low, scale.high, most, integers);
    const low = Math.exp(scale.low), high = Math.exp(scale.high), candidates = powers(low, high, most);
    return candidates.length >= 2 ? candidates : multiples(low, high, most, integers).filter((v) => v > 0);
  }

  function multiples(low, high, most, integers) {
    const least = (high - low) / Math.max(1, most), power = 10 ** Math.floor(Math.log10(least));
    const step = Math.max(integers ? 1 : 0, [1, 2, 5, 10].map((m) => m * power).find((s) => s >= least * 0.999));
    const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
  }

  function powers(low, high, most) {
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    const decades = Array.from({ length: last - first + 1 }, (_, k) => 10 ** (first + k));
    const choices = [[1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]].map((mantissas) => decades.flatMap((d) => mantissas.map((m) => m * d)));
    const inside = choices.map((values) => values.filter((v) => low <= v && v <= high));
    const stride = Math.ceil(inside.at(-1).length / most);
    return inside.find((values) => values.length <= most) ?? inside.at(-1).filter((_, index) => index % stride === 0);
  }

  // Chart -------------------------------------------------------------------------------------------------------------

  class LiveChart {
    constructor(figure, chart) {
      this.chart = chart;
      this.log = { x: chart.x.log, y: chart.y.log };
      this.hidden = new Set();
      this.cursorIndex = null; // index into this.steps; null: no cursor
      const measured = chart.series.filter((s) => s.role === "mean");
      this.steps = [...new Set((measured.length ? measured : chart.series).flatMap((s) => s.x))].sort((a, b) => a - b);
      this.svg = element("svg", { class: "chart", role: "img", "aria-label": chart.text });
      this.plot = element("div", { class: "plot" }, this.svg);
      this.values = new Map();
      const legend = element("ul", { class: "legend" }, ...chart.series.filter((s) => s.listed).map((s) => this.makeEntry(s)));
      figure.querySelector(".static").replaceWith(this.makeControls(), this.plot, legend);
      this.plot.addEventListener("pointermove", (event) => this.pointAt(event));
      this.plot.addEventListener("pointerdown", (event) => this.pointAt(event));
      this.plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.showValues(null));
      new ResizeObserver(() => this.plot.clientWidth !== this.width && this.draw()).observe(this.plot);
      this.draw();
    }

    makeControls() {
      const bar = element("div", { class: "controls" });
      for (const axis of ["x", "y"]) {
        const box = element("input", { type: "checkbox", name: `log-${axis}` });
        box.checked = this.log[axis];
        box.addEventListener("change", () => { this.log[axis] = box.checked; this.draw(); });
        bar.append(element("label", {}, box, `log ${axis} axis`));
      }
      this.slider = element("input", { type: "range", min: 0, max: this.steps.length - 1, step: 1, value: 0 });
      this.slider.setAttribute("aria-label", `${this.chart.title}: read values at ${this.chart.x.text}`);
      this.slider.addEventListener("input", () => this.showValues(Number(this.slider.value)));
      this.slider.addEventListener("focus", () => this.cursorIndex === null && this.showValues(Number(this.slider.value)));
      this.output = element("output", {}, "read values");
      bar.append(element("label", { class: "read-values" }, this.output, this.slider));
      return bar;
    }

    makeEntry(series) {
      const line = element("path", { d: "M1,7H29", class: lineClass(series) });
      const mark = element("path", { d: data.marks[series.mark], transform: "translate(15 7)", class: `mark c${series.color}` });
      const swatch = element("svg", { viewBox: "0 0 30 14", class: "swatch", "aria-hidden": "true" }, line);
      if (series.role === "mean") swatch.append(mark);
      const value = element("span", { class: "value" });
      const button = element("button", { type: "button", "aria-pressed": "true" }, swatch, series.label, value);
      button.addEventListener("click", () => {
        if (!this.hidden.delete(series.key)) this.hidden.add(series.key);
        button.setAttribute("aria-pressed", String(!this.hidden.has(series.key)));
        this.draw();
      });
      this.values.set(series, value);
      return element("li", {}, button);
    }

    isShown(series) {
      return !this.hidden.has(series.key) && !this.hidden.has(series.parent);
    }

    draw() {
      this.width = this.plot.clientWidth || 640;
      this.height = Math.round(Math.min(360, Math.max(240, 0.58 * this.width)));
      this.bottom = this.height - MARGINS.bottom;
      const { x, y, series } = this.chart, shown = series.filter((s) => this.isShown(s));
      const bands = shown.flatMap((s) => [...s.low, ...s.high]);
      this.x = scaleOver(shown.flatMap((s) => s.x), [], x, this.log.x, MARGINS.left, this.width - MARGINS.right);
      this.y = scaleOver(shown.flatMap((s) => s.y), bands, y, this.log.y, this.bottom, MARGINS.top);
      this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      this.svg.dataset.log = `${this.log.x ? "x" : ""}${this.log.y ? "y" : ""}`;
      this.svg.replaceChildren();
      this.drawAxes();
      for (const each of shown) this.drawInterval(each);
      for (const each of shown) this.drawCurve(each);
      for (const each of shown) if (each.failed) this.drawCross(each);
      if (!shown.length) this.text(this.width / 2, this.height / 2, "all curves are hidden", "middle");
      const hiddenValues = shown.reduce((sum, s) => sum + s.x.filter((_, i) => s.y[i] !== null && !this.has(s, i)).length, 0);
      if (hiddenValues) this.text(this.width - MARGINS.right, MARGINS.top + 10, `${hiddenValues} values ≤ 0 not shown`, "end");
      this.cursor = this.path("", "cursor");
      this.showValues(this.cursorIndex);
    }

    drawAxes() {
      const { x, y } = this.chart, right = this.width - MARGINS.right;
      for (const value of x.ticks === "depth" ? this.depths() : ticks(this.x, x, Math.max(3, Math.floor(this.width / 70)))) {
        const at = this.x.position(value);
        this.path(`M${at},${MARGINS.top}V${this.bottom}`, "grid");
        this.text(at, this.bottom + 18, label(value, x), "middle");
      }
      for (const value of ticks(this.y, y, 7)) {
        const at = this.y.position(value);
        this.path(`M${MARGINS.left},${at}H${right}`, "grid");
        this.text(MARGINS.left - 7, at + 4, label(value, y), "end");
      }
      this.path(`M${MARGINS.left},${MARGINS.top}V${this.bottom}H${right}`, "frame");
      this.text((MARGINS.left + right) / 2, this.height - 8, x.text, "middle");
      const middle = (MARGINS.top + this.bottom) / 2;
      this.text(12, middle, y.text, "middle").setAttribute("transform", `rotate(-90 12 ${middle})`);
    }

    // Return the depths of the sweep whose labels do not overlap.
    depths() {
      let last = -Infinity;
      return this.steps.filter((step) => {
        const at = this.x.position(step), kept = at - last >= TICK_GAP && (!this.log.x || step > 0);
        if (kept) last = at;
        return kept;
      });
    }

    drawInterval(series) {
      const known = series.x.map((_, i) => i).filter((i) => this.has(series, i) && series.low[i] != null && series.high[i] != null);
      const end = (i, bound) => `${this.pixelX(series.x[i])},${this.pixelY(series[bound][i])}`;
      if (series.points) {
        for (const i of known) this.path(`M${end(i, "low")}L${end(i, "high")}`, `line c${series.color} bar`);
      } else if (known.length) {
        const around = [...known.map((i) => end(i, "high")), ...known.reverse().map((i) => end(i, "low"))];
        this.path(`M${around.join("L")}Z`, `band c${series.color}`);
      }
    }

    drawCurve(series) {
      const known = series.x.map((_, i) => i).filter((i) => this.has(series, i));
      if (!known.length) return;
      const at = (i) => [this.pixelX(series.x[i]), this.pixelY(series.y[i])];
      const points = known.map((i) => `${i && !this.has(series, i - 1) ? "M" : "L"}${at(i)}`).join("").replace(/^./, "M");
      if (series.joined) this.path(points, lineClass(series)).dataset.series = series.label;
      const stride = series.points ? 1 : Math.ceil(known.length / MARKS_PER_CURVE);
      for (let k = Math.floor(stride / 2); k < known.length && series.role === "mean"; k += stride)
        this.mark(data.marks[series.mark], ...at(known[k]), `mark c${series.color}`);
      for (const i of known.filter((i) => series.names[i])) this.text(at(i)[0] + 5, at(i)[1] - 5, series.names[i], "start");
    }

    // Draw a cross at the last known value, or at the lower end of the axis.
    drawCross(series) {
      const known = series.x.map((_, i) => i).filter((i) => this.has(series, i)), last = known.at(-1);
      const y = last === undefined ? this.bottom : this.pixelY(series.y[last]);
      this.mark(data.cross, this.pixelX(series.x[last ?? 0]), y, `line c${series.color}`);
    }

    has(series, i) {
      return series.y[i] !== null && (!this.log.x || series.x[i] > 0) && (!this.log.y || series.y[i] > 0);
    }

    pixelX(value) {
      return Number(this.x.position(value).toFixed(1));
    }

    pixelY(value) {
      return Number(Math.min(this.bottom + 4, Math.max(MARGINS.top - 4, this.y.position(value))).toFixed(1));
    }

    // The cursor ------------------------------------------------------------------------------------------------------

    pointAt(event) {
      const x = event.clientX - this.svg.getBoundingClientRect().left, distance = (i) => Math.abs(this.x.position(this.steps[i]) - x);
      const nearest = this.steps.reduce((best, _, i) => (distance(i) < distance(best) ? i : best), 0);
      this.slider.value = nearest;
      this.showValues(nearest);
    }

    showValues(index) {
      this.cursorIndex = index;
      const step = index === null ? null : this.steps[index], texts = [];
      for (const [series, value] of this.values) {
        const isListed = step !== null && this.isShown(series) && series.role !== "theory"; // only its slope is meaningful
        const k = isListed ? series.x.indexOf(step) : -1;
        value.textContent = k < 0 || series.y[k] === null ? "" : this.valueAt(series, k);
        if (value.textContent) texts.push(`${series.label} ${label(series.y[k], this.chart.y)}`);
      }
      const heading = step === null ? "read values" : `${this.chart.x.text} ${label(step, this.chart.x)}`;
      this.output.textContent = heading;
      if (step !== null) this.slider.setAttribute("aria-valuetext", `${heading}: ${texts.join("; ")}`);
      const isVisible = step !== null && (!this.log.x || step > 0);
      this.cursor.setAttribute("d", isVisible ? `M${this.pixelX(step)},${MARGINS.top}V${this.bottom}` : "");
    }

    valueAt(series, k) {
      const text = (v) => label(v, this.chart.y), low = series.low[k], high = series.high[k];
      return text(series.y[k]) + (low == null || high == null ? "" : ` [${text(low)}, ${text(high)}]`);
    }

    // Drawing ---------------------------------------------------------------------------------------------------------

    path(d, name) {
      return this.svg.appendChild(element("path", { d, class: name }));
    }

    mark(shape, x, y, name) {
      this.svg.append(element("path", { d: shape, transform: `translate(${x} ${y})`, class: name }));
    }

    text(x, y, content, anchor) {
      return this.svg.appendChild(element("text", { x, y, "text-anchor": anchor }, content));
    }
  }

  const lineClass = (series) => `line c${series.color} d${series.dash} ${series.role}`;

  for (const figure of document.querySelectorAll("figure[data-chart]"))
    new LiveChart(figure, data.charts[Number(figure.dataset.chart)]);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
})();
