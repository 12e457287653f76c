// Charts as SVG. Each has a description in words, and a table of its numbers.

import { clock, count, el, plain, svg, table } from "./dom.js";

const WIDTH = 1000;
const LABEL = 240;
const NUMBER = 100;
const ROW = 26;
const BAR = WIDTH - LABEL - NUMBER;
const LONGEST_LABEL = 29;

let figures = 0;

function figure(title, description, drawing, legend, numbers) {
  figures += 1;
  const name = `figure-${figures}`;
  drawing.setAttribute("aria-label", `${title}. ${description}`);
  return el(
    "figure",
    { "aria-labelledby": name },
    el("figcaption", { id: name }, title),
    legend,
    el("div", { class: "drawing" }, drawing),
    el("details", {}, el("summary", {}, "Numbers as a table"), numbers),
  );
}

function canvas(height, ...children) {
  return svg("svg", { role: "img", viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height, class: "chart" }, children);
}

function labels(name, value, at) {
  const y = at * ROW + 17;
  return [
    svg("text", { x: LABEL - 10, y, "text-anchor": "end", class: "label" }, plain(name, LONGEST_LABEL)),
    svg("text", { x: WIDTH, y, "text-anchor": "end", class: "value" }, value),
  ];
}

/** Return a chart with one bar for each row. rows: `[name, number]`. */
export function bars(title, rows, { unit = "number", shown = count } = {}) {
  const largest = Math.max(1, ...rows.map(([, value]) => value));
  const parts = rows.map(([name, value], at) => [
    svg("rect", { x: LABEL, y: at * ROW + 4, width: BAR, height: ROW - 8, rx: 3, class: "track" }),
    value > 0 && svg("rect", { x: LABEL, y: at * ROW + 4, width: Math.max(2, (BAR * value) / largest), height: ROW - 8, rx: 3, class: "bar" }),
    labels(name, shown(value), at),
  ]);
  const [name, most] = rows.reduce((best, row) => (row[1] > best[1] ? row : best), ["", 0]);
  const description = most ? `${rows.length} bars. The longest is ${plain(name, 60)}, ${shown(most)}.` : "All numbers are zero.";
  const numbers = table(
    title,
    [
      { name: "Name", cell: ([one]) => plain(one), header: true },
      { name: unit, cell: ([, value]) => shown(value), numeric: true },
    ],
    rows,
  );
  return figure(title, description, canvas(rows.length * ROW, parts), null, numbers);
}

/** Return a chart with one divided bar for each row. rows: `[name, numbers]`; series: the names of the numbers. */
export function shares(title, rows, series) {
  const parts = rows.map(([name, values], at) => {
    const whole = values.reduce((sum, value) => sum + value, 0);
    let x = LABEL;
    const pieces = values.map((value, index) => {
      const width = whole ? (BAR * value) / whole : 0;
      const piece = svg("rect", { x, y: at * ROW + 4, width, height: ROW - 8, class: `series-${index}` },
        svg("title", {}, `${series[index]}: ${count(value)}`));
      x += width;
      return width ? piece : null;
    });
    return [
      svg("rect", { x: LABEL, y: at * ROW + 4, width: BAR, height: ROW - 8, rx: 3, class: "track" }),
      pieces,
      labels(name, count(whole), at),
    ];
  });
  const legend = el("ul", { class: "legend" }, series.map((name, index) => el("li", {}, swatch(`series-${index}`), name)));
  const columns = [
    { name: "Name", cell: ([name]) => name, header: true },
    ...series.map((name, index) => ({ name, cell: ([, values]) => count(values[index]), numeric: true })),
  ];
  const description = `Each bar is divided into: ${series.join(", ")}.`;
  return figure(title, description, canvas(rows.length * ROW, parts), legend, table(title, columns, rows));
}

/** Return a small square of a colour, for legends. */
export function swatch(name) {
  return svg("svg", { width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true", class: "swatch" },
    svg("rect", { width: 12, height: 12, rx: 2, class: name }));
}

/**
 * Return a chart of periods: one row for each entry, from its start to its end.
 *
 * entries: `{name, from, to}` with milliseconds or null; `now` ends the periods that have not ended.
 */
export function periods(title, entries, now, numbers) {
  const starts = entries.map((one) => one.from).filter((one) => one !== null);
  const low = Math.min(now, ...starts);
  const high = Math.max(now, ...entries.map((one) => one.to ?? now));
  const at = (when) => LABEL + ((WIDTH - LABEL - 12) * (when - low)) / Math.max(1, high - low);
  const parts = entries.map((one, row) => {
    const from = at(one.from ?? low);
    const to = at(one.to ?? high);
    const y = row * ROW + 4;
    return [
      svg("rect", { x: from, y, width: Math.max(4, to - from), height: ROW - 8, rx: 3, class: one.to === null ? "bar" : "bar ended" },
        svg("title", {}, plain(one.name))),
      svg("text", { x: LABEL - 10, y: row * ROW + 17, "text-anchor": "end", class: one.to === null ? "label" : "label muted" },
        plain(one.name, LONGEST_LABEL)),
    ];
  });
  const bottom = entries.length * ROW;
  const axis = [
    svg("line", { x1: LABEL, x2: WIDTH - 12, y1: bottom + 2, y2: bottom + 2, class: "axis" }),
    svg("text", { x: LABEL, y: bottom + 20, class: "label muted" }, clock(new Date(low))),
    svg("text", { x: WIDTH - 12, y: bottom + 20, "text-anchor": "end", class: "label muted" }, clock(new Date(high))),
  ];
  const ended = entries.filter((one) => one.to !== null).length;
  const description = `${entries.length} periods, ${ended} of them ended. The table below has their dates.`;
  const legend = el("ul", { class: "legend" },
    el("li", {}, swatch("bar"), "true now"), el("li", {}, swatch("bar ended"), "ended"));
  return figure(title, description, canvas(bottom + 28, parts, axis), legend, numbers);
}
