// Charts over time: what was used, by whom, from the last hours to a month.

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
const RANGES = { day: ["24 hours", 24, "hour"], week: ["7 days", 7 * 24, "hour"], month: ["30 days", 30 * 24, "day"] };

export function History({ query }) {
  const chosen = { measure: "cost", by: "agent", range: "day", ...query };
  const change = (changes) => refine({ ...query, ...changes });
  const [, hours, step] = RANGES[chosen.range] ?? RANGES.day;
  const [title, say] = MEASURES[chosen.measure] ?? MEASURES.cost;
  // To the hour, so that the question stays the same while the answer changes.
  const since = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000 - (hours - 1) * 3_600_000).toISOString().replace(".000", "");
  const { data, error } = useData("/v1/usage/series", { measure: chosen.measure, by: chosen.by, since, step }, { every: 4000 });
  const label = chosen.by.startsWith("label:") ? chosen.by.slice(6) : "";
  const names = useData("/v1/usage", { by: "label" }, { every: 30_000 }).data;
  const labels = [...new Set(Object.keys(names?.groups ?? {}).map((pair) => pair.split("=")[0]).filter(Boolean).concat(label || []))];
  return html`
    <${Card} title="Over time" aside=${html`<div class="filters">
        <${Choices} label="Measure" value=${chosen.measure} options=${Object.entries(MEASURES).map(([name, [word]]) => [name, word])} onChoose=${(measure) => change({ measure })} />
        <${Select} label="by" value=${chosen.by} options=${[...BY, ...labels.map((name) => [`label:${name}`, `label ${name}`])]} onChoose=${(by) => change({ by })} />
        <${Choices} label="Time" value=${chosen.range} options=${Object.entries(RANGES).map(([name, [word]]) => [name, word])} onChoose=${(range) => change({ range })} />
      </div>`}>
      ${missing(error) ? html`<${Empty}>This daemon keeps no sums over time.<//>` : html`
      <${Pending} data=${data} error=${error}>${(found) => html`<${Over} found=${found} title=${`${title} by ${chosen.by.replace("label:", "label ")}`}
        say=${say} stacked=${chosen.measure !== "latency"} daily=${step === "day"} long=${hours > 24} />`}<//>`}
    <//>`;
}

function Over({ found, title, say, stacked, daily, long }) {
  const from = instant(found.from) / 1e6;
  const length = Math.max(0, ...found.series.map((one) => one.values.length));
  const times = found.starts_ns?.map((start) => start / 1e6) ?? Array.from({ length }, (_, place) => from + place * found.step_s * 1000);
  const day = { day: "numeric", month: "short" };
  const hour = { hour: "2-digit", minute: "2-digit" };
  const when = (time) => new Date(time).toLocaleString("en-GB", daily ? day : long ? { ...day, ...hour } : hour);
  if (!found.series.some((one) => one.values.some(Boolean))) return html`<${Empty}>Nothing in this time. A task that calls a model shows here at once: <a href=${link("send")}>send one</a>.<//>`;
  return html`<${Chart} times=${times} series=${found.series} say=${say} when=${when} title=${title} stacked=${stacked} />`;
}
