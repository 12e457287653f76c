// Requests to the HTTP API. The key stays in this tab: in the session storage, or in memory where there is none.

const NAME = "agentmem-key";

let key = read();

function read() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null;
  }
}

/** Set the API key; null removes it. */
export function setKey(value) {
  key = value;
  try {
    if (value === null) sessionStorage.removeItem(NAME);
    else sessionStorage.setItem(NAME, value);
  } catch {
    // the key lasts until the page is closed
  }
}

/** Return true if there is an API key. */
export function hasKey() {
  return key !== null;
}

/** An error of the API, or of the connection to it (status 0). */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Send a request and return the JSON of the response. `path` is relative to this page. */
export async function request(method, path, { query = {}, body = null, signal = null } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const parameters = new URLSearchParams(given).toString();
  const headers = { Accept: "application/json" };
  if (key !== null) headers["X-API-Key"] = key;
  if (body !== null) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(`${path}${parameters ? `?${parameters}` : ""}`, document.baseURI.split("#")[0]), {
      method,
      headers,
      body: body === null ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The service cannot be reached. Check that it runs, and try again.");
  }
  let found = null;
  try {
    found = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (response.ok) throw new ApiError(response.status, "The response of the service is not JSON.");
  }
  if (!response.ok) {
    const reasons = (found?.errors ?? []).map((one) => `${one.where.join(".")}: ${one.reason}`);
    throw new ApiError(response.status, [found?.detail || `Status ${response.status}.`, ...reasons].join(" "));
  }
  return found;
}

/** Send a GET request. */
export function get(path, query = {}, signal = null) {
  return request("GET", path, { query, signal });
}
