const chart = JSON.parse(document.getElementById("data").textContent);
const axes = Object.fromEntries(chart.axes.map(a => [a.name, a]));
const state = { x: chart.xy[0], y: chart.xy[1], log: false, all: false, zoom: null };
const plot = document.getElementById("plot"), canvas = plot.querySelector("canvas"), svg = plot.querySelector("svg");
const tip = document.getElementById("tip");
const pad = { l: 62, r: 16, t: 12, b: 48 };
let scale, near = [];

const words = s => s.replaceAll("_", " ");
const label = a => words(a.name) + (a.unit ? ` (${a.unit})` : "");
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function quantile(values, q) {
  const sorted = values.filter(known).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * (sorted.length - 1)))] : null;
}
const reach = (points, name) => points.flatMap(p => [p.shown[name]?.value, p.predicted[name]?.value]).filter(known);
const interval = v => v && known(v.low) && known(v.high) ? [v.low, v.high] : null;
const intervalOf = v => v.kind === "estimate" ? "prediction" : "measurement";
// Intervals of the front in one objective, as nastk.report.plots.spans.
const spans = name => chart.front.filter(p => p.shown[name]).flatMap(p => [p.shown[name], p.predicted[name]].filter(interval).map(v =>
  ({ p, what: intervalOf(v), low: v.low, high: v.high })));
// A value of 0 or less has no place on a logarithmic axis: none of the front may vanish for that.
const positive = name => reach(chart.front, name).every(v => v > 0);
const logarithmic = () => state.log && positive(state.x);
// Outliers are left out as in nastk.report.plots.view; those of the front get an arrow on the edge.
function range(name, isY) {
  if (state.zoom) return isY ? state.zoom.y : state.zoom.x;
  const cloud = (chart.cloud.values[name] ?? []).filter(known), log = logarithmic() && !isY;
  const front = reach(chart.front, name);
  let kept = [...front, ...reach(chart.evaluated, name), ...(chart.true_front[name] ?? [])];
  kept = kept.filter(v => known(v) && (!log || v > 0));
  if (cloud.length && state.all) {
    kept.push(quantile(cloud, 0), quantile(cloud, 1));
  } else if (cloud.length && axes[name].direction === "max") {
    const best = Math.max(...kept, quantile(cloud, 1)), tenth = quantile(cloud, 0.1);
    const floor = Math.min(tenth - 0.25 * (best - tenth), ...(front.length ? [quantile(front, 0.5)] : []));
    kept = [...kept.filter(v => v >= floor), Math.max(floor, quantile(cloud, 0)), best];
  } else if (cloud.length) {
    kept.push(quantile(cloud, 0), quantile(cloud, 0.995));
  }
  kept = kept.filter(v => known(v) && (!log || v > 0));
  let low = Math.min(...kept), high = Math.max(...kept);
  if (!kept.length) return [0, 1];
  [low, high] = withIntervals(name, low, high, log);
  if (low === high) { low -= 0.5; high += 0.5; }
  if (log) { const m = Math.pow(high / low, 0.04); return [low / m, high * m]; }
  const margin = 0.04 * (high - low);
  return [low - margin, high + margin];
}
// As nastk.report.plots: room for intervals that need less than half of the range more on a side.
function withIntervals(name, low, high, log) {
  const f = log ? Math.log : v => v, room = 0.5 * (f(high) - f(low)) || Infinity;
  const within = spans(name).filter(s => s.p.shown[name].value >= low && s.p.shown[name].value <= high);
  const lows = within.map(s => s.low).filter(v => (!log || v > 0) && f(v) >= f(low) - room);
  const highs = within.map(s => s.high).filter(v => f(v) <= f(high) + room);
  return [Math.min(low, ...lows), Math.max(high, ...highs)];
}
function draw() {
  const box = plot.getBoundingClientRect(), w = box.width, h = box.height;
  const rx = range(state.x, false), ry = range(state.y, true), log = logarithmic();
  const f = log ? Math.log : v => v, g = log ? Math.exp : v => v;
  const inner = { w: w - pad.l - pad.r, h: h - pad.t - pad.b };
  scale = {
    x: v => pad.l + (f(v) - f(rx[0])) / (f(rx[1]) - f(rx[0])) * inner.w,
    y: v => pad.t + (ry[1] - v) / (ry[1] - ry[0]) * inner.h,
    ix: p => g(f(rx[0]) + (p - pad.l) / inner.w * (f(rx[1]) - f(rx[0]))),
    iy: p => ry[1] - (p - pad.t) / inner.h * (ry[1] - ry[0]),
  };
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
  const clip = make("clipPath", { id: "inside" });
  clip.append(make("rect", { x: pad.l, y: pad.t, width: inner.w, height: inner.h }));
  svg.append(clip);
  grid(rx, ry, w, h, inner);
  near = [];
  drawCloud(w, h, inner);
  const layer = make("g", { "clip-path": "url(#inside)" });
  svg.append(layer);
  drawTrueFront(layer);
  drawLimits(rx, ry, w, h);
  for (const p of chart.evaluated) drawPoint(layer, p, "evaluated");
  drawFront(layer, rx, ry);
  drawOutside(rx, ry, inner);
  sayLeftOut(rx, ry);
}
function grid(rx, ry, w, h, inner) {
  for (const v of ticks(...rx, Math.max(3, inner.w / 90), logarithmic())) {
    const x = scale.x(v);
    svg.append(make("line", { x1: x, x2: x, y1: pad.t, y2: pad.t + inner.h, stroke: "var(--line)" }));
    svg.append(make("text", { x, y: h - pad.b + 18, "text-anchor": "middle" }, show(v)));
  }
  for (const v of ticks(...ry, Math.max(3, inner.h / 60), false)) {
    const y = scale.y(v);
    svg.append(make("line", { x1: pad.l, x2: pad.l + inner.w, y1: y, y2: y, stroke: "var(--line)" }));
    svg.append(make("text", { x: pad.l - 8, y: y + 4, "text-anchor": "end" }, show(v)));
  }
  const side = a => a.direction === "min" ? "lower is better" : "higher is better";
  const bottom = `${label(axes[state.x])} · ${side(axes[state.x])}`, left = `${label(axes[state.y])} · ${side(axes[state.y])}`;
  svg.append(make("text", { x: pad.l + inner.w / 2, y: h - 8, "text-anchor": "middle", class: "axis" }, bottom));
  const middle = pad.t + inner.h / 2;
  svg.append(make("text", { x: 15, y: middle, "text-anchor": "middle", class: "axis", transform: `rotate(-90 15 ${middle})` }, left));
}
function drawCloud(w, h, inner) {
  const ratio = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
  canvas.width = w * ratio; canvas.height = h * ratio;
  pen.scale(ratio, ratio);
  pen.beginPath(); pen.rect(pad.l, pad.t, inner.w, inner.h); pen.clip();
  pen.fillStyle = css("--cloud"); pen.globalAlpha = 0.55;
  const xs = chart.cloud.values[state.x], ys = chart.cloud.values[state.y];
  if (!xs || !ys) return;
  for (let i = 0; i < xs.length; i++) {
    if (!known(xs[i]) || !known(ys[i])) continue;
    const x = scale.x(xs[i]), y = scale.y(ys[i]);
    pen.beginPath(); pen.arc(x, y, 1.9, 0, 7); pen.fill();
    near.push({ x, y, cloud: i, reach: 7 });
  }
}
function drawTrueFront(layer) {
  const xs = chart.true_front[state.x], ys = chart.true_front[state.y];
  if (!xs || !ys) return;
  const points = xs.map((v, i) => [v, ys[i]]).filter(p => p.every(known));
  layer.append(make("polyline", { points: placed(staircase(points)), class: "true-line", fill: "none", stroke: "var(--true)", "stroke-dasharray": "5 4", opacity: 0.8 }));
}
// What a limit forbids is shaded, and its line says it.
function drawLimits(rx, ry, w, h) {
  for (const limit of chart.limits ?? []) {
    const across = limit.objective === state.x, [low, high] = across ? rx : ry;
    if (!across && limit.objective !== state.y) continue;
    if (limit.bound < low || limit.bound > high) continue;
    const at = across ? scale.x(limit.bound) : scale.y(limit.bound), most = limit.relation === "<=";
    const box = across
      ? { x: most ? at : pad.l, y: pad.t, width: most ? w - pad.r - at : at - pad.l, height: h - pad.t - pad.b }
      : { x: pad.l, y: most ? pad.t : at, width: w - pad.l - pad.r, height: most ? at - pad.t : h - pad.b - at };
    svg.append(make("rect", { ...box, fill: "var(--true)", opacity: 0.07, class: "forbidden" }));
    const line = across ? { x1: at, x2: at, y1: pad.t, y2: h - pad.b } : { x1: pad.l, x2: w - pad.r, y1: at, y2: at };
    svg.append(make("line", { ...line, class: "limit", stroke: "var(--true)", "stroke-width": 1.3, "stroke-dasharray": "8 3 2 3" }));
    const text = `limit: ${words(limit.objective)} ${most ? "≤" : "≥"} ${show(limit.bound)}`, left = across && at > w / 2;
    svg.append(make("text", across
      ? { x: at + (left ? -6 : 6), y: h - pad.b - 8, "text-anchor": left ? "end" : "start", class: "outside limit" }
      : { x: w - pad.r - 6, y: at + (most ? -6 : 14), "text-anchor": "end", class: "outside limit" }, text));
  }
}
const at = p => [p.shown[state.x]?.value, p.shown[state.y]?.value];
const placed = points => points.map(([x, y]) => `${scale.x(x)},${scale.y(y)}`).join(" ");
// The border of what a front attains, as nastk.report.chart.staircase: a straight line between two members would promise
// architectures that nobody has found.
function staircase(points) {
  const [sx, sy] = [state.x, state.y].map(name => axes[name].direction === "min" ? 1 : -1);
  const beats = (q, p) => sx * q[0] <= sx * p[0] && sy * q[1] <= sy * p[1] && (q[0] !== p[0] || q[1] !== p[1]);
  const best = points.filter(p => !points.some(q => beats(q, p))).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return best.flatMap((p, i) => i === 0 ? [p] : [sx > 0 ? [p[0], best[i - 1][1]] : [best[i - 1][0], p[1]], p]);
}
function drawPoint(layer, p, kind) {
  const [vx, vy] = at(p);
  if (!known(vx) || !known(vy)) return;
  const x = scale.x(vx), y = scale.y(vy), kinds = [state.x, state.y].map(name => p.shown[name].kind);
  const dot = symbol(kind, kinds);
  dot.setAttribute("transform", `translate(${x} ${y})`);
  dot.dataset.arch = p.arch;
  layer.append(dot);
  near.push({ x, y, point: p, kind, dot, reach: 14 });
}
// Filled where both values are known; hollow where x (circle), y (diamond) or both (square) are estimates.
function symbol(what, kinds) {
  const [ex, ey] = kinds.map(k => k === "estimate"), r = what === "front" ? 5.5 : 4, hollow = ex || ey;
  const colour = what === "front" ? "var(--front)" : "var(--evaluated)";
  const look = {
    class: `point ${what}`, "data-x-kind": kinds[0], "data-y-kind": kinds[1], "data-filled": hollow ? "no" : "yes",
    fill: hollow ? "var(--card)" : colour, stroke: hollow ? colour : "var(--card)", "stroke-width": hollow ? 1.6 : 1.2,
  };
  if (!ey) return make("circle", { r, ...look });
  const s = ex ? 0.9 * r : r;
  const corners = ex ? [[-s, -s], [s, -s], [s, s], [-s, s]] : [[0, -1.15 * s], [1.15 * s, 0], [0, 1.15 * s], [-1.15 * s, 0]];
  return make("polygon", { points: corners.map(c => c.join(",")).join(" "), ...look });
}
function kindsOf(p) { return at(p).every(known) ? [state.x, state.y].map(name => p.shown[name].kind) : null; }
function named(kinds) {
  const said = kinds.map(k => chart.kinds[k] ?? k);
  return said[0] === said[1] ? said[0] : `${words(state.x)} ${said[0]}, ${words(state.y)} ${said[1]}`;
}
// An interval of a prediction is a broad bar, the spread of a measurement a thin whisker; an open arrow where the edge cuts it.
function drawInterval(layer, s, upwards, rx, ry) {
  const name = upwards ? state.x : state.y, place = s.p.shown[name]?.value;
  if (!known(place)) return;
  const [low, high] = upwards ? ry : rx, [least, most] = upwards ? rx : ry, scaled = upwards ? scale.y : scale.x;
  const across = upwards ? scale.x(place) : scale.y(place), a = scaled(Math.max(s.low, low)), b = scaled(Math.min(s.high, high));
  if (s.low > high || s.high < low) return;
  const line = (from, to, sideways, look) => layer.append(make("line", upwards
    ? { x1: across - sideways, x2: across + sideways, y1: from, y2: to, ...look }
    : { x1: from, x2: to, y1: across - sideways, y2: across + sideways, ...look }));
  const look = s.what === "prediction" ? { "stroke-opacity": 0.26, "stroke-width": upwards ? 2 : 6 } : { "stroke-opacity": 0.8, "stroke-width": 1 };
  line(a, b, 0, { class: s.what, stroke: "var(--front)", ...look });
  for (const [end, at, cut, sign] of [[s.low, a, s.low < low, -1], [s.high, b, s.high > high, 1]]) {
    if (cut && place >= least && place <= most) {
      const way = upwards ? (sign > 0 ? 180 : 0) : (sign > 0 ? -90 : 90), off = upwards ? 5 * sign : -5 * sign;
      const spot = upwards ? `${across} ${at + off}` : `${at + off} ${across}`;
      layer.append(make("polygon", { points: "-4,-3 4,-3 0,4", class: "cut", fill: "var(--card)", stroke: "var(--front)", transform: `translate(${spot}) rotate(${way})` }));
    } else if (!cut && s.what === "measurement") line(at, at, 4, { stroke: "var(--front)", "stroke-opacity": 0.8 });
  }
}
function drawFront(layer, rx, ry) {
  const front = chart.front.filter(p => at(p).every(known)).sort((a, b) => at(a)[0] - at(b)[0]);
  for (const s of spans(state.x)) drawInterval(layer, s, false, rx, ry);
  for (const s of spans(state.y)) drawInterval(layer, s, true, rx, ry);
  for (const p of front) {
    const [vx, vy] = at(p);
    if (known(p.predicted[state.x]?.value)) {
      const x = scale.x(p.predicted[state.x].value), y = scale.y(vy);
      layer.append(make("line", { x1: x, x2: x, y1: y - 6, y2: y + 6, stroke: "var(--front)", "stroke-width": 1.5 }));
    }
    if (known(p.predicted[state.y]?.value)) {
      const x = scale.x(vx), y = scale.y(p.predicted[state.y].value);
      layer.append(make("line", { x1: x - 6, x2: x + 6, y1: y, y2: y, stroke: "var(--front)", "stroke-width": 1.5 }));
    }
  }
  const points = chart.feasible ? placed(staircase(front.map(at))) : "";
  layer.append(make("polyline", { points, class: "front-line", fill: "none", stroke: "var(--front)", opacity: 0.45, "stroke-width": 1.4 }));
  for (const p of front) drawPoint(layer, p, "front");
}
const inside = ([x, y], rx, ry) => x >= rx[0] && x <= rx[1] && y >= ry[0] && y <= ry[1];
// An arrow on the edge, with the value, for each of the front that lies outside of what is shown.
function drawOutside(rx, ry, inner) {
  for (const p of chart.front) {
    const [vx, vy] = at(p);
    if (!known(vx) || !known(vy) || inside([vx, vy], rx, ry)) continue;
    const way = vx < rx[0] ? 90 : vx > rx[1] ? -90 : vy < ry[0] ? 0 : 180, off = 9;
    const x = Math.min(Math.max(scale.x(vx), pad.l + off), pad.l + inner.w - off);
    const y = Math.min(Math.max(scale.y(vy), pad.t + off), pad.t + inner.h - off);
    const dot = make("polygon", { points: "-6,-4 6,-4 0,7", fill: "var(--front)", class: "outside" });
    dot.dataset.arch = p.arch;
    dot.setAttribute("transform", `translate(${x} ${y}) rotate(${way})`);
    const [name, value] = way === 90 || way === -90 ? [state.x, vx] : [state.y, vy];
    const right = x > pad.l + inner.w / 2;
    const text = make("text", { x: x + (right ? -11 : 11), y: y + 4, "text-anchor": right ? "end" : "start", class: "outside" }, `${chart.front_name}: ${words(name)} ${show(value)}`);
    svg.append(dot, text);
    near.push({ x, y, point: p, kind: "outside", reach: 14 });
  }
}
function sayLeftOut(rx, ry) {
  const said = [], nowhere = chart.front.filter(p => !at(p).every(known)).length;
  if (nowhere) said.push(`${nowhere} ${chart.feasible ? "of the front" : chart.front_name} not drawn: a value is unknown.`);
  const beyond = chart.evaluated.filter(p => at(p).every(known) && !inside(at(p), rx, ry)).length;
  if (beyond) said.push(`${beyond} evaluated architecture${beyond > 1 ? "s" : ""} outside of the picture` + (state.zoom ? "." : "; show outliers to see all."));
  if (state.log && !positive(state.x)) said.push(`${words(state.x)} is not drawn on a logarithmic axis: one of the front has a value of 0 or less.`);
  if (svg.querySelector(".cut")) said.push("Open arrows at the edge: an interval goes on outside.");
  document.getElementById("left-out").textContent = said.join(" ");
}

const bracketed = v => interval(v) && v.high > v.low;
function said(v) {
  const span = bracketed(v) ? ` [${show(v.low)} – ${show(v.high)}]` : "";
  return [show(v.value) + span, chart.kinds[v.kind] ?? v.kind];
}
// What the brackets of some values are, in one sentence.
function brackets(values) {
  const kinds = [...new Set(values.filter(v => v && bracketed(v)).map(intervalOf))].sort().reverse();
  return kinds.map(what => `[ – ] ${what === "prediction" ? "of an estimate" : "of other values"}: ${chart.intervals[what]}`).join("; ");
}
const cloudKind = name => chart.cloud.kinds?.[name] ?? "estimate";
function describe(hit) {
  tip.replaceChildren(element("code", hit.point ? hit.point.arch : chart.cloud.archs[hit.cloud]));
  const table = element("table");
  const add = (name, value, kind) => {
    const row = element("tr");
    row.append(element("td", name), element("td", value), element("td", kind));
    table.append(row);
  };
  for (const a of chart.axes) {
    if (hit.point) {
      if (hit.point.shown[a.name]) add(label(a), ...said(hit.point.shown[a.name]));
      if (hit.point.predicted[a.name]) add("", ...said(hit.point.predicted[a.name]));
    } else if (a.name in chart.cloud.values) {
      add(label(a), show(chart.cloud.values[a.name][hit.cloud]), chart.kinds[cloudKind(a.name)]);
    }
  }
  tip.append(table);
  const what = hit.point ? brackets(chart.axes.flatMap(a => [hit.point.shown[a.name], hit.point.predicted[a.name]])) : "";
  if (what) tip.append(element("p", what, "hint"));
}
function hitAt(event) {
  const box = plot.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  let best = null, bestDistance = Infinity;
  for (const n of near) {
    const d = Math.hypot(n.x - px, n.y - py) - (n.point ? 6 : 0);
    if (Math.hypot(n.x - px, n.y - py) <= n.reach && d < bestDistance) { best = n; bestDistance = d; }
  }
  return best;
}
let lit = null, drag = null;
function light(hit) {
  for (const row of document.querySelectorAll("tr.on")) row.classList.remove("on");
  const sized = (h, factor) => h.dot.setAttribute("transform", `translate(${h.x} ${h.y}) scale(${factor})`);
  if (lit?.dot) sized(lit, 1);
  lit = hit;
  if (hit?.dot) sized(hit, 1.5);
  if (hit?.point?.row) hit.point.row.classList.add("on");
}
plot.addEventListener("pointermove", event => {
  if (drag) { dragged(event); return; }
  const hit = hitAt(event);
  if (hit !== lit) { light(hit); if (hit) describe(hit); }
  tip.style.display = hit ? "block" : "none";
  if (!hit) return;
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = Math.max(8, Math.min(event.clientX + 14, innerWidth - w - 8)) + "px";
  tip.style.top = (event.clientY + 16 + h > innerHeight ? event.clientY - h - 12 : event.clientY + 16) + "px";
});
plot.addEventListener("pointerleave", () => { tip.style.display = "none"; light(null); });
plot.addEventListener("pointerdown", event => {
  const box = plot.getBoundingClientRect();
  drag = { x: event.clientX - box.left, y: event.clientY - box.top };
  drag.rect = make("rect", { fill: "var(--evaluated)", "fill-opacity": 0.12, stroke: "var(--evaluated)" });
  svg.append(drag.rect);
});
function corners(event) {
  const box = plot.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  return { x0: Math.min(x, drag.x), x1: Math.max(x, drag.x), y0: Math.min(y, drag.y), y1: Math.max(y, drag.y) };
}
function dragged(event) {
  const c = corners(event);
  for (const [k, v] of Object.entries({ x: c.x0, y: c.y0, width: c.x1 - c.x0, height: c.y1 - c.y0 })) drag.rect.setAttribute(k, v);
}
addEventListener("pointerup", event => {
  if (!drag) return;
  const c = corners(event);
  drag.rect.remove(); drag = null;
  if (c.x1 - c.x0 > 12 && c.y1 - c.y0 > 12) {
    state.zoom = { x: [scale.ix(c.x0), scale.ix(c.x1)], y: [scale.iy(c.y1), scale.iy(c.y0)] };
    draw();
  } else if (lit) {
    toClipboard(lit.point ? lit.point.arch : chart.cloud.archs[lit.cloud]);
  }
});
plot.addEventListener("dblclick", () => { state.zoom = null; draw(); });

// With the keyboard: arrows go through the front, and what is there is read.
let reading = -1;
svg.addEventListener("keydown", event => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const front = near.filter(n => n.kind === "front").sort((a, b) => a.x - b.x);
  if (event.key === "Escape") { tip.style.display = "none"; light(null); }
  if (!step || !front.length) return;
  event.preventDefault();
  reading = Math.min(Math.max(reading + step, 0), front.length - 1);
  const hit = front[reading], box = plot.getBoundingClientRect();
  light(hit); describe(hit);
  tip.style.display = "block";
  tip.style.left = Math.max(8, Math.min(box.left + hit.x + 14, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = box.top + hit.y + 16 + "px";
  const values = chart.axes.map(a => hit.point.shown[a.name] ? `${label(a)} ${said(hit.point.shown[a.name]).join(", ")}` : "");
  document.getElementById("read").textContent = `${hit.point.arch}: ${values.filter(Boolean).join("; ")}`;
});
svg.addEventListener("blur", () => { tip.style.display = "none"; light(null); });

function keys() {
  const bar = document.getElementById("bar");
  const key = (shape, text) => {
    const item = element("span", undefined, "key"), icon = make("svg", { width: 18, height: 14 });
    icon.append(...shape); item.append(icon, element("span", text)); bar.append(item);
  };
  const circle = (fill, stroke, r) => make("circle", { cx: 9, cy: 7, r, fill, stroke, "stroke-width": 1.5 });
  const others = chart.cloud.archs.length;
  if (others && chart.cloud.values[state.x] && chart.cloud.values[state.y])
    key([circle("var(--cloud)", "none", 2.5)], `${others.toLocaleString("en-US")} others: ${named([cloudKind(state.x), cloudKind(state.y)])}`);
  for (const [what, text, points] of [["front", chart.front_name, chart.front], ["evaluated", chart.feasible ? "evaluated, not in the front" : "evaluated", chart.evaluated]]) {
    const groups = new Map(points.map(kindsOf).filter(Boolean).map(kinds => [kinds.map(k => k === "estimate").join(), kinds]));
    for (const kinds of groups.values()) {
      const icon = symbol(what, kinds);
      icon.setAttribute("transform", "translate(9 7)");
      const nothing = what === "evaluated" && kinds.every(k => k === "estimate");
      key([icon], `${nothing ? text.replace("evaluated", "proposed") : text}: ${named(kinds)}`);
    }
  }
  const stroke = (x1, x2, y1, y2, look) => make("line", { x1, x2, y1, y2, stroke: "var(--front)", ...look });
  const drawn = [state.x, state.y].flatMap(spans).map(s => s.what);
  if (drawn.includes("prediction"))
    key([stroke(0, 18, 7, 7, { "stroke-opacity": 0.3, "stroke-width": 6 })], chart.intervals.prediction);
  if (drawn.includes("measurement"))
    key([stroke(1, 17, 7, 7), stroke(1, 1, 3, 11), stroke(17, 17, 3, 11)], chart.intervals.measurement);
  if (chart.front.some(p => [state.x, state.y].some(name => known(p.predicted[name]?.value))))
    key([stroke(9, 9, 2, 12, { "stroke-width": 1.5 })], "predicted");
  if (chart.true_front[state.x]) key([make("line", { x1: 0, x2: 18, y1: 7, y2: 7, stroke: "var(--true)", "stroke-dasharray": "5 3" })], "true front of the table");
  const tick = (text, name) => {
    const holder = element("label"), box = element("input");
    box.type = "checkbox";
    box.checked = state[name];
    box.addEventListener("change", () => { state[name] = box.checked; state.zoom = null; draw(); });
    holder.append(box, element("span", text)); bar.append(holder);
  };
  tick("logarithmic", "log");
  if (others) tick("show outliers", "all");
  if (chart.axes.length > 2) for (const side of ["x", "y"]) {
    const holder = element("label", side === "x" ? "across" : "upwards"), select = element("select");
    for (const a of chart.axes) select.append(new Option(words(a.name), a.name, a.name === state[side], a.name === state[side]));
    select.addEventListener("change", () => { state[side] = select.value; state.zoom = null; bar.replaceChildren(); keys(); draw(); });
    holder.append(select); bar.append(holder);
  }
}

// A text that a line may break after its separators, not within words.
function breakable(text) {
  const code = element("code");
  for (const part of text.split(/[|+,]/.test(text) ? /(?<=[|+,])/ : /(?<=[_:;-])/)) code.append(part, document.createElement("wbr"));
  return code;
}
// Choices in which members of the front differ, by name; those that all have in common are named once, above the table.
function choicesOf(front) {
  const names = [...new Set(front.flatMap(p => Object.keys(p.choices ?? {})))];
  const differs = name => new Set(front.map(p => p.choices?.[name] ?? "")).size > 1;
  return [names.filter(differs), names.filter(name => !differs(name))];
}
function pairs(cell, p, names) {
  names.filter(name => p.choices?.[name]).forEach((name, i) => cell.append(i ? ", " : "", `${words(name)} `, element("b", p.choices[name])));
}
function lead() {
  const many = n => n.toLocaleString("en-US"), count = chart.front.length, others = `${many(chart.evaluated.length)} others were evaluated.`;
  const best = count === 1 ? "One architecture, better in every objective than any other that was found" : `A front of ${many(count)} architectures, each better than any other that was found in at least one objective`;
  const text = chart.feasible ? `${best}; ${others}` : "Nothing that was found keeps all limits; shown is what comes nearest. Why is said below the table.";
  document.getElementById("lead").textContent = text;
}
const TEN = 10;
function table() {
  const holder = document.getElementById("table"), head = element("tr", undefined, "head");
  const top = element("thead"), body = element("tbody");
  const [differing, common] = choicesOf(chart.front);
  head.append(element("th", chart.feasible ? "architecture of the front" : `architecture, ${chart.front_name}`), ...chart.axes.map(a => element("th", label(a), "n")));
  top.append(head);
  holder.append(top, body);
  for (const p of chart.front) {
    const row = element("tr"), name = element("td");
    name.append(breakable(p.arch), copyButton("copy", `copy ${p.arch}`, () => p.arch));
    if (differing.length) {
      const choices = element("div", undefined, "choices");
      pairs(choices, p, differing);
      name.append(choices);
    }
    if (p.graph) name.append(network(p));
    row.append(name);
    for (const a of chart.axes) {
      const cell = element("td", undefined, "n"), v = p.shown[a.name];
      cell.dataset.name = label(a);
      if (v) {
        const [value, kind] = said(v);
        const number = element("span", value, v.kind === "estimate" ? "estimated" : undefined);
        cell.append(number, document.createElement("br"), element("small", kind));
        const before = p.predicted[a.name];
        if (before) cell.append(document.createElement("br"), element("small", `predicted ${said(before)[0]}`));
      } else cell.append("–");
      row.append(cell);
    }
    for (const over of ["pointerenter", "focusin"]) row.addEventListener(over, () => light(near.find(n => n.point === p) ?? null));
    for (const off of ["pointerleave", "focusout"]) row.addEventListener(off, () => light(null));
    p.row = row;
    body.append(row);
  }
  sortable(holder);
  shorten(holder, body);
  const values = chart.front.flatMap(p => chart.axes.flatMap(a => [p.shown[a.name], p.predicted[a.name]]));
  const notes = [brackets(values)];
  if (common.length && chart.front.length > 1) notes.push(`All have ${common.map(name => `${words(name)} ${chart.front[0].choices[name]}`).join(", ")}.`);
  document.getElementById("brackets").textContent = notes.filter(Boolean).join(". ");
}
// Of a long front, ten that are spread over it, until all are asked for.
function shorten(holder, body) {
  const rows = [...body.rows];
  if (rows.length <= TEN + 2) return;
  const kept = new Set(Array.from({ length: TEN }, (_, i) => Math.round(i * (rows.length - 1) / (TEN - 1))));
  rows.forEach((row, i) => row.classList.toggle("more", !kept.has(i)));
  const button = element("button", `show all ${rows.length}`, "pick");
  button.type = "button";
  button.addEventListener("click", () => { rows.forEach(row => row.classList.remove("more")); button.remove(); });
  holder.after(button);
}
