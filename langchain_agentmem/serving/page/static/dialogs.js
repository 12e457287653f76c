// The dialogs: the API key, and the question before data is deleted.

import { hasKey, setKey } from "./api.js";

const byId = (name) => document.getElementById(name);

/** Ask for the API key. `reason` is shown as an error; resolves to true if the key changed. */
export function askForKey(reason = "") {
  const dialog = byId("key-dialog");
  const error = byId("key-error");
  error.textContent = reason;
  error.hidden = !reason;
  byId("key").value = "";
  byId("key-remove").hidden = !hasKey();
  return new Promise((resolve) => {
    const done = new AbortController();
    const on = (node, event, handler) => node.addEventListener(event, handler, { signal: done.signal });
    let changed = false;
    on(byId("key-form"), "submit", (event) => {
      event.preventDefault();
      setKey(byId("key").value.trim());
      changed = true;
      dialog.close();
    });
    on(byId("key-remove"), "click", () => {
      setKey(null);
      changed = true;
      dialog.close();
    });
    on(byId("key-cancel"), "click", () => dialog.close());
    on(dialog, "close", () => {
      done.abort();
      byId("key").value = "";
      resolve(changed);
    });
    if (!dialog.open) dialog.showModal();
    byId("key").focus();
  });
}

/** Ask before data is deleted; resolves to true if the person agrees. `content` are nodes. */
export function confirmed(title, content, action) {
  const dialog = byId("confirm-dialog");
  byId("confirm-title").textContent = title;
  byId("confirm-text").replaceChildren(...content);
  byId("confirm-action").textContent = action;
  return new Promise((resolve) => {
    const done = new AbortController();
    const on = (node, event, handler) => node.addEventListener(event, handler, { signal: done.signal });
    let agreed = false;
    on(byId("confirm-form"), "submit", (event) => {
      event.preventDefault();
      agreed = true;
      dialog.close();
    });
    on(byId("confirm-cancel"), "click", () => dialog.close());
    on(dialog, "close", () => {
      done.abort();
      resolve(agreed);
    });
    dialog.showModal();
    byId("confirm-cancel").focus();
  });
}
