// What changes by itself: events as they come, and data that is asked for again whenever something has happened.

import { Refused, address, ask, follow } from "./api.js";
import { useEffect, useRef, useState } from "./view.js";

const EVENTS_MAX = 200;
const CALM_MS = 700;
const POLL_MS = 5000;

const listeners = new Set();
const watchers = new Set();
let events = [];
let connected = false;
let waiting = 0;
let number = 0;

/** Begin to follow the daemon; ends with the session. */
export function begin() {
  const poll = setInterval(() => tell(), POLL_MS);
  follow(
    (event) => {
      events = [{ ...event, key: (number += 1) }, ...events.slice(0, EVENTS_MAX - 1)];
      for (const watch of watchers) watch(event);
      soon();
    },
    (open) => {
      connected = open;
      tell();
    },
  ).finally(() => clearInterval(poll));
}

/** Many events in a row are one change: views ask again at most every CALM_MS. */
function soon() {
  waiting ||= setTimeout(() => {
    waiting = 0;
    tell();
  }, CALM_MS);
}

/** Have every view ask again; after an order also what is else asked for less often. */
export function tell(ordered = false) {
  for (const listener of listeners) listener(ordered);
}

export function useLive() {
  const [, again] = useState(0);
  useEffect(() => listen(() => again((n) => n + 1)), []);
  return { events, connected };
}

/** Call back with each event as it comes. */
export function useEvents(callback) {
  const latest = useRef(callback);
  latest.current = callback;
  useEffect(() => {
    const watch = (event) => latest.current(event);
    watchers.add(watch);
    return () => watchers.delete(watch);
  }, []);
}

function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Ask for something, and again when something has happened. While one answer is under way no second is asked for: a slow
 * daemon is not asked ever faster. What was last known stays until the next answer comes.
 */
export function useData(path, params = {}, { every = 0 } = {}) {
  const key = path && address(path, params);
  const [state, setState] = useState({ key: null, path: null, data: null, error: null });
  const running = useRef({ key: null, again: false, asked: 0 });

  async function load() {
    const run = running.current;
    if (run.key === key) {
      run.again = true;
      return;
    }
    Object.assign(run, { key, again: false, asked: Date.now() });
    const outcome = await ask(path, params).then((data) => ({ data, error: null }), (error) => ({ data: null, error }));
    if (run.key !== key) return; // another question was asked meanwhile
    run.key = null;
    setState((old) => ({ key, path, error: outcome.error, data: outcome.error && old.key === key ? old.data : outcome.data }));
    if (run.again) load();
  }

  useEffect(() => {
    if (!key) return undefined;
    load();
    return listen((ordered) => {
      if (ordered || Date.now() - running.current.asked >= every) load();
    });
  }, [key]);
  useEffect(() => () => { running.current.key = "gone"; }, []);

  const same = state.path === path;
  return { data: same ? state.data : null, error: same ? state.error : null, fresh: state.key === key, reload: load };
}

export const forbidden = (error) => error instanceof Refused && error.status === 403;
export const missing = (error) => error instanceof Refused && error.status === 404;
