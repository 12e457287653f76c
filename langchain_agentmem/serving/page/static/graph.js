// The drawing of an entity graph. A spring model places the dots; it starts from a spiral, so a graph always looks the same.

import { el, plain, svg } from "./dom.js";
import { swatch } from "./charts.js";

const KINDS = 8;
const STEPS = 200;
const MARGIN = 80;
const LONGEST_LABEL = 22;

/** The largest number of entities that a drawing shows. */
export const MOST_DRAWN = 120;

/** Return points in a square for `total` dots; pairs are the numbers of the dots that an arrow connects. */
export function placed(total, pairs, side) {
  const distance = 1.4 / Math.sqrt(Math.max(1, total));
  const points = Array.from({ length: total }, (_, at) => {
    const away = Math.sqrt((at + 0.5) / total);
    return [Math.cos(at * 2.399963) * away, Math.sin(at * 2.399963) * away];
  });
  for (let step = 0; total > 1 && step < STEPS; step += 1) {
    const moves = points.map(([x, y]) => [-0.1 * x, -0.1 * y]);
    for (let one = 0; one < total; one += 1) {
      for (let two = one + 1; two < total; two += 1) {
        const dx = points[one][0] - points[two][0];
        const dy = points[one][1] - points[two][1];
        const push = (distance * distance) / Math.max(1e-4, dx * dx + dy * dy);
        moves[one][0] += dx * push;
        moves[one][1] += dy * push;
        moves[two][0] -= dx * push;
        moves[two][1] -= dy * push;
      }
    }
    for (const [one, two] of pairs) {
      const dx = points[two][0] - points[one][0];
      const dy = points[two][1] - points[one][1];
      const pull = Math.hypot(dx, dy) / distance;
      moves[one][0] += dx * pull;
      moves[one][1] += dy * pull;
      moves[two][0] -= dx * pull;
      moves[two][1] -= dy * pull;
    }
    const most = 0.2 * (1 - step / STEPS) + 0.001;
    points.forEach((point, at) => {
      const factor = Math.min(1, most / Math.max(1e-9, Math.hypot(...moves[at])));
      point[0] += moves[at][0] * factor;
      point[1] += moves[at][1] * factor;
    });
  }
  const scaled = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    const low = Math.min(...values);
    const span = Math.max(...values) - low;
    return values.map((value) => (span < 1e-6 ? 0.5 : (value - low) / span) * (side - 2 * MARGIN) + MARGIN);
  });
  return points.map((_, at) => [scaled[0][at], scaled[1][at]]);
}

/**
 * Return a figure of entities and relations.
 *
 * entities: `{name, kind}`; relations: `{subject, predicate, object, ended}`.
 */
export function drawing(title, entities, relations) {
  const numbers = new Map(entities.map((one, at) => [one.name, at]));
  const arrows = relations.filter((one) => numbers.has(one.subject) && numbers.has(one.object));
  const pairs = arrows.map((one) => [numbers.get(one.subject), numbers.get(one.object)]).filter(([one, two]) => one !== two);
  const side = Math.max(360, Math.min(1000, Math.round(150 * Math.sqrt(entities.length)) + 2 * MARGIN));
  const points = placed(entities.length, pairs, side);
  const kinds = [...new Set(entities.map((one) => one.kind).filter(Boolean))];
  const colour = (kind) => (kind ? `kind-${kinds.indexOf(kind) % KINDS}` : "kind-none");
  const parts = [
    svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto" },
      svg("path", { d: "M0,0L8,4L0,8z", class: "arrow-head" }))),
    arrows.map((one) => arrow(one, points[numbers.get(one.subject)], points[numbers.get(one.object)])),
    entities.map((one, at) => dot(one, points[at], colour(one.kind))),
  ];
  const label = `${title}. ${entities.length} entities and ${arrows.length} relations. The tables below list them.`;
  const picture = svg("svg", { role: "img", "aria-label": label, viewBox: `0 0 ${side} ${side}`, width: side, height: side, class: "graph" }, parts);
  const legend = [...kinds.map((kind) => [colour(kind), kind]), ...(arrows.some((one) => one.ended) ? [["ended-line", "dashed: ended"]] : [])];
  return el("figure", { "aria-label": title }, el("figcaption", {}, title),
    el("ul", { class: "legend" }, legend.map(([name, text]) => el("li", {}, name !== "ended-line" && swatch(name), el("bdi", {}, plain(text, 40))))),
    el("div", { class: "drawing" }, picture));
}

function dot(entity, [x, y], colour) {
  return svg("g", {}, svg("title", {}, plain(entity.kind ? `${entity.name} (${entity.kind})` : entity.name)),
    svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 11, class: colour }),
    svg("text", { x: x.toFixed(1), y: (y + 26).toFixed(1), "text-anchor": "middle", class: "node-label" }, plain(entity.name, LONGEST_LABEL)));
}

function arrow(relation, [x, y], [u, v]) {
  const length = Math.hypot(u - x, v - y);
  let path;
  let middle;
  if (length < 1) {
    middle = [x, y - 42]; // a loop above the dot
    path = `M${x - 8},${y - 8}C${x - 45},${y - 50} ${x + 45},${y - 50} ${x + 8},${y - 8}`;
  } else {
    const dx = (u - x) / length;
    const dy = (v - y) / length;
    middle = [(x + u) / 2 - 12 * dy, (y + v) / 2 + 12 * dx]; // bent, so that arrows in both directions are apart
    path = `M${x + 12 * dx},${y + 12 * dy}Q${middle[0]},${middle[1]} ${u - 13 * dx},${v - 13 * dy}`;
  }
  return svg("g", { class: relation.ended ? "edge ended" : "edge" },
    svg("path", { d: path, fill: "none", "marker-end": "url(#arrow)" }),
    svg("text", { x: middle[0].toFixed(1), y: middle[1].toFixed(1), "text-anchor": "middle", class: "edge-label" }, plain(relation.predicate, LONGEST_LABEL)));
}
