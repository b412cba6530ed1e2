// Dead letters: messages that were given up on, sent again or forgotten.

import { order } from "../lib/api.js";
import { count } from "../lib/format.js";
import { forbidden, useData } from "../lib/live.js";
import { link } from "../lib/router.js";
import { html, useState } from "../lib/view.js";
import { Ago, Do, Pending, Title } from "../parts/bits.js";
import { act } from "../parts/dialog.js";

const PAGE = 50;

export function Letters({ status }) {
  const [shown, setShown] = useState(PAGE);
  const [content, setContent] = useState(false);
  const { data, error } = useData("/v1/dead-letters", { content: content ? "true" : "", limit: shown });
  return html`
    <${Title} aside=${html`<label class="check"><input type="checkbox" checked=${content} onChange=${(event) => setContent(event.target.checked)} /> show what they say</label>`}>Dead letters<//>
    ${forbidden(error) && html`<p class="problem" role="alert">What messages say takes a token with the scope operate.</p>`}
    <${Pending} data=${data} error=${error} empty="No message was given up on. One whose handler fails five times comes here, to be sent again or discarded.">${(letters) => html`
      <ul class="asked">${letters.map((letter) => html`<${Letter} key=${letter.message_id} letter=${letter} />`)}</ul>
      ${status?.dead_letters > letters.length && html`<button type="button" onClick=${() => setShown(shown + PAGE)}>Show more of ${count(status.dead_letters)}</button>`}`}
    <//>`;
}

function Letter({ letter }) {
  const id = letter.message_id;
  const retry = () => act({ question: `Send the message to ${letter.recipient} again? What it does is paid again.`, yes: "Send it",
    order: () => order("POST", `/v1/dead-letters/${encodeURIComponent(id)}/retry`), done: (answer) => `sent again in ${answer.thread_id}` });
  const discard = () => act({ question: `Forget the message to ${letter.recipient}? It cannot be brought back.`, yes: "Forget it", danger: true,
    order: () => order("DELETE", `/v1/dead-letters/${encodeURIComponent(id)}`), done: "forgotten" });
  return html`
    <li class="card">
      <p><strong>${letter.message_type}</strong> of ${letter.sender} to <strong>${letter.recipient}</strong> in <a class="id" href=${link("threads", [letter.thread_id])}>${letter.thread_id}</a>,
        ${" "}<${Ago} ns=${letter.created_ns} /> ago</p>
      <p class="over">${letter.reason.replaceAll("_", " ")}${letter.detail && `: ${letter.detail}`}</p>
      ${letter.where && html`<p class="soft">at <code>${letter.where}</code></p>`}
      ${letter.text !== null && html`<pre tabindex="0" aria-label="what it says">${letter.text}</pre>`}
      <span class="row"><${Do} kind="primary" about=${id} onClick=${retry}>retry<//><${Do} kind="danger" about=${id} onClick=${discard}>discard<//></span>
    </li>`;
}
