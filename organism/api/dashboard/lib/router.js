// Which view is shown: the part of the address behind the #. It is never sent to a server, and survives a reload.

import { useEffect, useState } from "./view.js";

/** The address in parts: `#/threads/th_1/ledger?content=1` is the view `threads`, the path `["th_1", "ledger"]`. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/").map(decode);
  return { view: view || "overview", path: rest.filter(Boolean), query: Object.fromEntries(new URLSearchParams(query)) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function link(view, path = [], query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const asked = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#/${[view, ...path].map(encodeURIComponent).join("/")}${asked}`;
}

export function go(...to) {
  location.hash = link(...to);
}

/** Change the query of the present view without a step in the browser's history. */
export function refine(query) {
  const { view, path } = here();
  history.replaceState(null, "", link(view, path, query));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function useHere() {
  const [at, setAt] = useState(here);
  useEffect(() => {
    const moved = () => setAt(here());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return at;
}
