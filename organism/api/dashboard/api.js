// Talks to the daemon. The session lives in this module and nowhere else: no cookie, no storage, no address.

let session = "";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || `the daemon answered ${status}`);
    this.status = status;
  }
}

async function request(method, path, { body, token = session, signal } = {}) {
  const headers = { authorization: `Bearer ${token}` };
  if (method !== "GET") headers["idempotency-key"] = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

/** Exchange a token for a session of some hours, which the daemon keeps in memory only. */
export async function openSession(token) {
  session = (await (await request("POST", "/v1/sessions", { token })).json()).secret;
}

/** Take a session that came in the address; what follows the # is never sent to a server. */
export function takeSession() {
  const found = new URLSearchParams(location.hash.slice(1)).get("session");
  if (found) {
    session = found;
    history.replaceState(null, "", location.pathname);
  }
  return Boolean(session);
}

export function forgetSession() {
  session = "";
}

export async function ask(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => [name, one])));
  return (await request("GET", query.size ? `${path}?${query}` : path)).json();
}

export async function order(method, path, body) {
  return (await request(method, path, { body })).json();
}

/** Follow events and call back with each; comes back with the id of the last one when the stream ends. */
export async function follow(onEvent, onOpen) {
  let last = null;
  for (;;) {
    const path = last === null ? "/v1/events" : `/v1/events?after=${last}`;
    try {
      const answer = await request("GET", path);
      onOpen(true);
      for await (const frame of frames(answer.body)) {
        const event = JSON.parse(frame.data);
        last = frame.id ?? last;
        onEvent(event);
      }
    } catch (error) {
      if (error instanceof Refused && [401, 403].includes(error.status)) throw error;
      if (error instanceof Refused && error.status === 410) last = null;
    }
    onOpen(false);
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

async function* frames(stream) {
  const decoder = new TextDecoder();
  let buffer = "";
  for await (const chunk of chunks(stream)) {
    buffer += decoder.decode(chunk, { stream: true });
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

async function* chunks(stream) {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
