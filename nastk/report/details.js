// What stands below the picture of a front: its networks as graphs, and how it was found.

const BOX = { h: 22, gap: 26, row: 34, letter: 6.6 };

function network(p) {
  const holder = element("details", undefined, "network"), svg = make("svg", { role: "img" });
  const said = p.graph.labels.filter(l => l !== "input" && l !== "output").map(words).join(", ");
  svg.setAttribute("aria-label", `network from input to output: ${said}`);
  const frame = element("div", undefined, "wide");
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", "network as a graph");
  frame.append(svg);
  holder.append(element("summary", "network"), frame);
  holder.addEventListener("toggle", () => { if (holder.open) drawNetwork(svg, p.graph, frame.clientWidth); });
  return holder;
}
function drawNetwork(svg, graph, room) {
  const { labels, columns, rows, edges } = graph, text = labels.map(words);
  const last = Math.max(...columns), chain = rows.every(r => r === 0);
  const widths = Array.from({ length: last + 1 }, (_, c) => Math.max(...text.map((t, i) => columns[i] === c ? BOX.letter * t.length + 14 : 0)));
  // A chain goes on in the next line where there is no more room; anything else is as wide as it is.
  const left = [], line = [];
  let x = 1, y = 0;
  widths.forEach((w, c) => {
    if (chain && c && x + w > Math.max(room, 260)) { x = 1; y += 1; }
    left.push(x); line.push(y);
    x += w + BOX.gap;
  });
  const top = -Math.min(...rows) * BOX.row + BOX.h / 2 + 2;
  const place = labels.map((_, i) => ({ x: left[columns[i]], w: BOX.letter * text[i].length + 14, y: top + rows[i] * BOX.row + line[columns[i]] * (BOX.h + 18) }));
  for (const [i, p] of place.entries()) p.x += (widths[columns[i]] - p.w) / 2;
  const width = Math.max(...place.map(p => p.x + p.w)) + 2, height = Math.max(...place.map(p => p.y)) + BOX.h / 2 + 3;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  for (const [a, b] of edges) {
    const from = place[a], to = place[b], faint = labels[a] === "none" || labels[b] === "none";
    const [x0, y0, x1, y1] = [from.x + from.w, from.y, to.x, to.y], bend = Math.max((x1 - x0) / 2, 12);
    const far = columns[b] - columns[a] > 1 && Math.abs(y1 - y0) < 2 && !chain ? BOX.row * 0.62 : 0;
    const d = x1 > x0 ? `M${x0},${y0} C${x0 + bend},${y0 + far} ${x1 - bend},${y1 + far} ${x1},${y1}`
      : `M${x0},${y0} h8 v${(y1 - y0) / 2} H${x1 - 8} V${y1} h8`;
    svg.append(make("path", { d, class: "edge", opacity: faint ? 0.25 : 0.9 }));
  }
  place.forEach((p, i) => {
    const end = labels[i] === "input" || labels[i] === "output", none = labels[i] === "none";
    svg.append(make("rect", { x: p.x, y: p.y - BOX.h / 2, width: p.w, height: BOX.h, rx: 5, class: end ? "node end" : "node", "stroke-dasharray": none ? "3 3" : "" }));
    svg.append(make("text", { x: p.x + p.w / 2, y: p.y + 4, "text-anchor": "middle", opacity: none ? 0.75 : 1 }, text[i]));
  });
}

// A small set of axes: `drawIn` gets the place of values.
function small(title, xName, yName, xs, ys, drawIn, said) {
  const box = element("div"), svg = make("svg", { role: "img", "aria-label": said });
  box.append(element("p", title, "name"), svg);
  const paint = () => {
    const w = Math.max(box.clientWidth, 220), h = Math.min(280, Math.max(210, w * 0.6)), edge = { l: 56, r: 10, t: 8, b: 38 };
    const wide = ([a, b]) => a === b ? [a - (Math.abs(a) * 0.05 || 0.5), b + (Math.abs(b) * 0.05 || 0.5)] : [a - 0.04 * (b - a), b + 0.04 * (b - a)];
    const [x0, x1] = wide([Math.min(...xs), Math.max(...xs)]), [y0, y1] = wide([Math.min(...ys), Math.max(...ys)]);
    const X = v => edge.l + (v - x0) / (x1 - x0) * (w - edge.l - edge.r), Y = v => edge.t + (y1 - v) / (y1 - y0) * (h - edge.t - edge.b);
    svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
    svg.replaceChildren();
    for (const v of ticks(x0, x1, Math.max(3, w / 90), false)) {
      svg.append(make("line", { x1: X(v), x2: X(v), y1: edge.t, y2: h - edge.b, stroke: "var(--line)" }));
      svg.append(make("text", { x: X(v), y: h - edge.b + 15, "text-anchor": "middle" }, show(v)));
    }
    for (const v of ticks(y0, y1, 4, false)) {
      svg.append(make("line", { x1: edge.l, x2: w - edge.r, y1: Y(v), y2: Y(v), stroke: "var(--line)" }));
      svg.append(make("text", { x: edge.l - 6, y: Y(v) + 4, "text-anchor": "end" }, show(v)));
    }
    svg.append(make("text", { x: (edge.l + w) / 2, y: h - 4, "text-anchor": "middle", class: "axis" }, xName));
    svg.append(make("text", { x: 12, y: h / 2 - 14, "text-anchor": "middle", class: "axis", transform: `rotate(-90 12 ${h / 2 - 14})` }, yName));
    drawIn(svg, X, Y);
  };
  new ResizeObserver(paint).observe(box);
  return box;
}
function growthChart() {
  const { x, y, label: name } = chart.growth, attained = chart.axes.length === 1;
  const line = (svg, X, Y) => {
    const path = x.flatMap((v, k) => k ? [[X(v), Y(y[k - 1])], [X(v), Y(y[k])]] : [[X(v), Y(y[k])]]);
    svg.append(make("polyline", { points: path.map(p => p.join(",")).join(" "), class: "curve", stroke: "var(--front)" }));
  };
  const title = attained ? "The best found, by evaluations" : "How the front grew";
  return small(title, "architectures evaluated", attained ? label(chart.axes[0]) : "hypervolume, % of the last", x, y, line,
    `${name} after ${show(x.at(-1))} architectures: ${show(y.at(-1))}; after ${show(x[Math.floor(x.length / 2)])}: ${show(y[Math.floor(x.length / 2)])}`);
}
function agreementChart(axis) {
  const found = [...chart.front, ...chart.evaluated].filter(p => known(p.predicted[axis.name]?.value) && known(p.shown[axis.name]?.value));
  if (found.length < 2) return null;
  const xs = found.map(p => p.predicted[axis.name].value), ys = found.map(p => p.shown[axis.name].value);
  const ends = found.flatMap(p => interval(p.predicted[axis.name]) ?? []), all = [...xs, ...ys];
  const within = ends.filter(v => v >= Math.min(...all) - 0.5 * (Math.max(...all) - Math.min(...all)) && v <= Math.max(...all) + 0.5 * (Math.max(...all) - Math.min(...all)));
  const points = (svg, X, Y) => {
    const low = Math.min(...all), high = Math.max(...all);
    svg.append(make("line", { x1: X(low), y1: Y(low), x2: X(high), y2: Y(high), stroke: "var(--soft)", "stroke-dasharray": "5 4" }));
    found.forEach((p, k) => {
      const span = interval(p.predicted[axis.name]);
      if (span) svg.append(make("line", { x1: X(Math.max(span[0], Math.min(...within))), x2: X(Math.min(span[1], Math.max(...within))), y1: Y(ys[k]), y2: Y(ys[k]), stroke: "var(--front)", "stroke-opacity": 0.3, "stroke-width": 4 }));
    });
    found.forEach((p, k) => {
      const dot = make("circle", { cx: X(xs[k]), cy: Y(ys[k]), r: 4, fill: "var(--front)", stroke: "var(--card)" });
      dot.append(make("title", {}, `${p.arch}: predicted ${show(xs[k])}, ${chart.kinds[p.shown[axis.name].kind]} ${show(ys[k])}`));
      svg.append(dot);
    });
  };
  const kind = chart.kinds[found[0].shown[axis.name].kind];
  return small(`${words(axis.name)}: predicted and ${kind}`, `predicted ${label(axis)}`, kind, [...xs, ...ys, ...within], all, points,
    `${found.length} networks of which ${words(axis.name)} was predicted before it was known; the dashed line is where both are equal`);
}
function plainTable(heads, rows, numbers) {
  const table = element("table", undefined, "front"), top = element("thead"), body = element("tbody"), head = element("tr", undefined, "head");
  head.append(...heads.map((h, k) => element("th", h, numbers.includes(k) ? "n" : undefined)));
  top.append(head);
  for (const row of rows) {
    const line = element("tr");
    row.forEach((value, k) => {
      const cell = element("td", value, numbers.includes(k) ? "n" : undefined);
      if (k) cell.dataset.name = heads[k];
      line.append(cell);
    });
    body.append(line);
  }
  table.append(top, body);
  return table;
}
const lasted = s => !known(s) ? "–" : s < 120 ? `${show(+s.toPrecision(3))} s` : s < 7200 ? `${show(+(s / 60).toPrecision(3))} min` : `${show(+(s / 3600).toPrecision(3))} h`;
function details() {
  const how = document.getElementById("course"), charts = element("div", undefined, "panels");
  if (chart.growth) charts.append(growthChart());
  for (const axis of chart.axes) charts.append(agreementChart(axis) ?? "");
  if (charts.childElementCount) how.append(charts);
  if (chart.spent?.length) {
    how.append(element("h3", "What was spent"));
    const some = chart.spent.some(s => known(s.budget));
    const rows = chart.spent.map(s => [words(s.objective), some && known(s.budget) ? `${s.evaluated} of ${show(s.budget)}` : String(s.evaluated), String(s.again), String(s.failed), lasted(s.seconds)]);
    const timed = chart.spent.some(s => known(s.seconds)) ? 5 : 4;
    const heads = ["evaluations of", "in the search", "at the end, to check", "failed", "took"];
    how.append(plainTable(heads.slice(0, timed), rows.map(row => row.slice(0, timed)), [1, 2, 3, 4]));
  }
  if (chart.failed?.length) {
    how.append(element("h3", "What failed"));
    how.append(plainTable(["evaluation of", "why", "times"], chart.failed.map(f => [words(f.objective), f.reason, String(f.count)]), [2]));
  }
}
