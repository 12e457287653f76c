// The views of a user's profile with its facts over time, and of the entity graph.

import { get } from "./api.js";
import { periods } from "./charts.js";
import { facts, pages } from "./conversations.js";
import { address, add, count, el, moment, plain, say, stored, table } from "./dom.js";
import { drawing, MOST_DRAWN } from "./graph.js";

const PAGE = 100;
const MOST_PERIODS = 60;
const MANAGED = ["facts", "past", "user_id", "last_interaction"];

/** The profile of a user, now or at an earlier time, with the facts and how they changed. */
export async function profile({ parameters, signal }) {
  const user = parameters.get("user") ?? "";
  const asOf = parameters.get("as_of");
  const own = { user_id: user };
  const offset = Number(parameters.get("offset") ?? 0);
  const [found, history] = await Promise.all([
    get("v1/profile", { ...own, as_of: asOf ? `${asOf}:00Z` : null }, signal),
    get("v1/facts/history", { ...own, limit: PAGE, offset }, signal),
  ]);
  const values = found.profile;
  const fields = Object.entries(values).filter(([name]) => !MANAGED.includes(name));
  const when = asOf ? `as it was at ${asOf.replace("T", " ")} UTC` : "now";
  return {
    title: `Profile of ${plain(user, 80)}`,
    nodes: [
      chooser(user, asOf),
      el("h2", {}, `Fields ${when}`),
      facts([...fields.map(([name, value]) => [stored(name), field(value)]), ["Last interaction", moment(values.last_interaction, "unknown")]]),
      el("h2", {}, `Facts ${when}`),
      current(values.facts ?? []),
      el("h2", {}, "How the facts changed"),
      timeline(history.items),
      pages("profile", { user, as_of: asOf }, offset, history.next_offset),
    ],
  };
}

function chooser(user, asOf) {
  const input = el("input", { type: "datetime-local", id: "as-of", value: asOf ?? "" });
  return el("form", {
    class: "form",
    on: {
      submit: (event) => {
        event.preventDefault();
        location.hash = address("profile", { user, as_of: input.value.slice(0, 16) });
      },
    },
  }, el("p", { class: "field" }, el("label", { for: "as-of" }, "As of (UTC)"), input), el("button", { type: "submit" }, "Show"));
}

function field(value) {
  if (value === null || value === undefined || value === "") return el("span", { class: "muted" }, "not known");
  if (Array.isArray(value)) return value.length ? el("ul", {}, value.map((one) => el("li", {}, field(one)))) : el("span", { class: "muted" }, "none");
  if (typeof value === "object") {
    const entries = Object.entries(value);
    if (!entries.length) return el("span", { class: "muted" }, "none");
    return el("dl", { class: "fields" }, entries.map(([name, one]) => [el("dt", {}, stored(name)), el("dd", {}, field(one))]));
  }
  return stored(value);
}

function current(items) {
  const left = items.length - PAGE;
  return [
    factTable("Facts that are true", items.slice(-PAGE)),
    left > 0 && el("p", { class: "muted" }, `The table shows the newest ${PAGE} of ${count(items.length)} facts.`),
  ];
}

function factTable(caption, items) {
  const texts = new Map(items.map((one) => [one.id, one.text]));
  return table(caption, [
    { name: "Fact", header: true, cell: (one) => stored(one.text) },
    { name: "Topics", cell: (one) => joined(one.topics) },
    { name: "From", cell: (one) => moment(one.valid_from) },
    { name: "Until", cell: (one) => moment(one.valid_to, "now") },
    { name: "Superseded by", cell: (one) => (one.replaced_by ? stored(texts.get(one.replaced_by) ?? one.replaced_by) : "") },
    { name: "Confidence", numeric: true, cell: (one) => `${Math.round(one.confidence * 100)} %` },
    { name: "Agent", cell: (one) => (one.agent ? stored(one.agent) : "") },
    { name: "Messages", cell: (one) => joined(one.sources) },
  ], items, "There are no facts.");
}

function joined(values) {
  return (values ?? []).map((one, at) => [at > 0 && ", ", stored(one)]);
}

function timeline(items) {
  if (!items.length) return el("p", { class: "muted" }, "There are no facts.");
  const drawn = items.slice(-MOST_PERIODS);
  const entries = drawn.map((one) => ({ name: one.text, from: milliseconds(one.valid_from), to: milliseconds(one.valid_to) }));
  return [
    items.length > drawn.length && el("p", { class: "muted" }, `The chart shows the newest ${drawn.length} of the ${count(items.length)} facts on this page. The table has all of them.`),
    periods("Facts over time", entries, Date.now(), factTable("Facts, also superseded ones, by the start of their validity periods", items)),
  ];
}

function milliseconds(text) {
  return text === null ? null : Date.parse(text);
}

/** The entities of a user and their relations: a drawing, and tables. */
export async function entities({ parameters, signal }) {
  const user = parameters.get("user") ?? "";
  const found = await get("v1/entities/graph", { user_id: user }, signal);
  const now = Date.now();
  const relations = found.relations.map((one) => ({ ...one, ended: one.valid_to !== null && Date.parse(one.valid_to) <= now }));
  const place = el("div", {});
  const box = el("input", { type: "checkbox", id: "ended", checked: true });
  const draw = () => {
    const shown = relations.filter((one) => box.checked || !one.ended);
    place.replaceChildren();
    add(place, [drawn(found.entities, shown), relationTable(shown)]);
    return shown.length;
  };
  box.addEventListener("change", () => say(`${draw()} relations are shown.`));
  draw();
  return {
    title: `Entities of ${plain(user, 80)}`,
    nodes: [
      !found.complete && el("p", { class: "muted" }, "The graph has more entities than are shown."),
      el("p", { class: "choice" }, box, el("label", { for: "ended" }, "Show relations that have ended")),
      place,
      el("h2", {}, "Entities"),
      entityTable(found.entities),
    ],
  };
}

function drawn(entityList, relations) {
  if (!entityList.length) return null;
  if (entityList.length > MOST_DRAWN) return el("p", { class: "muted" }, `${count(entityList.length)} entities are too many for a drawing. The tables list them.`);
  return drawing("Entity graph", entityList, relations);
}

function relationTable(relations) {
  return [
    el("h2", {}, "Relations"),
    table("Relations between the entities", [
      { name: "Subject", header: true, cell: (one) => stored(one.subject) },
      { name: "Relation", cell: (one) => stored(one.predicate) },
      { name: "Object", cell: (one) => stored(one.object) },
      { name: "From", cell: (one) => moment(one.valid_from) },
      { name: "Until", cell: (one) => moment(one.valid_to, "now") },
      { name: "Messages", cell: (one) => joined(one.sources) },
    ], relations, "There are no relations."),
  ];
}

function entityTable(items) {
  return table("Entities", [
    { name: "Entity", header: true, cell: (one) => stored(one.name) },
    { name: "Kind", cell: (one) => stored(one.kind) },
    { name: "Also called", cell: (one) => joined(one.aliases) },
    { name: "Description", cell: (one) => stored(one.description) },
    { name: "Attributes", cell: (one) => (Object.keys(one.attributes).length ? field(one.attributes) : "") },
    { name: "Updated", cell: (one) => moment(one.updated_at) },
  ], items, "There are no entities.");
}
