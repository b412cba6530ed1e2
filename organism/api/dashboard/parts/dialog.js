// Questions before orders, and a line that tells how they went.

import { unit, unitNames } from "../lib/format.js";
import { tell } from "../lib/live.js";
import { html, useEffect, useRef, useState } from "../lib/view.js";

let show = () => {};
let announce = () => {};
let number = 0;

/** Say in one line how something went; screen readers read it out. */
export function say(text, kind = "") {
  announce({ text, kind });
}

/**
 * Ask before an order is given, give it, and tell how it went.
 *
 * `fields` are inputs of the dialog, such as a note or new limits; the order is given their values by name.
 */
export async function act({ question, yes, order, done, fields = [], danger = false }) {
  const values = await new Promise((resolve) => show({ number: (number += 1), question, yes, fields, danger, resolve }));
  if (values === null) return false;
  try {
    const answer = await order(values);
    say(typeof done === "function" ? done(answer) : done);
  } catch (error) {
    say(error.message, "error");
  }
  tell(true);
  return true;
}

export const NOTE = { name: "note", label: "Why, for the agent (may stay empty)", maxlength: 2000 };
export const REASON = { name: "reason", label: "Why, for those who are refused (may stay empty)", maxlength: 500 };

const WHOLE = { inputmode: "numeric", pattern: "[0-9]+", title: "a whole number" };
const DECIMAL = { inputmode: "decimal", pattern: "[0-9]+(\\.[0-9]+)?", title: "such as 2.50" };

export function limitFields(values) {
  return unitNames.map((name) => {
    const people = unit(name);
    const label = people[0].toUpperCase() + people.slice(1);
    return { name, label, value: values[name], ...(name === "usd" ? DECIMAL : WHOLE) };
  });
}

/** The one dialog of the page. The answer that does nothing has the focus. */
export function Dialog() {
  const [asked, setAsked] = useState(null);
  const box = useRef(null);
  const no = useRef(null);
  show = setAsked;
  useEffect(() => {
    if (!asked) return;
    box.current.showModal();
    no.current.focus();
  }, [asked]);
  if (!asked) return null;
  // The event of a dialog that has closed comes later, when the next question may be asked already: it answers only its own.
  const answer = (values) => {
    setAsked((now) => (now === asked ? null : now));
    asked.resolve(values);
  };
  const submitted = (event) => {
    event.preventDefault();
    const values = event.submitter?.value === "no" ? null : Object.fromEntries(new FormData(event.target));
    box.current.close();
    answer(values);
  };
  return html`
    <dialog ref=${box} key=${asked.number} onClose=${() => answer(null)} aria-labelledby="question">
      <form onSubmit=${submitted}>
        <p id="question">${asked.question}</p>
        ${asked.fields.map(({ label, ...field }) => html`
          <label class="field" key=${field.name}>${label}<input type="text" autocomplete="off" ...${field} /></label>`)}
        <div class="actions">
          <button type="submit" value="no" formnovalidate ref=${no}>Leave it</button>
          <button type="submit" value="yes" class=${asked.danger ? "danger" : "primary"}>${asked.yes}</button>
        </div>
      </form>
    </dialog>`;
}

export function Toast() {
  const [said, setSaid] = useState({ text: "", kind: "" });
  announce = setSaid;
  useEffect(() => {
    const timer = setTimeout(() => setSaid({ text: "", kind: "" }), 8000);
    return () => clearTimeout(timer);
  }, [said]);
  return html`<p id="said" role="status" aria-live="polite" class=${`toast ${said.kind}`}>${said.text}</p>`;
}
