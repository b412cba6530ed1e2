// What people are asked, and their answers.

import { amount, count, span, usd } from "../lib/format.js";
import { forbidden, useData } from "../lib/live.js";
import { link } from "../lib/router.js";
import { scope } from "../lib/scopes.js";
import { html, useState } from "../lib/view.js";
import { Ago, Pending, Title } from "../parts/bits.js";
import { Answers, asksFor } from "../parts/threads.js";

const PAGE = 50;

/** What exactly is asked is content: one who may not see it is shown that something is asked, and cannot answer. */
export function Approvals({ status }) {
  const [shown, setShown] = useState(PAGE);
  const whole = useData("/v1/approvals", { content: "true", limit: shown });
  const may = !forbidden(whole.error);
  const bare = useData(may ? null : "/v1/approvals", { limit: shown });
  const { data, error } = may ? whole : bare;
  return html`
    <${Title}>Waiting for a person<//>
    <${Pending} data=${data} error=${error} empty="Nothing waits for a person. Tools with approval: ask, agents that ask for more budget and limits with a threshold that approves are answered here.">${(asked) => html`
      <ul class="asked">${asked.map((one) => html`<li class="card" key=${one.id}>
        <p><strong>${one.agent}</strong> ${asksFor(one)} in <a class="id" href=${link("threads", [one.thread_id])}>${one.thread_id}</a>,
          ${" "}<${Ago} ns=${one.asked_ns} /> ago</p>
        ${one.budget && html`<p>More budget: ${[one.budget.cost_nanousd ? usd(one.budget.cost_nanousd) : "", one.budget.tokens ? amount("tokens", one.budget.tokens) : ""].filter(Boolean).join(" and ")}${one.budget.seconds ? ` for ${span(one.budget.seconds)}` : ""}</p>`}
        ${one.account && !one.detail && html`<p>At ${one.threshold} % of ${scope(one.account)}, a person must let it go on.</p>`}
        ${one.detail && html`<pre tabindex="0" aria-label="what exactly is asked">${one.detail}</pre>`}
        ${may ? html`<${Answers} asked=${one} />` : html`<p class="soft">To answer takes a token with the scope operate.</p>`}</li>`)}</ul>
      ${status?.approvals > asked.length && html`<button type="button" onClick=${() => setShown(shown + PAGE)}>Show more of ${count(status.approvals)}</button>`}`}
    <//>`;
}
