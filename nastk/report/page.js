// Curves of which one has its 95 % interval, and the tables of the pages of nastk.report.page.

for (const table of document.querySelectorAll("table.front")) {
  const tools = element("div", undefined, "tools");
  tools.append(copyButton("copy as CSV", "copy this table as CSV", () => csv(table)));
  table.before(tools);
  sortable(table);
}

// ---- curves

const DASHES = ["", "6 4", "2 3"], SHAPES = 4;
function mark(x, y, i, colour) {
  const shape = i % SHAPES, at = { fill: colour };
  if (shape === 0) return make("circle", { cx: x, cy: y, r: 3.2, ...at });
  const corners = [[[-3, -3], [3, -3], [3, 3], [-3, 3]], [[0, -4], [4, 0], [0, 4], [-4, 0]], [[0, -4], [4, 3], [-4, 3]]][shape - 1];
  return make("polygon", { points: corners.map(([a, b]) => `${x + a},${y + b}`).join(" "), ...at });
}

function draw(figure) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const labels = [...new Set(data.panels.flatMap(p => p.curves.map(c => c.label)))];
  const look = labels.map((label, i) => ({ colour: `var(--c${i % 8})`, dash: DASHES[Math.min(Math.floor(i / 8), 2)] }));
  let chosen = Math.max(labels.indexOf(data.chosen), 0), hovered = null;
  const legend = element("div", undefined, "legend"), panels = element("div", undefined, "panels");
  legend.setAttribute("role", "group");
  legend.setAttribute("aria-label", "methods; the chosen one shows its 95 % interval");
  const said = element("p", undefined, "hint");
  said.setAttribute("aria-live", "polite");
  const tip = element("div", undefined, "tip");
  figure.prepend(legend, panels, said, tip);
  const buttons = labels.map((label, i) => {
    const button = element("button"), icon = make("svg", { width: 26, height: 12, "aria-hidden": "true" });
    icon.append(make("line", { x1: 1, x2: 25, y1: 6, y2: 6, stroke: look[i].colour, "stroke-width": 2, "stroke-dasharray": look[i].dash }), mark(13, 6, i, look[i].colour));
    button.type = "button";
    button.append(icon, element("span", label));
    button.addEventListener("click", () => document.dispatchEvent(new CustomEvent("choose", { detail: label })));
    button.addEventListener("pointerenter", () => { hovered = i; redraw(); });
    button.addEventListener("pointerleave", () => { hovered = null; redraw(); });
    legend.append(button);
    return button;
  });
  document.addEventListener("choose", event => {  // in all pictures of the page at once
    if (labels.includes(event.detail)) { chosen = labels.indexOf(event.detail); redraw(); }
  });
  const drawn = data.panels.map(panel => {
    const box = element("div"), svg = make("svg", { role: "img", tabindex: 0 });
    box.append(element("p", panel.title, "name"), svg);
    panels.append(box);
    return { panel, svg, labels: new Set(panel.curves.map(c => c.label)) };
  });
  function redraw() {
    const active = hovered ?? chosen;
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === chosen)));
    for (const one of drawn) one.reach = plotPanel(one, data, labels, look, active);
  }
  for (const one of drawn) {
    let place = null;
    const tell = (k, x, y) => {
      const found = one.reach?.rows(k);
      if (!found) return;
      tip.replaceChildren(element("b", `${data.x} ${show(found.x)}`));
      const table = element("table");
      for (const row of found.rows) {
        const line = element("tr");
        line.append(element("td", row.label), element("td", known(row.half) && row.half > 0 ? `${show(row.mean)} ± ${show(row.half)}` : show(row.mean)));
        table.append(line);
      }
      tip.append(table);
      tip.style.display = "block";
      tip.style.left = Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8)) + "px";
      tip.style.top = (y + 16 + tip.offsetHeight > innerHeight ? Math.max(4, y - tip.offsetHeight - 12) : y + 16) + "px";
      return found;
    };
    one.svg.addEventListener("pointermove", event => {
      const box = one.svg.getBoundingClientRect(), k = one.reach?.nearest(event.clientX - box.left, event.clientY - box.top);
      if (!k) return;
      if (k.label !== hovered) { hovered = k.label; redraw(); }
      tell(k.at, event.clientX, event.clientY);
    });
    const leave = () => { tip.style.display = "none"; hovered = null; redraw(); };
    one.svg.addEventListener("pointerleave", leave);
    one.svg.addEventListener("blur", leave);
    one.svg.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step || !one.reach) return;
      event.preventDefault();
      place = Math.min(Math.max((place ?? (step > 0 ? -1 : one.reach.places.length)) + step, 0), one.reach.places.length - 1);
      const box = one.svg.getBoundingClientRect();
      const found = tell(one.reach.places[place], box.left + one.reach.x(one.reach.places[place]), box.top + 30);
      if (found) said.textContent = `${one.panel.title}, ${data.x} ${show(found.x)}: ${found.rows.map(r => `${r.label} ${show(r.mean)}`).join(", ")}`;
    });
  }
  new ResizeObserver(redraw).observe(panels);
  redraw();
}

// One set of axes; gives back how to find what is under the pointer.
function plotPanel({ panel, svg }, data, labels, look, active) {
  const w = Math.max(svg.parentNode.clientWidth, 220), lonely = panel.lonely !== null && panel.lonely !== undefined;
  const curves = panel.curves.map(c => ({ ...c, i: labels.indexOf(c.label) })).filter(c => c.x.length);
  const h = lonely ? 64 + 24 * curves.length : Math.min(300, Math.max(220, w * 0.6));
  svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
  svg.setAttribute("aria-label", `${panel.title}: ${data.y} by ${data.x}. ${curves.map(c => `${c.label} ends at ${show(c.mean.at(-1))}`).join(", ")}. Arrow keys read the values.`);
  svg.replaceChildren();
  if (!curves.length) { svg.append(make("text", { x: 10, y: 20 }, "no value is known")); return null; }
  const longest = Math.max(...curves.map(c => c.label.length));
  const pad = { l: lonely ? Math.min(w * 0.45, 14 + 6.6 * longest) : 54, r: 12, t: 8, b: 38 };
  const values = [...curves.flatMap(c => c.mean), ...panel.published.map(p => p[2])];
  const logV = data.log_y && values.some(v => v > 0);
  const kept = values.filter(v => known(v) && (!logV || v > 0));
  let low = Math.min(...kept), high = Math.max(...kept);
  if (logV) low = Math.max(low, high / 1e5);
  if (low === high) { low -= Math.abs(low) * 0.1 || 0.5; high += Math.abs(high) * 0.1 || 0.5; }
  const f = logV ? Math.log10 : v => v, back = logV ? v => 10 ** v : v => v, span = f(high) - f(low);
  // Room for the intervals of all methods, so that nothing moves when another one is chosen; very wide ones are cut.
  const room = lonely ? Infinity : 0.3 * span;
  const ends = curves.flatMap(c => c.mean.flatMap((m, k) => [m - (c.half[k] || 0), m + (c.half[k] || 0)])).filter(v => !logV || v > 0).map(f);
  const from = Math.min(f(low), Math.max(Math.min(...ends), f(low) - room)) - 0.05 * span;
  let to = Math.max(f(high), Math.min(Math.max(...ends), f(high) + room)) + 0.05 * span;
  if (known(data.top)) to = Math.min(to, Math.max(f(data.top), f(high)) + 0.02 * span);
  if (lonely) return plotLonely({ panel, svg, data, curves, look, w, h, pad, f, from, to, back, logV });
  const xs = [...new Set(curves.flatMap(c => c.x))].sort((a, b) => a - b);
  const logX = (data.log || xs.length <= 10) && xs[0] > 0 && xs.at(-1) > xs[0];
  const g = logX ? Math.log10 : v => v, [x0, x1] = [g(xs[0]), g(xs.at(-1))];
  const X = v => pad.l + 6 + (g(v) - x0) / (x1 - x0 || 1) * (w - pad.l - pad.r - 12);
  const Y = v => pad.t + (to - (logV && v <= 0 ? from : f(v))) / (to - from) * (h - pad.t - pad.b);
  const fewX = !data.log && xs.length <= 10 ? thinned(xs, X, 34) : ticks(xs[0], xs.at(-1), Math.max(3, w / 80), logX);
  for (const v of fewX) {
    svg.append(make("line", { x1: X(v), x2: X(v), y1: pad.t, y2: h - pad.b, stroke: "var(--line)" }));
    svg.append(make("text", { x: X(v), y: h - pad.b + 15, "text-anchor": "middle" }, show(v)));
  }
  for (const v of ticks(back(from), back(to), 5, logV)) {
    if (f(v) < from || f(v) > to) continue;
    svg.append(make("line", { x1: pad.l, x2: w - pad.r, y1: Y(v), y2: Y(v), stroke: "var(--line)" }));
    svg.append(make("text", { x: pad.l - 6, y: Y(v) + 4, "text-anchor": "end" }, show(v)));
  }
  svg.append(make("text", { x: (pad.l + w) / 2, y: h - 4, "text-anchor": "middle", class: "axis" }, data.x));
  svg.append(make("text", { x: 12, y: h / 2 - 12, "text-anchor": "middle", class: "axis", transform: `rotate(-90 12 ${h / 2 - 12})` }, data.y));
  const clamp = y => Math.min(Math.max(y, pad.t), h - pad.b);
  for (const c of [...curves.filter(c => c.i !== active), ...curves.filter(c => c.i === active)]) {
    const places = c.x.map((x, k) => [X(x), clamp(Y(c.mean[k]))]), { colour, dash } = look[c.i];
    if (c.i === active && c.half.some(v => v > 0)) {
      const up = c.x.map((x, k) => `${X(x)},${clamp(Y(c.mean[k] + (c.half[k] || 0)))}`);
      const down = c.x.map((x, k) => `${X(x)},${clamp(Y(c.mean[k] - (c.half[k] || 0)))}`).reverse();
      svg.append(make("polygon", { points: [...up, ...down].join(" "), fill: colour, class: "band" }));
    }
    const path = c.steps ? places.flatMap((p, k) => k ? [[p[0], places[k - 1][1]], p] : [p]) : places;
    svg.append(make("polyline", { points: path.map(p => p.join(",")).join(" "), stroke: colour, "stroke-dasharray": dash, class: c.i === active ? "curve" : "curve faint" }));
    const every = Math.max(1, Math.ceil(places.length / 12));
    places.forEach(([x, y], k) => { if (k % every === 0 || k === places.length - 1) { const m = mark(x, y, c.i, colour); if (c.i !== active) m.setAttribute("class", "faint"); svg.append(m); } });
  }
  for (const [label, x, y] of panel.published) {
    const i = labels.indexOf(label), px = X(x), py = clamp(Y(y)), right = px > w / 2;
    svg.append(make("polygon", { points: `${px},${py - 6} ${px + 6},${py} ${px},${py + 6} ${px - 6},${py}`, fill: "none", stroke: i < 0 ? "var(--ink)" : look[i].colour, "stroke-width": 1.4 }));
    if (panel.published.length <= 4) svg.append(make("text", { x: px + (right ? -9 : 9), y: py + 4, "text-anchor": right ? "end" : "start" }, i < 0 ? label : "published"));
  }
  return {
    places: xs, x: X,
    nearest: (px, py) => {
      let best = null, least = Infinity;
      for (const c of curves) c.x.forEach((x, k) => { const d = Math.hypot(X(x) - px, (Y(c.mean[k]) - py) / 2); if (d < least) { least = d; best = { label: c.i, at: x }; } });
      return best;
    },
    rows: x => ({ x, rows: curves.flatMap(c => { const k = c.x.indexOf(x); return k < 0 ? [] : [{ label: c.label, mean: c.mean[k], half: c.half[k] }]; }) }),
  };
}
// Methods below each other, where each has a single value at the same place.
function plotLonely({ panel, svg, data, curves, look, w, h, pad, f, from, to, back, logV }) {
  const X = v => pad.l + (f(Math.max(v, logV ? back(from) : v)) - from) / (to - from) * (w - pad.l - pad.r);
  for (const v of thinned(ticks(back(from), back(to), Math.max(3, w / 110), logV), X, 40)) {
    if (f(v) < from || f(v) > to) continue;
    svg.append(make("line", { x1: X(v), x2: X(v), y1: pad.t, y2: h - pad.b, stroke: "var(--line)" }));
    svg.append(make("text", { x: X(v), y: h - pad.b + 15, "text-anchor": "middle" }, show(v)));
  }
  svg.append(make("text", { x: (pad.l + w) / 2, y: h - 4, "text-anchor": "middle", class: "axis" }, data.y));
  curves.forEach((c, k) => {
    const y = pad.t + 14 + 24 * k, { colour } = look[c.i], half = c.half[0] || 0;
    svg.append(make("text", { x: pad.l - 8, y: y + 4, "text-anchor": "end" }, c.label));
    if (half > 0) svg.append(make("line", { x1: Math.max(X(c.mean[0] - half), pad.l), x2: Math.min(X(c.mean[0] + half), w - pad.r), y1: y, y2: y, stroke: colour, "stroke-width": 2 }));
    svg.append(mark(X(c.mean[0]), y, c.i, colour));
    const theirs = panel.published.find(p => p[0] === c.label);
    if (theirs) svg.append(make("polygon", { points: `${X(theirs[2])},${y - 6} ${X(theirs[2]) + 6},${y} ${X(theirs[2])},${y + 6} ${X(theirs[2]) - 6},${y}`, fill: "none", stroke: "var(--ink)" }));
  });
  return {
    places: [panel.lonely], x: () => w / 2,
    nearest: (px, py) => { const c = curves[Math.min(Math.max(Math.round((py - pad.t - 14) / 24), 0), curves.length - 1)]; return { label: c.i, at: panel.lonely }; },
    rows: x => ({ x, rows: curves.map(c => ({ label: c.label, mean: c.mean[0], half: c.half[0] })) }),
  };
}
function thinned(values, place, room) {
  const found = [];
  for (const v of values) if (!found.length || Math.abs(place(v) - place(found.at(-1))) >= room) found.push(v);
  return found;
}
document.querySelectorAll("figure.curves").forEach(draw);
