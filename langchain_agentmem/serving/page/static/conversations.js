// The views of users, sessions and one conversation with its search.

import { get, request } from "./api.js";
import { confirmed } from "./dialogs.js";
import { address, count, el, id, json, link, moment, plain, say, stored, table } from "./dom.js";

const PAGE = 100;

/** The number of messages on a page. */
export const MESSAGES = 50;
const FOUND = 20;

/** The list of users, and a form that opens a user by ID. */
export async function users({ parameters, signal }) {
  const offset = Number(parameters.get("offset") ?? 0);
  let listed;
  try {
    const found = await get("v1/users", { limit: PAGE, offset }, signal);
    listed = [
      table("Users", [
        { name: "User", header: true, cell: (user) => link("profile", { user }, stored(user)) },
        { name: "Sessions", cell: (user) => link("sessions", { user }, "Sessions", hidden(user)) },
        { name: "Entities", cell: (user) => link("entities", { user }, "Entities", hidden(user)) },
        { name: "Threads", cell: (user) => link("threads", { user }, "Threads", hidden(user)) },
      ], found.items, "No user is stored."),
      pages("users", {}, offset, found.next_offset),
    ];
  } catch (error) {
    if (error.status !== 403) throw error;
    listed = el("p", { class: "error" }, error.message);
  }
  return { title: "Users", nodes: [opener(), listed] };
}

function hidden(user) {
  return el("span", { class: "visually-hidden" }, " of ", stored(user));
}

/** Return a form that opens the profile of a user by ID. */
export function opener() {
  const input = el("input", { type: "text", id: "user-id", autocomplete: "off", spellcheck: "false", required: true });
  return el("form", {
    class: "form",
    on: {
      submit: (event) => {
        event.preventDefault();
        location.hash = address("profile", { user: input.value });
      },
    },
  }, el("p", { class: "field" }, el("label", { for: "user-id" }, "User ID"), input), el("button", { type: "submit" }, "Open the user"));
}

/** Return links to the pages of a list. */
export function pages(view, parameters, offset, next) {
  if (!offset && next === null) return null;
  return el("nav", { "aria-label": "Pages" }, el("ul", {},
    offset > 0 && el("li", {}, link(view, { ...parameters, offset: Math.max(0, offset - PAGE) }, "Previous page")),
    next !== null && el("li", {}, link(view, { ...parameters, offset: next }, "Next page"))));
}

/** The list of sessions: of one user, of nobody, or all. */
export async function sessions({ parameters, signal }) {
  const user = parameters.get("user");
  const nobody = parameters.get("nobody") === "1";
  const query = parameters.get("query");
  const offset = Number(parameters.get("offset") ?? 0);
  const found = await get("v1/sessions", { user_id: user, nobody: nobody || null, limit: PAGE, offset }, signal);
  const own = { user, nobody: nobody ? "1" : null };
  const scope = user ?? (nobody ? null : undefined);
  const columns = [
    { name: "Session", header: true, cell: (one) => link("conversation", { session: one.session_id, user: one.user_id }, stored(one.session_id)) },
    user === null && { name: "User", cell: (one) => (one.user_id === null ? id(null) : link("sessions", { user: one.user_id }, stored(one.user_id))) },
    { name: "Title", cell: (one) => (one.title === null ? "" : stored(one.title)) },
    { name: "Messages", numeric: true, cell: (one) => count(one.message_count) },
    { name: "Created", cell: (one) => moment(one.created_at) },
    { name: "Last used", cell: (one) => moment(one.updated_at) },
    { name: "Expires", cell: (one) => moment(one.expires_at, "never") },
  ].filter(Boolean);
  return {
    title: user === null ? (nobody ? "Sessions of nobody" : "Sessions") : `Sessions of ${plain(user, 80)}`,
    nodes: [
      user === null && el("p", {}, nobody ? link("sessions", {}, "Show all sessions") : link("sessions", { nobody: "1" }, "Show only sessions without a user")),
      scope !== undefined && search("sessions", own, query),
      query && scope !== undefined && (await results(query, { user_id: scope, k: FOUND }, signal)),
      table("Sessions, the most recently used first.", columns, found.items, "There are no sessions."),
      pages("sessions", own, offset, found.next_offset),
    ],
  };
}

/** One conversation: its summary, a search, and a page of its messages. */
export async function conversation({ parameters, signal }) {
  const session = parameters.get("session") ?? "";
  const user = parameters.get("user");
  const query = parameters.get("query");
  const after = Number(parameters.get("after") ?? -1);
  const own = { session_id: session, user_id: user };
  const [info, page] = await Promise.all([get("v1/session", own, signal), get("v1/messages", { ...own, after, limit: MESSAGES }, signal)]);
  const place = { session, user };
  const focus = Number(parameters.get("position") ?? -1);
  const list = el("ol", { class: "messages", "aria-label": "Messages" }, page.items.map((one) => message(one, one.position === focus)));
  return {
    title: `Conversation ${plain(session, 80)}`,
    nodes: [
      facts([
        ["User", id(user)],
        ["Title", info.title === null ? null : stored(info.title)],
        ["Messages", count(info.message_count)],
        ["Created", moment(info.created_at)],
        ["Last used", moment(info.updated_at)],
        ["Expires", moment(info.expires_at, "never")],
        ["Metadata", Object.keys(info.metadata).length ? json(info.metadata) : null],
        ["Summary", info.summary === null ? null : stored(info.summary.text)],
      ]),
      search("conversation", place, query),
      query && (await results(query, { ...own, k: FOUND }, signal)),
      el("h2", {}, "Messages"),
      after > -1 && el("p", {}, link("conversation", { ...place, after: after - MESSAGES > -1 ? after - MESSAGES : null }, "Earlier messages")),
      page.items.length ? list : el("p", { class: "muted" }, "There are no messages here."),
      more("v1/messages", page, own, list),
      el("h2", {}, "Delete"),
      remover(session, user, info.message_count),
    ],
  };
}

/** Return a list of names and values. Values that are null are left out. */
export function facts(rows) {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined);
  return el("div", { class: "panel" }, el("dl", { class: "fields" }, shown.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}

/** Return a button that adds the next page of messages to a list; null at its end. */
export function more(path, page, own, list) {
  if (page.next_after === null) return null;
  let after = page.next_after;
  const button = el("button", {
    type: "button",
    on: {
      click: async () => {
        button.disabled = true;
        try {
          const next = await get(path, { ...own, after, limit: MESSAGES });
          const nodes = next.items.map((one) => message(one, false));
          list.append(...nodes);
          say(`${next.items.length} more messages.`);
          nodes[0]?.setAttribute("tabindex", "-1");
          nodes[0]?.focus();
          after = next.next_after;
        } catch (error) {
          say(error.message);
        }
        button.disabled = false;
        if (after === null) button.remove();
      },
    },
  }, "Show more messages");
  return el("p", { class: "more" }, button);
}

/** Return a message as an item of a list. */
export function message(one, isFound = false) {
  const calls = (one.tool_calls ?? []).map((call) => el("div", {}, el("p", {}, "Calls ", el("strong", {}, stored(call.name)), ":"), json(call.args)));
  const others = Array.isArray(one.content) ? one.content.filter((part) => typeof part === "object" && part !== null && !["text", "tool_call"].includes(part.type)) : [];
  return el("li", { class: `message ${["human", "ai", "tool", "system"].includes(one.role) ? one.role : "other"}${isFound ? " found" : ""}` },
    el("header", {},
      el("strong", {}, stored(one.role)),
      one.agent && el("span", {}, "agent ", stored(one.agent)),
      one.name && el("span", {}, "name ", stored(one.name)),
      one.position !== undefined && el("span", {}, `position ${one.position}`),
      one.created_at && moment(one.created_at),
      one.score !== undefined && el("span", {}, `score ${one.score.toFixed(2)}`)),
    one.text && el("div", { class: "text" }, stored(one.text)),
    calls,
    others.length > 0 && el("details", {}, el("summary", {}, "Other content"), json(others)));
}

function search(view, place, query) {
  const input = el("input", { type: "search", id: "query", value: query ?? "", required: true, autocomplete: "off" });
  return el("form", {
    class: "form",
    role: "search",
    on: {
      submit: (event) => {
        event.preventDefault();
        location.hash = address(view, { ...place, query: input.value });
      },
    },
  },
  el("p", { class: "field" }, el("label", { for: "query" }, view === "conversation" ? "Search this conversation" : "Search these conversations"), input),
  el("button", { type: "submit" }, "Search"),
  query && link(view, place, "Clear the search"));
}

async function results(query, where, signal) {
  const found = await get("v1/search", { query, ...where }, signal);
  say(`${found.items.length} messages found.`);
  return [
    el("h2", {}, `Found: ${found.items.length}`),
    el("ol", { class: "messages", "aria-label": "Found messages" }, found.items.map((one) => {
      const node = message(one);
      const after = Math.max(-1, one.position - 6);
      node.append(el("p", {}, link("conversation", { session: one.session_id, user: one.user_id, after: after < 0 ? null : after, position: one.position },
        "Show it in its conversation", el("span", { class: "visually-hidden" }, " ", stored(one.session_id), `, position ${one.position}`))));
      return node;
    })),
    !found.items.length && el("p", { class: "muted" }, "No message was found."),
  ];
}

function remover(session, user, messages) {
  const place = el("div", {});
  const button = el("button", {
    type: "button",
    on: {
      click: async () => {
        const what = [el("p", {}, "The session ", stored(session), ` with its ${count(messages)} messages, its summary, variables and records is deleted. This cannot be undone.`)];
        if (!(await confirmed("Delete the session?", what, "Delete the session"))) return;
        try {
          const done = await request("DELETE", "v1/session", { query: { session_id: session, user_id: user } });
          receipt(place, button, done.changed, session, user, messages);
        } catch (error) {
          place.replaceChildren(el("p", { class: "error", role: "alert" }, error.message));
        }
      },
    },
  }, "Delete this session…");
  return [el("p", {}, button), place];
}

function receipt(place, button, changed, session, user, messages) {
  const text = changed ? "The session was deleted." : "The session did not exist any more.";
  const head = el("h3", { tabindex: "-1" }, "Receipt");
  button.disabled = true;
  place.replaceChildren(head, facts([
    ["Result", text],
    ["Session", stored(session)],
    ["User", id(user)],
    ["Messages", changed ? count(messages) : "0"],
    ["Deleted at", moment(new Date().toISOString())],
  ]), el("p", {}, link("sessions", { user }, "Back to the sessions")));
  head.focus();
  say(text);
}
