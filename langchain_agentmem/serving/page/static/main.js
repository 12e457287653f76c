// The page: it shows the view that the address names after `#`.

import { ApiError } from "./api.js";
import { conversation, sessions, users } from "./conversations.js";
import { askForKey } from "./dialogs.js";
import { add, el, link, say, stored } from "./dom.js";
import { memories, records, variables } from "./items.js";
import { entities, profile } from "./knowledge.js";
import { forget, statistics, thread, threads } from "./operation.js";

const VIEWS = { statistics, users, sessions, conversation, profile, memories, entities, threads, thread, variables, records, forget };
const OF_USER = [
  ["sessions", "Sessions"], ["profile", "Profile"], ["memories", "Memories"], ["entities", "Entities"], ["threads", "Threads"],
  ["variables", "Variables"], ["records", "Records"], ["forget", "Forget"],
];
const GROUPS = { conversation: "sessions", thread: "threads" };

const main = document.getElementById("main");
let running = null;

function current() {
  const [name, query] = location.hash.replace(/^#\//u, "").split(/\?(.*)/su);
  return { name: Object.hasOwn(VIEWS, name) ? name : "statistics", parameters: new URLSearchParams(query ?? "") };
}

async function show(moveFocus) {
  const { name, parameters } = current();
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  marks(name, parameters);
  main.setAttribute("aria-busy", "true");
  let title;
  let nodes;
  try {
    ({ title, nodes } = await VIEWS[name]({ parameters, signal }));
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) console.error(error);
    title = "Error";
    nodes = failure(error);
    if (error.status === 401) askAndShow(error.message);
  }
  if (signal.aborted) return;
  const heading = el("h1", { tabindex: "-1" }, title);
  main.replaceChildren(heading);
  add(main, [nodes]);
  main.setAttribute("aria-busy", "false");
  document.title = `${title} – Agent memory`;
  if (moveFocus) heading.focus();
}

function failure(error) {
  const text = error instanceof ApiError ? error.message : "This view could not be shown. The browser's console has the reason.";
  const again = el("button", { type: "button", on: { click: () => show(true) } }, "Try again");
  return [el("p", { class: "error", role: "alert" }, text), el("p", {}, again)];
}

async function askAndShow(reason) {
  if (await askForKey(reason)) await show(true);
}

function marks(name, parameters) {
  const group = GROUPS[name] ?? name;
  const user = parameters.get("user");
  for (const one of document.querySelectorAll("a[data-view]")) {
    if (user === null && one.dataset.view === group) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  const bar = document.getElementById("user-bar");
  bar.hidden = user === null;
  bar.replaceChildren();
  if (user === null) return;
  const links = OF_USER.map(([view, text]) => {
    const node = link(view, { user }, text);
    if (view === group) node.setAttribute("aria-current", "page");
    return el("li", {}, node);
  });
  add(bar, [el("nav", { "aria-label": "User" }, el("p", {}, "User ", el("strong", {}, stored(user))), el("ul", {}, links))]);
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("key-button").addEventListener("click", async () => {
  if (await askForKey()) {
    say("The API key was changed.");
    await show(true);
  }
});
addEventListener("hashchange", () => {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close(); // its question was about the former view
  show(true);
});
show(false);
