"use strict";
// What all pages share: elements, numbers, tables that sort and copy.

function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}
function make(tag, attributes = {}, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
  if (text !== undefined) node.textContent = text;
  return node;
}
function copyButton(name, label, text) {
  const button = element("button", name, "copy");
  button.type = "button";
  button.setAttribute("aria-label", label);
  button.addEventListener("click", () => {
    toClipboard(text()).then(done => {
      button.textContent = done ? "copied" : "not allowed";
      setTimeout(() => { button.textContent = name; }, 1500);
    });
  });
  return button;
}
// Whether it worked: a page that was opened from a disk may have no clipboard in some browsers.
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", text);
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// ---- tables

function csv(table) {
  const quoted = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  return [...table.rows].map(row => [...row.cells].map(cell => quoted(cell.textContent)).join(",")).join("\n") + "\n";
}
function sortable(table) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  if (body.rows.length < 3) return;
  heads.forEach((head, k) => {
    const button = element("button", head.textContent, "sort");
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const key = row => {
        const text = row.cells[k].textContent, value = parseFloat(text.replaceAll(",", ""));
        return Number.isNaN(value) ? text : value;
      };
      const numbers = (a, b) => typeof a === "number" && typeof b === "number";
      const order = (a, b) => numbers(a, b) ? a - b : String(a).localeCompare(String(b));
      body.append(...[...body.rows].sort((a, b) => (falling ? -1 : 1) * order(key(a), key(b))));
    });
  });
}

// ---- numbers

const known = v => v !== null && v !== undefined && Number.isFinite(v);
function show(v) {
  if (!known(v)) return "–";
  const a = Math.abs(v);
  if (a !== 0 && (a >= 1e9 || a < 1e-4)) return v.toExponential(3);
  return a >= 1e4 ? Math.round(v).toLocaleString("en-US") : String(+v.toPrecision(4));
}
function ticks(low, high, count, log) {
  if (log) {
    const decades = Math.log10(high / low), parts = decades <= 1.2 ? [1, 2, 5] : decades <= 2.2 ? [1, 3] : [1];
    const found = [], every = Math.max(1, Math.ceil(decades / count));
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += every)
      for (const m of parts) if (m * 10 ** e >= low * 0.999 && m * 10 ** e <= high * 1.001) found.push(m * 10 ** e);
    if (found.length > 1) return found;
  }
  for (let n = count; ; n++) {
    const rough = (high - low) / n, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough), found = [];
    for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) found.push(+v.toPrecision(12));
    if (found.length > 1 || n > count + 8) return found;
  }
}
