// The views of statistics, threads with their checkpoints, and forgetting a user.

import { ApiError, get, request } from "./api.js";
import { bars, shares } from "./charts.js";
import { facts, message, MESSAGES, more, opener, pages } from "./conversations.js";
import { confirmed } from "./dialogs.js";
import { count, el, id, link, moment, plain, say, size, stored, table } from "./dom.js";

const PAGE = 100;
const CHECKPOINTS = 50;
const PERIODS = [["hour", "within an hour"], ["day", "within a day"], ["week", "within a week"], ["later", "later"], ["never", "never"]];
const WORDS = { all_items: "all items" };

const words = (name) => WORDS[name] ?? name.replaceAll("_", " ");

/** The statistics of the tenant, as charts. */
export async function statistics({ signal }) {
  let found;
  try {
    found = await get("v1/stats", {}, signal);
  } catch (error) {
    if (error.status !== 403) throw error;
    return { title: "Statistics", nodes: [el("p", { class: "error" }, error.message), el("h2", {}, "Open a user"), opener()] };
  }
  const tables = Object.entries(found.bytes_by_table).sort((one, two) => two[1] - one[1]);
  const cards = [
    ["Backend", found.backend],
    ["Tenant", stored(found.tenant)],
    ["Users", count(found.users)],
    ["Agents", count(found.agents)],
    ["Size of the database", found.bytes === null ? "unknown" : size(found.bytes)],
  ];
  return {
    title: "Statistics",
    nodes: [
      el("dl", { class: "cards" }, cards.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
      el("h2", {}, "Charts"),
      bars("Entries", Object.entries(found.entries).map(([name, value]) => [words(name), value]), { unit: "Number" }),
      shares("When entries expire", Object.entries(found.expiries).map(([name, numbers]) => [words(name), PERIODS.map(([period]) => numbers[period] ?? 0)]), PERIODS.map(([, text]) => text)),
      tables.length > 0 && bars("Size of tables", tables, { unit: "Size", shown: size }),
      el("p", { class: "muted" }, "Counted at ", moment(found.taken_at), ". Expired data does not count."),
    ],
  };
}

/** The list of threads: of one user, of nobody, or all. */
export async function threads({ parameters, signal }) {
  const user = parameters.get("user");
  const offset = Number(parameters.get("offset") ?? 0);
  const found = await get("v1/threads", { user_id: user, limit: PAGE, offset }, signal);
  return {
    title: user === null ? "Threads" : `Threads of ${plain(user, 80)}`,
    nodes: [
      table("Threads, the most recently used first.", [
        { name: "Thread", header: true, cell: (one) => link("thread", { thread: one.thread_id, user }, stored(one.thread_id)) },
        { name: "Users", cell: (one) => usersOf(one) },
        { name: "Checkpoints", numeric: true, cell: (one) => count(one.checkpoint_count) },
        { name: "Created", cell: (one) => moment(one.created_at) },
        { name: "Last used", cell: (one) => moment(one.updated_at) },
        { name: "Expires", cell: (one) => moment(one.expires_at, "never") },
      ], found.items, "There are no threads."),
      pages("threads", { user }, offset, found.next_offset),
    ],
  };
}

function usersOf(thread) {
  const names = Object.keys(thread.users);
  if (!names.length) return id(null);
  return names.map((name, at) => [at > 0 && ", ", link("threads", { user: name }, stored(name))]);
}

/** One thread: its checkpoints with their sizes, and the messages of its latest state. */
export async function thread({ parameters, signal }) {
  const name = parameters.get("thread") ?? "";
  const user = parameters.get("user");
  const before = parameters.get("before");
  const own = { thread_id: name, user_id: user };
  const [sizes, messages] = await Promise.all([
    get("v1/thread/sizes", { ...own, before, limit: CHECKPOINTS }, signal),
    get("v1/thread/messages", { ...own, limit: MESSAGES }, signal),
  ]);
  if (!sizes.items.length && !before) throw new ApiError(404, "The thread does not exist.");
  const list = el("ol", { class: "messages", "aria-label": "Messages of the latest state" }, messages.items.map((one) => message(one)));
  const newest = sizes.items[0];
  return {
    title: `Thread ${plain(name, 80)}`,
    nodes: [
      newest && facts([
        ["Checkpoints on this page", count(sizes.items.length)],
        [before ? "Newest of them needs" : "Latest state needs", size(newest.bytes)],
        ["All of them added", size(sizes.items.reduce((sum, one) => sum + one.new_bytes, 0))],
      ]),
      el("h2", {}, "Checkpoints"),
      sizes.items.length > 0 && bars("Bytes that each checkpoint added", [...sizes.items].reverse().map((one) => [label(one), one.new_bytes]), { unit: "Added", shown: size }),
      table("Checkpoints, the newest first. A checkpoint shares values with others: it needs them, and adds only what is new.", [
        { name: "Step", header: true, cell: (one) => (one.step === null ? "?" : String(one.step)) },
        { name: "Made by", cell: (one) => stored(one.source ?? "") },
        { name: "Subgraph", cell: (one) => stored(one.namespace) },
        { name: "Created", cell: (one) => moment(one.created_at) },
        { name: "Channels", cell: (one) => stored(one.channels.join(", ")) },
        { name: "Pending writes", numeric: true, cell: (one) => count(one.writes) },
        { name: "Needs", numeric: true, cell: (one) => size(one.bytes) },
        { name: "Adds", numeric: true, cell: (one) => size(one.new_bytes) },
      ], sizes.items, "There are no checkpoints."),
      sizes.next_before !== null && el("p", {}, link("thread", { thread: name, user, before: sizes.next_before }, "Earlier checkpoints")),
      el("h2", {}, "Messages of the latest state"),
      messages.items.length
        ? [list, more("v1/thread/messages", messages, own, list)]
        : el("p", { class: "muted" }, "The state has no channel of messages, or it is empty."),
      el("h2", {}, "Delete"),
      threadRemover(name, user),
    ],
  };
}

function label(one) {
  return `${one.namespace ? `${one.namespace} ` : ""}step ${one.step ?? "?"}`;
}

function threadRemover(name, user) {
  const place = el("div", {});
  const button = el("button", {
    type: "button",
    on: {
      click: async () => {
        const what = [el("p", {}, "The thread ", stored(name), " is deleted with all its checkpoints. This cannot be undone.")];
        if (!(await confirmed("Delete the thread?", what, "Delete the thread"))) return;
        try {
          const done = await request("DELETE", "v1/thread", { query: { thread_id: name, user_id: user } });
          const text = done.changed ? "The thread was deleted." : "The thread did not exist any more.";
          const head = el("h3", { tabindex: "-1" }, "Receipt");
          place.replaceChildren(head, facts([["Result", text], ["Thread", stored(name)], ["Deleted at", moment(new Date().toISOString())]]),
            el("p", {}, link("threads", { user }, "Back to the threads")));
          button.disabled = true;
          head.focus();
          say(text);
        } catch (error) {
          place.replaceChildren(el("p", { class: "error", role: "alert" }, error.message));
        }
      },
    },
  }, "Delete this thread…");
  return [el("p", {}, button), place];
}

/** Forgetting a user: a question, and the receipt. */
export async function forget({ parameters }) {
  const user = parameters.get("user") ?? "";
  const place = el("div", {});
  const form = el("form", {
    on: {
      submit: async (event) => {
        event.preventDefault();
        const shared = new FormData(form).get("shared");
        const what = [el("p", {}, "Everything that is stored about ", stored(user), " is deleted. This cannot be undone.")];
        if (!(await confirmed("Forget the user?", what, "Forget the user"))) return;
        button.disabled = true;
        say("Deleting.");
        const wait = (left) => left.preventDefault(); // the receipt is not stored: ask before the page is left
        addEventListener("beforeunload", wait);
        try {
          showReceipt(place, await request("POST", "v1/forget", { body: { user_id: user, shared } }));
        } catch (error) {
          place.replaceChildren(el("p", { class: "error", role: "alert" }, error.message));
          button.disabled = false;
        }
        removeEventListener("beforeunload", wait);
      },
    },
  });
  const button = el("button", { type: "submit", class: "danger" }, "Forget this user…");
  form.append(
    el("p", {}, "This deletes the user's sessions, records, variables, threads, profile, facts, memories and entities, and clears the cache. Earlier messages never bring the knowledge back."),
    el("fieldset", {}, el("legend", {}, "Threads with other users"),
      choice("keep", "Keep them, and name them in the receipt", true), choice("delete", "Delete them too", false)),
    el("p", {}, button),
  );
  return { title: `Forget ${plain(user, 80)}`, nodes: [form, place] };
}

function choice(value, text, checked) {
  const name = `shared-${value}`;
  return el("p", { class: "choice" }, el("input", { type: "radio", name: "shared", id: name, value, checked }), el("label", { for: name }, text));
}

function showReceipt(place, found) {
  const head = el("h2", { tabindex: "-1" }, "Receipt");
  const download = el("a", {}, "Download the receipt as JSON");
  download.href = URL.createObjectURL(new Blob([JSON.stringify(found, null, 2)], { type: "application/json" }));
  download.download = "receipt.json";
  place.replaceChildren(head,
    facts([["User", stored(found.user_id)], ["Forgotten at", moment(found.forgotten_at)]]),
    table("Deleted", [
      { name: "What", header: true, cell: ([name]) => words(name) },
      { name: "Number", numeric: true, cell: ([, number]) => count(number) },
    ], Object.entries(found.deleted)),
    table("Kept", [
      { name: "What", header: true, cell: (one) => stored(`${one.kind} ${one.name}`) },
      { name: "Reason", cell: (one) => stored(one.reason) },
    ], found.kept, "Nothing was kept."),
    el("p", {}, "The receipt is not stored anywhere. ", download, "."));
  if (!place.isConnected) document.getElementById("main").prepend(place); // another view was opened in between
  head.focus();
  say("The user was forgotten. The receipt is shown.");
}
