// The server's APIs: requests, streams of lines, and whether the server answers at all.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const link = Object.assign(new EventTarget(), { isUp: true });
const RETRY_MS = 700;
const pause = () => new Promise((resolve) => setTimeout(resolve, RETRY_MS));

function setUp(isUp) {
  if (link.isUp === isUp) return;
  link.isUp = isUp;
  link.dispatchEvent(new Event("change"));
  if (!isUp) waitUntilUp();
}

async function waitUntilUp() {
  while (!link.isUp) {
    await pause();
    try {
      if ((await fetch("/readyz", { cache: "no-store" })).ok) setUp(true);
    } catch { /* not yet */ }
  }
}

async function send(method, path, body, { headers, signal, keepalive, isQuiet } = {}) {
  const type = body && { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, signal, keepalive, headers: { ...type, ...headers }, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!isQuiet) setUp(false);
    throw new ApiError("The server does not answer.", 0);
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

async function answer(...request) {
  const text = await (await send(...request)).text();
  return text ? JSON.parse(text) : {};
}

/** Return what an act returns; repeat it while the server does not answer. */
export async function untilAnswered(act) {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (error.status !== 0) throw error;
    }
    await pause();
  }
}

// Each of these returns the JSON of the answer.
export const get = (path, options) => answer("GET", path, undefined, options);
export const post = (path, body = {}, options = {}) => answer("POST", path, body, options);
export const remove = (path, body) => answer("DELETE", path, body);

/** Yield the objects of a streamed answer, one a line; an error in the middle is thrown. */
export async function* lines(path, body, options) {
  const response = await send("POST", path, body, options);
  let rest = "";
  try {
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const pieces = (rest + text).split("\n");
      rest = pieces.pop();
      for (const piece of pieces.filter((one) => one.trim())) {
        const found = JSON.parse(piece);
        if (found.error) throw new ApiError(found.error.message ?? found.error, 500);
        yield found;
      }
    }
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    setUp(false);
    throw new ApiError("The connection to the server broke.", 0);
  }
}

/** Return a query for a path. */
export const query = (values) => `?${new URLSearchParams(values)}`;
