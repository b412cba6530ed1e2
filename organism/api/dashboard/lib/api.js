// Talks to the daemon. The session lives in this module; only a person's own choice keeps it in the tab's storage.

const KEPT = "organism.session";
let session = "";
let whenOver = () => {};

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || `the daemon answered ${status}`);
    this.status = status;
    this.code = problem.code || "";
  }
}

export const sessions = {
  /** Take a session that came in the address; what follows the # is never sent to a server. */
  take() {
    const found = new URLSearchParams(location.hash.slice(1)).get("session");
    if (found) {
      session = found;
      history.replaceState(null, "", location.pathname);
    }
    session ||= sessionStorage.getItem(KEPT) || "";
    return Boolean(session);
  },
  /** Exchange a token for a session of some hours, which the daemon keeps in memory only. */
  async open(token) {
    session = (await (await request("POST", "/v1/sessions", { token })).json()).secret;
  },
  /** Keep the session while this tab is open, so that loading the page again needs no token; or keep it no more. */
  keep(yes) {
    if (yes) sessionStorage.setItem(KEPT, session);
    else sessionStorage.removeItem(KEPT);
  },
  kept: () => sessionStorage.getItem(KEPT) !== null,
  forget() {
    session = "";
    sessionStorage.removeItem(KEPT);
  },
  onOver(callback) {
    whenOver = callback;
  },
};

/** Send a request with its body as it is written, and return what comes back, whatever it is. */
export async function exchange(method, path, { text, token = session, signal } = {}) {
  const headers = { authorization: `Bearer ${token}` };
  // Random numbers come from the browser on every origin; randomUUID only where the connection is secure.
  if (method !== "GET") headers["idempotency-key"] = [...crypto.getRandomValues(new Uint32Array(4))].join("-");
  if (text !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers, signal, body: text });
  if (answer.status === 401 && token === session && session) {
    sessions.forget();
    whenOver();
  }
  return answer;
}

async function request(method, path, { body, token = session, signal } = {}) {
  const answer = await exchange(method, path, { text: body === undefined ? undefined : JSON.stringify(body), token, signal });
  if (answer.ok) return answer;
  throw new Refused(answer.status, await answer.json().catch(() => ({})));
}

/** Return a path with a query; parameters without a value are left out, lists repeat their name. */
export function address(path, params = {}) {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(given.flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => [name, String(one)])));
  return query.size ? `${path}?${query}` : path;
}

export async function ask(path, params = {}, signal = undefined) {
  return (await request("GET", address(path, params), { signal })).json();
}

export async function order(method, path, body) {
  return (await request(method, path, { body })).json();
}

/** Follow events and call back with each, for as long as the session lasts; says whenever the stream opens or ends. */
export async function follow(onEvent, onOpen) {
  let last = null;
  while (session) {
    try {
      const answer = await request("GET", address("/v1/events", { after: last }));
      onOpen(true);
      for await (const frame of frames(answer.body)) {
        last = frame.id ?? last;
        onEvent(JSON.parse(frame.data).data);
      }
    } catch (error) {
      if (error instanceof Refused && [401, 403].includes(error.status)) return onOpen(false);
      if (error instanceof Refused && error.status === 410) last = null;
    }
    onOpen(false);
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

async function* frames(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += decoder.decode(value, { stream: true });
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const frame = {};
      for (const line of block.split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) frame[line.slice(0, colon)] = line.slice(colon + 2);
      }
      if (frame.data) yield frame;
    }
  }
}
