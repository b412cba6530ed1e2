// Keys and tokens: listed, made, limited and revoked, for whoever may. A secret is on the page until it is seen, and nowhere else.

import { Refused, ask, order } from "./api.js";
import { el } from "./draw.js";
import { amount, limits } from "./format.js";

const $ = (id) => document.getElementById(id);
let mayAdmin = true;
let redraw = () => {};
let limiting = null;

/** Show the keys; who may not see them is shown nothing. */
export async function showKeys(button, confirm) {
  redraw = () => showKeys(button, confirm);
  if (!mayAdmin) return;
  let found;
  try {
    found = await ask("/v1/tokens");
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 403) throw error;
    mayAdmin = false;
    return;
  }
  const focused = document.activeElement?.dataset?.key;
  $("keys").hidden = false;
  $("keys-list").replaceChildren(...found.map((token) => el("tr", {},
    el("td", {}, token.name),
    el("td", {}, token.scopes.join(", ")),
    el("td", {}, most(token.limits)),
    el("td", {}, token.source === "configuration" ? "it is in the configuration" :
      token.expires_ns === null ? "for ever" : new Date(token.expires_ns / 1e6).toLocaleString()),
    el("td", { class: "do" }, ...orders(token, button, confirm)))));
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/** What can be ordered of a token: nothing of the first one, nor of a key that stands in the configuration. */
function orders(token, button, confirm) {
  if (token.name === "owner" || token.source === "configuration") return [];
  const bound = token.scopes.includes("send") && token.scopes.every((scope) => ["read", "send"].includes(scope));
  return [
    bound ? button("limit", `limit:${token.name}`, () => beginLimiting(token), "", token.name) : "",
    button("revoke", `revoke:${token.name}`,
      () => confirm(`Revoke ${token.name} now? Whoever has it gets no further.`, "Revoke it",
        () => order("DELETE", `/v1/tokens/${token.name}`), `${token.name} revoked`), "danger", token.name),
  ];
}

/** Let the form change the limits of a token that there is, instead of making one. */
function beginLimiting(token) {
  $("key-form").reset();
  setLimiting(token);
  $("key-name").value = token.name;
  $("key-usd").value = token.limits?.cost_nanousd == null ? "" : String(token.limits.cost_nanousd / 1e9);
  $("key-tokens").value = token.limits?.tokens ?? "";
  $("key-usd").focus();
}

function setLimiting(token) {
  limiting = token;
  $("key-name").readOnly = token !== null;
  $("key-scope").disabled = $("key-days").disabled = token !== null;
  $("key-submit").textContent = token === null ? "Make it" : "Limit it";
  $("key-leave").hidden = token === null;
  $("key-error").textContent = "";
}

/** The limits of a token in words. */
function most(given) {
  if (!given) return "as configured";
  const nothing = { tokens: 0, cost_nanousd: 0, calls: 0 };
  return limits({ limits: given, spent: nothing, held: nothing, elapsed_ns: 0 })
    .map(({ dimension, limit }) => amount(dimension, limit)).join(", ");
}

const whole = (id) => ($(id).value.trim() ? Number($(id).value.trim()) : undefined);

/** The limits that the form says; those that it has no field for stay. */
function bounds(kept) {
  const seconds = kept?.elapsed_ns == null ? undefined : Math.floor(kept.elapsed_ns / 1e9);
  const given = { usd: $("key-usd").value.trim() || undefined, tokens: whole("key-tokens"), calls: kept?.calls ?? undefined, seconds };
  return Object.values(given).some((value) => value !== undefined) ? given : undefined;
}

function asked() {
  return { name: $("key-name").value.trim(), scopes: [$("key-scope").value], days: whole("key-days"), limits: bounds() };
}

function hideSecret() {
  $("key-secret").textContent = "";
  $("key-made").hidden = true;
}

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  hideSecret();
  $("key-error").textContent = "";
  try {
    if (limiting !== null) {
      await order("PATCH", `/v1/tokens/${limiting.name}`, { limits: bounds(limiting.limits) ?? null });
      $("key-form").reset();
      await redraw();
      return;
    }
    const made = await order("POST", "/v1/tokens", asked());
    $("key-made-name").textContent = made.name;
    $("key-secret").textContent = made.secret;
    $("key-made").hidden = false;
    $("key-form").reset();
    $("key-secret").focus();
    await redraw();
  } catch (error) {
    $("key-error").textContent = error.message;
  }
});
$("key-form").addEventListener("reset", () => setLimiting(null));
$("key-seen").addEventListener("click", () => {
  hideSecret();
  $("keys-title").focus();
});
