// Keys and tokens: listed, made and revoked, for whoever may. A secret is on the page until it is seen, and nowhere else.

import { Refused, ask, order } from "./api.js";
import { el } from "./draw.js";
import { amount, limits } from "./format.js";

const $ = (id) => document.getElementById(id);
let mayAdmin = true;
let redraw = () => {};

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
    el("td", {}, token.expires_ns === null ? "for ever" : new Date(token.expires_ns / 1e6).toLocaleString()),
    el("td", { class: "do" }, token.name === "owner" ? "" : button("revoke", `revoke:${token.name}`,
      () => confirm(`Revoke ${token.name} now? Whoever has it gets no further.`, "Revoke it",
        () => order("DELETE", `/v1/tokens/${token.name}`), `${token.name} revoked`), "danger", token.name)))));
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/** The limits of a token in words. */
function most(given) {
  if (!given) return "as configured";
  const nothing = { tokens: 0, cost_nanousd: 0, calls: 0 };
  return limits({ limits: given, spent: nothing, held: nothing, elapsed_ns: 0 })
    .map(({ dimension, limit }) => amount(dimension, limit)).join(", ");
}

function asked() {
  const whole = (id) => ($(id).value.trim() ? Number($(id).value.trim()) : undefined);
  const usd = $("key-usd").value.trim() || undefined;
  const bounds = usd === undefined && whole("key-tokens") === undefined ? undefined : { usd, tokens: whole("key-tokens") };
  return { name: $("key-name").value.trim(), scopes: [$("key-scope").value], days: whole("key-days"), limits: bounds };
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
$("key-seen").addEventListener("click", () => {
  hideSecret();
  $("keys-title").focus();
});
