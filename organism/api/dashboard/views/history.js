// Charts over time: what was used, by whom, from the last hour to a month, or any time of one's own.

import { duration, instant, short, usd } from "../lib/format.js";
import { missing, useData } from "../lib/live.js";
import { link, refine } from "../lib/router.js";
import { html } from "../lib/view.js";
import { Card, Choices, Empty, Pending, Select } from "../parts/bits.js";
import { Chart } from "../parts/chart.js";

const MEASURES = {
  cost: ["Spend", usd], calls: ["Calls", short], tokens: ["Tokens", short], refusals: ["Refusals", short],
  latency: ["Latency", (value) => duration(value / 1e6)],
};
const BY = [["agent", "agent"], ["model", "model"], ["key", "key"]];
const RANGES = { hour: ["1 hour", 1, "minute"], day: ["24 hours", 24, "hour"], week: ["7 days", 7 * 24, "hour"], month: ["30 days", 30 * 24, "day"] };
const OWN = "own";
const HOUR_MS = 3_600_000;

export function History({ query }) {
  const chosen = { measure: "cost", by: "agent", range: "day", ...query };
  const change = (changes) => refine({ ...query, ...changes });
  const [title, say] = MEASURES[chosen.measure] ?? MEASURES.cost;
  const period = periodOf(chosen);
  const { data, error } = useData(period.wrong ? null : "/v1/usage/series", { measure: chosen.measure, by: chosen.by, ...period.asked }, { every: period.over ? 60_000 : 4000 });
  const choose = (range) => change(range === OWN ? { range, from: written(Date.now() - 24 * HOUR_MS), until: "" } : { range, from: "", until: "" });
  const label = chosen.by.startsWith("label:") ? chosen.by.slice(6) : "";
  const names = useData("/v1/usage", { by: "label" }, { every: 30_000 }).data;
  const labels = [...new Set(Object.keys(names?.groups ?? {}).map((pair) => pair.split("=")[0]).filter(Boolean).concat(label || []))];
  return html`
    <${Card} title="Over time" aside=${html`<div class="filters">
        <${Choices} label="Measure" value=${chosen.measure} options=${Object.entries(MEASURES).map(([name, [word]]) => [name, word])} onChoose=${(measure) => change({ measure })} />
        <${Select} label="by" value=${chosen.by} options=${[...BY, ...labels.map((name) => [`label:${name}`, `label ${name}`])]} onChoose=${(by) => change({ by })} />
        <${Choices} label="Time" value=${chosen.range} options=${[...Object.entries(RANGES).map(([name, [word]]) => [name, word]), [OWN, "from … to"]]} onChoose=${choose} />
      </div>`}>
      ${chosen.range === OWN && html`<${OwnPeriod} from=${query.from ?? ""} until=${query.until ?? ""} wrong=${period.wrong} onChoose=${change} />`}
      ${period.wrong ? null : missing(error) ? html`<${Empty}>This daemon keeps no sums over time.<//>` : html`
      <${Pending} data=${data} error=${error}>${(found) => html`<${Over} found=${found} title=${`${title} by ${chosen.by.replace("label:", "label ")}`}
        say=${say} stacked=${chosen.measure !== "latency"} />`}<//>`}
    <//>`;
}

/** What to ask for: steps that begin with a whole hour stay the same question while the answer changes. */
function periodOf({ range, from = "", until = "" }) {
  if (range !== OWN) {
    const [, hours, step] = RANGES[range] ?? RANGES.day;
    if (step === "minute") return { asked: { since: `${hours}h`, step } };
    return { asked: { since: written(Math.floor(Date.now() / HOUR_MS) * HOUR_MS - (hours - 1) * HOUR_MS), step } };
  }
  const [begin, end] = [Date.parse(from), until ? Date.parse(until) : Date.now()];
  if (Number.isNaN(begin) || Number.isNaN(end)) return { wrong: "Choose when it begins; without an end it goes on to now." };
  if (begin >= end) return { wrong: until ? "It ends before it begins." : "It begins in the future." };
  return { asked: { since: from, until }, over: Boolean(until) && end < Date.now() };
}

/** An instant as the address and the API have it, to the minute: the same one wherever the address is opened. */
const written = (time) => `${new Date(time).toISOString().slice(0, 16)}Z`;

/** An instant as a field has it: in the time of who looks. */
function local(text) {
  const time = Date.parse(text);
  return Number.isNaN(time) ? "" : new Date(time - new Date(time).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function OwnPeriod({ from, until, wrong, onChoose }) {
  const submit = (event) => {
    event.preventDefault();
    const [begin, end] = ["from", "until"].map((name) => event.target.elements[name].value);
    onChoose({ from: begin && written(new Date(begin).getTime()), until: end && written(new Date(end).getTime()) });
  };
  return html`
    <form class="filters period" aria-label="Period" onSubmit=${submit} key=${`${from}${until}`}>
      <label class="field inline">from <input type="datetime-local" name="from" defaultValue=${local(from)} aria-invalid=${wrong ? "true" : undefined} aria-describedby=${wrong ? "period-wrong" : undefined} /></label>
      <label class="field inline">to <input type="datetime-local" name="until" defaultValue=${local(until)} /></label>
      <button type="submit">Show</button>
      ${wrong ? html`<p id="period-wrong" class="problem" role="alert">${wrong}</p>` : !until && html`<span class="soft small">up to now</span>`}
    </form>`;
}

function Over({ found, title, say, stacked }) {
  const from = instant(found.from) / 1e6;
  const length = Math.max(0, ...found.series.map((one) => one.values.length));
  const times = found.starts_ns?.map((start) => start / 1e6) ?? Array.from({ length }, (_, place) => from + place * found.step_s * 1000);
  const daily = found.step_s >= 86_400;
  const long = times.at(-1) - times[0] > 24 * HOUR_MS || times[0] < Date.now() - 26 * HOUR_MS;
  const day = { day: "numeric", month: "short" };
  const hour = { hour: "2-digit", minute: "2-digit" };
  const when = (time) => new Date(time).toLocaleString("en-GB", daily ? day : long ? { ...day, ...hour } : hour);
  if (!found.series.some((one) => one.values.some(Boolean))) return html`<${Empty}>Nothing in this time. A task that calls a model shows here at once: <a href=${link("send")}>send one</a>.<//>`;
  return html`<${Chart} times=${times} series=${found.series} say=${say} when=${when} title=${title} stacked=${stacked} />`;
}
