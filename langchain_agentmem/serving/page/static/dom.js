// Building the document. Texts become text nodes and never markup: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Names of attributes that may be set. Event handlers, styles and addresses are not among them. */
const ATTRIBUTES = new Set([
  "aria-busy", "aria-current", "aria-describedby", "aria-hidden", "aria-label", "aria-labelledby", "aria-live",
  "autocomplete", "checked", "class", "colspan", "cx", "cy", "d", "datetime", "dir", "disabled", "fill", "for", "height",
  "hidden", "id", "marker-end", "markerHeight", "markerWidth", "max", "min", "name", "open", "orient", "points", "r", "refX",
  "refY", "required", "role", "rx", "scope", "selected", "spellcheck", "step", "tabindex", "text-anchor", "title",
  "transform", "type", "value", "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2",
]);

/** Characters that change the order of a text, or that cannot be seen. They are shown by their numbers. */
const CONTROLS = /([\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff])/u;

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    } else if (!ATTRIBUTES.has(name)) {
      throw new Error(`The attribute ${name} is not allowed.`);
    } else if (value === true) {
      node.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  add(node, children);
  return node;
}

/** Add children: nodes, texts and lists of them. Null and false are left out. */
export function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Return an HTML element. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Return a link to a view of this page. */
export function link(view, parameters, ...children) {
  const node = el("a", {}, ...children);
  node.setAttribute("href", address(view, parameters));
  return node;
}

/** Return the address of a view. */
export function address(view, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

/** Return stored text as a node: isolated from the text around it, with visible control characters. */
export function stored(text, tag = "bdi") {
  const parts = String(text).split(CONTROLS);
  const children = parts.map((part, at) => (at % 2 ? control(part) : part));
  return el(tag, { dir: "auto", class: "stored" }, children);
}

/** Return stored text for places that take text only, such as labels and tooltips. */
export function plain(text, most = Infinity) {
  const characters = [...String(text)].map((one) => (CONTROLS.test(one) ? `[${number(one)}]` : one));
  return characters.length <= most ? characters.join("") : `${characters.slice(0, most - 1).join("")}…`;
}

function number(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

function control(character) {
  return el("span", { class: "control" }, number(character));
}

/** Return an ID as a node; a text that says so for no ID. */
export function id(value, none = "nobody") {
  return value === null || value === undefined ? el("span", { class: "muted" }, none) : stored(value);
}

/** Return a moment as a node, in UTC. */
export function moment(value, none = "") {
  if (value === null || value === undefined) return none;
  const when = new Date(typeof value === "number" ? value * 1000 : value);
  if (Number.isNaN(when.getTime())) return stored(value);
  return el("time", { datetime: when.toISOString() }, clock(when));
}

/** Return a moment as text, such as `2026-05-17 12:00`, in UTC. A time at midnight is a day. */
export function clock(when) {
  const text = when.toISOString();
  return text.slice(11, 19) === "00:00:00" ? text.slice(0, 10) : text.slice(0, 16).replace("T", " ");
}

const COUNT = new Intl.NumberFormat("en");

/** Return a number with separators. */
export function count(value) {
  return COUNT.format(value);
}

/** Return a number of bytes as text. */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit ? `${value.toFixed(1)} ${units[unit]}` : `${value} ${value === 1 ? "byte" : "bytes"}`;
}

let scrollers = 0;

/**
 * Return a table in a region that scrolls by itself.
 *
 * columns: `{name, cell, numeric, header}`; `cell` returns the content for a row, and `header` marks the row's header.
 */
export function table(caption, columns, rows, none = "There are none.") {
  if (!rows.length) return el("p", { class: "muted" }, none);
  scrollers += 1;
  const label = `table-${scrollers}`;
  const head = columns.map((one) => el("th", { scope: "col", class: one.numeric ? "number" : null }, one.name));
  const lines = rows.map((row) => el("tr", {}, columns.map((one) => cell(one, row))));
  const node = el("table", {}, el("caption", { id: label }, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, lines));
  return el("div", { class: "scroll", role: "region", tabindex: "0", "aria-labelledby": label }, node);
}

function cell(column, row) {
  const kind = { class: column.numeric ? "number" : null };
  return column.header ? el("th", { scope: "row", ...kind }, column.cell(row)) : el("td", kind, column.cell(row));
}

/** Return a JSON value as preformatted text. */
export function json(value) {
  return stored(JSON.stringify(value, null, 2) ?? "", "pre");
}

/** Say something to screen readers. */
export function say(text) {
  document.getElementById("status").textContent = text;
}
