// The page: who may see it, where one goes in it, and what stands around every view.

import { Refused, sessions } from "./lib/api.js";
import { short } from "./lib/format.js";
import { begin, useData, useLive } from "./lib/live.js";
import { go, link, useHere } from "./lib/router.js";
import { nextTheme, theme } from "./lib/theme.js";
import { html, render, useEffect, useRef, useState } from "./lib/view.js";
import { Dialog, Toast } from "./parts/dialog.js";
import { Icon } from "./parts/icons.js";
import { Agents } from "./views/agents.js";
import { Approvals } from "./views/approvals.js";
import { Budgets } from "./views/budgets.js";
import { Exporters } from "./views/exporters.js";
import { Keys } from "./views/keys.js";
import { Letters } from "./views/letters.js";
import { Overview } from "./views/overview.js";
import { Reference } from "./views/reference.js";
import { Send } from "./views/send.js";
import { Thread } from "./views/thread.js";
import { Threads } from "./views/threads.js";

const VIEWS = [
  ["overview", "Overview", "o", Overview], ["threads", "Threads", "t", Threads], ["budgets", "Budgets", "b", Budgets], ["agents", "Agents", "a", Agents],
  ["approvals", "Approvals", "p", Approvals], ["letters", "Dead letters", "d", Letters], ["keys", "Keys", "k", Keys], ["health", "Health", "h", Exporters],
  ["api", "API", "r", Reference],
];
const byName = new Map([...VIEWS.map(([name, , , view]) => [name, view]), ["send", Send]]);

function App() {
  const [open, setOpen] = useState(sessions.take);
  const [why, setWhy] = useState("");
  useEffect(() => sessions.onOver(() => {
    setWhy("The session has ended. Open it again.");
    setOpen(false);
  }), []);
  return open ? html`<${Shell} />` : html`<${Login} why=${why} onOpen=${() => setOpen(true)} />`;
}

function Login({ why, onOpen }) {
  const [error, setError] = useState(why);
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    const { token, keep } = Object.fromEntries(new FormData(event.target));
    try {
      await sessions.open(token.trim());
      sessions.keep(keep === "on");
      onOpen();
    } catch (refused) {
      setError(refused instanceof Refused && refused.status === 401 ? "That is no valid token." : refused.message);
    }
  };
  return html`
    <main class="login"><form id="login" class="card" onSubmit=${submit}>
      <h1>organism</h1>
      <p>Paste a token, or open the link that <code>organism dashboard</code> prints.</p>
      <label class="field">Token<input id="token" name="token" type="password" autocomplete="off" spellcheck="false" required ref=${field} /></label>
      <label class="check"><input type="checkbox" name="keep" /> stay open when this tab is loaded again</label>
      <p id="login-error" class="problem" role="alert">${error}</p>
      <button type="submit" class="primary">Open</button>
    </form></main>`;
}

function Shell() {
  const at = useHere();
  const { data: status, error } = useData("/v1/status");
  useEffect(begin, []);
  useKeys();
  const name = status?.name ?? "organism";
  const title = at.view === "threads" && at.path[0] ? at.path[0] : VIEWS.find(([view]) => view === at.view)?.[1] ?? "New task";
  useEffect(() => { document.title = `${title} · ${name}`; }, [title, name]);
  const View = at.view === "threads" && at.path.length ? Thread : byName.get(at.view) ?? Lost;
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <div class="shell">
      <${Sidebar} at=${at} status=${status} error=${error} name=${name} />
      <main id="main" tabindex="-1">
        <${Toast} />
        <${View} key=${`${at.view}/${at.path[0] ?? ""}`} path=${at.path} query=${at.query} status=${status} />
      </main>
    </div>
    <${Dialog} />`;
}

function skip(event) {
  event.preventDefault(); // the address says where one is, so it cannot say where to skip to
  document.getElementById("main").focus();
}

const Lost = () => html`<div class="card empty"><h1>No such page</h1><a class="button" href=${link("overview")}>Overview</a></div>`;

function Sidebar({ at, status, error, name }) {
  const list = useRef(null);
  useEffect(() => list.current.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [at.view]);
  const marks = { approvals: status?.approvals, letters: status?.dead_letters, threads: status?.threads.blocked, health: status?.set_aside };
  return html`
    <header class="side">
      <a class="brand" href=${link("overview")}><img src="/dashboard/icon.svg" alt="" width="24" height="24" /><span id="name">${name}</span></a>
      <a class="button primary" href=${link("send")}>New task</a>
      <nav aria-label="Views"><ul ref=${list}>
        ${VIEWS.map(([view, title, key]) => html`<li key=${view}><a href=${link(view)} aria-current=${at.view === view ? "page" : undefined} title=${`g ${key}`}>
          <${Icon} name=${view} />${title}
          ${marks[view] > 0 && html`<span class="badge" aria-label=${`${marks[view]} waiting`}>${short(marks[view])}</span>`}</a></li>`)}
      </ul></nav>
      <div class="foot">
        <${Connection} status=${status} error=${error} />
        <${Preferences} />
      </div>
    </header>`;
}

function Connection({ status, error }) {
  const { connected } = useLive();
  const words = error ? "no answer" : connected ? "live" : "reconnecting";
  return html`<p id="connection" class=${connected && !error ? "connection on" : "connection"}><i aria-hidden="true"></i><span role="status">${words}</span>
    ${status && html` <span class="soft">mode ${status.mode}${status.accepting ? "" : ", takes no new threads"}</span>`}</p>`;
}

function Preferences() {
  const [chosen, setChosen] = useState(theme);
  const [kept, setKept] = useState(sessions.kept);
  return html`
    <div class="preferences">
      <button type="button" class="quiet" onClick=${() => setChosen(nextTheme())} aria-label=${`colours: ${chosen}; change`}>${{ system: "◐ as the system", light: "☀ light", dark: "☾ dark" }[chosen]}</button>
      <label class="check" title="Keeps the session in this tab's storage until it is closed"><input type="checkbox" checked=${kept}
        onChange=${(event) => { sessions.keep(event.target.checked); setKept(event.target.checked); }} /> stay open on reload</label>
    </div>`;
}

/** The keyboard: g and a letter go to a view, / to the search, n to a new task. */
function useKeys() {
  useEffect(() => {
    let before = "";
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
      const view = before === "g" && VIEWS.find(([, , key]) => key === event.key);
      before = event.key;
      if (view) go(view[0]);
      else if (event.key === "n") go("send");
      else if (event.key === "/") {
        const search = document.querySelector("input[type=search]");
        if (search) search.focus();
        else go("threads");
        event.preventDefault();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

render(html`<${App} />`, document.getElementById("app"));
