// The views of memories, variables and records.

import { get } from "./api.js";
import { pages } from "./conversations.js";
import { address, count, el, id, json, link, moment, plain, say, stored, table } from "./dom.js";

const PAGE = 100;
const FOUND = 50;

/** The memories of a user: all of them page by page, or those that match a query. */
export async function memories({ parameters, signal }) {
  const user = parameters.get("user") ?? "";
  const query = parameters.get("query");
  const offset = Number(parameters.get("offset") ?? 0);
  const paging = query ? { query, limit: FOUND } : { limit: PAGE, offset };
  const found = await get("v1/memories", { user_id: user, ...paging }, signal);
  if (query) say(`${found.items.length} memories found.`);
  return {
    title: `Memories of ${plain(user, 80)}`,
    nodes: [
      form("memories", { user }, [["query", "Search these memories", query]], "Search", { role: "search" }),
      table(query ? "Memories that match, the best first." : "Texts that the user or an agent asked to keep, the newest first.", [
        { name: "Text", header: true, cell: (one) => stored(one.text) },
        { name: "Agent", cell: (one) => (one.agent === null ? "" : stored(one.agent)) },
        { name: "Saved", cell: (one) => moment(one.created_at) },
        { name: "Last saved", cell: (one) => moment(one.updated_at) },
        { name: "Times", numeric: true, cell: (one) => count(one.times) },
        query && { name: "Score", numeric: true, cell: (one) => (one.score === null ? "" : one.score.toFixed(2)) },
        { name: "Metadata", cell: (one) => (Object.keys(one.metadata).length ? json(one.metadata) : "") },
      ].filter(Boolean), found.items, query ? "No memory was found." : "There are no memories."),
      query ? null : pages("memories", { user }, offset, found.next_offset),
    ],
  };
}

/** The variables of a scope: a user or nobody, and optionally an agent and a session. */
export async function variables({ parameters, signal }) {
  const user = parameters.get("user");
  const agent = parameters.get("agent");
  const session = parameters.get("session");
  const found = await get("v1/variables", { user_id: user, agent, session_id: session }, signal);
  const rows = Object.entries(found.values);
  return {
    title: user === null ? "Variables" : `Variables of ${plain(user, 80)}`,
    nodes: [
      form("variables", { user }, [["agent", "Agent", agent], ["session", "Session", session]], "Show"),
      el("p", { class: "muted" }, "Variables of wider scopes are shown too: those of the user, of the agent, and of all."),
      table("Variables", [
        { name: "Name", header: true, cell: ([name]) => stored(name) },
        { name: "Value", cell: ([, value]) => (typeof value === "string" ? stored(value) : json(value)) },
      ], rows, "There are no variables in this scope."),
    ],
  };
}

/** The records of what agents did: of a user, or all. */
export async function records({ parameters, signal }) {
  const user = parameters.get("user");
  const agent = parameters.get("agent");
  const session = parameters.get("session");
  const status = parameters.get("status");
  const after = parameters.get("after");
  const own = { user, agent, session, status };
  const found = await get("v1/records", { user_id: user, agent, session_id: session, status, after, limit: PAGE }, signal);
  return {
    title: user === null ? "Records" : `Records of ${plain(user, 80)}`,
    nodes: [
      form("records", { user }, [["agent", "Agent", agent], ["session", "Session", session], ["status", "Status", status]], "Show"),
      table("Records of what agents did, the newest first.", [
        { name: "Created", header: true, cell: (one) => moment(one.created_at) },
        { name: "Agent", cell: (one) => stored(one.agent) },
        { name: "Status", cell: (one) => stored(one.status) },
        user === null && { name: "User", cell: (one) => (one.user_id === null ? id(null) : link("records", { user: one.user_id }, stored(one.user_id))) },
        { name: "Session", cell: (one) => sessionOf(one) },
        { name: "Started", cell: (one) => moment(one.started_at) },
        { name: "Seconds", numeric: true, cell: (one) => (one.duration === null ? "" : one.duration.toFixed(2)) },
        { name: "Record", cell: (one) => json(one.record) },
      ].filter(Boolean), found.items, "There are no records."),
      (after || found.next_after !== null) && el("nav", { "aria-label": "Pages" }, el("ul", {},
        after && el("li", {}, link("records", own, "First page")),
        found.next_after !== null && el("li", {}, link("records", { ...own, after: found.next_after }, "Next page")))),
    ],
  };
}

function sessionOf(one) {
  if (one.session_id === null) return "";
  return link("conversation", { session: one.session_id, user: one.user_id }, stored(one.session_id));
}

/** Return a form whose fields become parameters of a view. fields: `[name, label, value]`. */
function form(view, own, fields, action, attributes = {}) {
  const inputs = fields.map(([name, , value]) =>
    el("input", { type: attributes.role === "search" ? "search" : "text", id: `field-${name}`, value: value ?? "", autocomplete: "off", spellcheck: "false" }));
  return el("form", {
    class: "form",
    ...attributes,
    on: {
      submit: (event) => {
        event.preventDefault();
        const given = fields.map(([name], at) => [name, inputs[at].value]);
        location.hash = address(view, { ...own, ...Object.fromEntries(given) });
      },
    },
  },
  fields.map(([name, text], at) => el("p", { class: "field" }, el("label", { for: `field-${name}` }, text), inputs[at])),
  el("button", { type: "submit" }, action),
  fields.some(([, , value]) => value) && link(view, own, "Clear"));
}
