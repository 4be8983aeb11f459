// The server's APIs: requests, streams of lines, and whether the server answers at all.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const link = Object.assign(new EventTarget(), { isUp: true });
const RETRY_MS = [300, 700, 1000, 2000];
let isLeft = false;  // the page, whose requests the browser breaks off
addEventListener("pagehide", () => { isLeft = true; });
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

function setUp(isUp) {
  if (link.isUp === isUp) return;
  link.isUp = isUp;
  link.dispatchEvent(new Event("change"));
  if (!isUp) waitUntilUp();
}

async function waitUntilUp() {
  for (let attempt = 0; !link.isUp; attempt += 1) {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]));
    try {
      if ((await fetch("/readyz", { cache: "no-store" })).ok) setUp(true);
    } catch { /* not yet */ }
  }
}

async function send(method, path, body, options) {
  const headers = { ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...options.headers };
  let response;
  try {
    response = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      signal: options.signal, keepalive: options.keepalive, credentials: "same-origin",
    });
  } catch (error) {
    if (isLeft) return new Promise(() => {});
    if (error.name !== "AbortError" && !options.isQuiet) setUp(false);
    throw error.name === "AbortError" ? error : new ApiError("The server does not answer.", 0);
  }
  setUp(true);
  if (response.status === 401) location.assign("/login");
  if (!response.ok) throw new ApiError(await reason(response), response.status);
  return response;
}

async function reason(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return typeof error === "string" ? error : error.message;
  } catch {
    return text.slice(0, 300) || `The server answered ${response.status}.`;
  }
}

/** Return the JSON of a GET. */
export async function get(path, options = {}) {
  return (await send("GET", path, undefined, options)).json();
}

/** Return the JSON of a POST. */
export async function post(path, body = {}, options = {}) {
  const text = await (await send("POST", path, body, options)).text();
  return text ? JSON.parse(text) : {};
}

/** Send a DELETE. */
export async function remove(path, body) {
  await send("DELETE", path, body, {});
}

/** Yield the objects of a streamed answer, one a line; an error in the middle is thrown. */
export async function* lines(path, body, options = {}) {
  const response = await send("POST", path, body, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const pieces = (rest + value).split("\n");
      rest = pieces.pop();
      for (const piece of pieces) {
        if (!piece.trim()) continue;
        const found = JSON.parse(piece);
        if (found.error) throw new ApiError(found.error.message ?? found.error, 500);
        yield found;
      }
    }
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    setUp(false);
    throw new ApiError("The connection to the server broke.", 0);
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Return a query for a path. */
export const query = (values) => `?${new URLSearchParams(values)}`;
