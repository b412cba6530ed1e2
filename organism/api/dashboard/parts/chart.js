// A chart of sums over time: stacked columns, a legend, the figures under the pointer, and the same as a table.

import { html, useLayoutEffect, useRef, useState } from "../lib/view.js";

const SERIES_MAX = 7;
const HEIGHT = 220;
const LEFT_LEAST = 56, LETTER = 6.4, TOP = 12, BOTTOM = 24;

/** The largest series by name, and all others as one. */
export function largest(series) {
  const sized = series.map((one) => ({ ...one, sum: one.values.reduce((sum, value) => sum + (value ?? 0), 0) }))
    .filter((one) => one.sum > 0).sort((a, b) => b.sum - a.sum);
  if (sized.length <= SERIES_MAX) return sized;
  const rest = sized.slice(SERIES_MAX - 1);
  const values = rest[0].values.map((_, place) => rest.reduce((sum, one) => sum + (one.values[place] ?? 0), 0));
  return [...sized.slice(0, SERIES_MAX - 1), { name: `${rest.length} others`, values, sum: values.reduce((a, b) => a + b, 0) }];
}

/** Round up to 1, 2 or 5 times a power of ten, so that lines stand at numbers that people read. */
function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((top) => top >= value);
}

function useWidth() {
  const box = useRef(null);
  const [width, setWidth] = useState(720);
  useLayoutEffect(() => {
    const measure = new ResizeObserver(([entry]) => setWidth(Math.max(240, Math.round(entry.contentRect.width))));
    measure.observe(box.current);
    return () => measure.disconnect();
  }, []);
  return [box, width];
}

/**
 * Draw series whose values stand at the same instants.
 *
 * `stacked` adds them up, as sums can be; else each is a line, as latencies are. `say` writes a value, `when` an instant.
 */
export function Chart({ times, series, say, when, title, stacked = true }) {
  const [box, width] = useWidth();
  const [at, setAt] = useState(null);
  const shown = largest(series);
  const sums = times.map((_, place) => shown.reduce((sum, one) => sum + (one.values[place] ?? 0), 0));
  const highest = stacked ? Math.max(0, ...sums) : Math.max(0, ...shown.flatMap((one) => one.values.map((value) => value ?? 0)));
  const top = roundUp(highest);
  const left = Math.max(LEFT_LEAST, ...[1, 0.75, 0.5, 0.25].map((part) => 14 + LETTER * say(top * part).length));
  const plot = { width: width - left - 8, height: HEIGHT - TOP - BOTTOM };
  const y = (value) => TOP + plot.height * (1 - value / top);
  const step = plot.width / Math.max(1, times.length);
  const every = Math.max(1, Math.ceil(times.length / Math.max(2, Math.floor(plot.width / 90))));
  const move = (event) => {
    const place = Math.floor((event.clientX - event.currentTarget.getBoundingClientRect().left - left) / step);
    setAt(place >= 0 && place < times.length ? place : null);
  };
  return html`
    <figure class="chart" ref=${box}>
      <svg width=${width} height=${HEIGHT} viewBox=${`0 0 ${width} ${HEIGHT}`} role="img" aria-label=${`${title}; the table below says the same`}
        onPointerMove=${move} onPointerLeave=${() => setAt(null)}>
        ${[0, 0.25, 0.5, 0.75, 1].map((part) => html`
          <g key=${part}><line class="grid" x1=${left} x2=${width - 8} y1=${y(top * part)} y2=${y(top * part)} />
          <text class="axis" x=${left - 8} y=${y(top * part) + 4} text-anchor="end">${say(top * part)}</text></g>`)}
        ${at !== null && html`<rect class="under" x=${left + at * step} y=${TOP} width=${step} height=${plot.height} />`}
        ${stacked ? columns(times, shown, { left, step, y }) : lines(shown, { left, step, y })}
        ${times.map((time, place) => place % every === 0 && left + place * step + 60 < width && html`
          <text key=${time} class="axis" x=${left + place * step} y=${HEIGHT - 6}>${when(time)}</text>`)}
      </svg>
      <figcaption class="legend">
        ${at !== null ? html`<strong>${when(times[at])}</strong>` : null}
        ${shown.map((one, place) => html`
          <span key=${one.name}><i class=${`swatch s${place}`} aria-hidden="true"></i>${one.name}
            <span class="soft">${at !== null ? say(one.values[at] ?? 0) : stacked ? say(one.sum) : ""}</span></span>`)}
        ${!shown.length && html`<span class="soft">Nothing in this time.</span>`}
      </figcaption>
      ${shown.length > 0 && html`<${Table} times=${times} series=${shown} say=${say} when=${when} title=${title} />`}
    </figure>`;
}

function columns(times, series, { left, step, y }) {
  const gap = step > 6 ? Math.min(4, step * 0.2) : 0;
  return times.map((time, place) => {
    let below = 0;
    return series.map((one, colour) => {
      const value = one.values[place] ?? 0;
      if (!value) return null;
      const from = y(below);
      below += value;
      return html`<rect key=${`${time}${one.name}`} class=${`s${colour}`} x=${left + place * step + gap / 2} width=${Math.max(1, step - gap)}
        y=${y(below)} height=${Math.max(1, from - y(below))} />`;
    });
  });
}

function lines(series, { left, step, y }) {
  return series.map((one, colour) => {
    const points = one.values.flatMap((value, place) => (value ? [[left + (place + 0.5) * step, y(value)]] : []));
    return html`<g key=${one.name} class=${`s${colour} line`}>
      <polyline points=${points.map((point) => point.join(",")).join(" ")} />
      ${points.map(([x, at]) => html`<circle key=${x} cx=${x} cy=${at} r="2.5" />`)}</g>`;
  });
}

function Table({ times, series, say, when, title }) {
  const [open, setOpen] = useState(false);
  const places = times.map((_, place) => place).filter((place) => series.some((one) => one.values[place]));
  return html`
    <details onToggle=${(event) => setOpen(event.currentTarget.open)}><summary>The same as a table</summary>
      ${open && html`<div class="scroll" tabindex="0" role="region" aria-label=${title}><table>
        <thead><tr><th scope="col">time</th>${series.map((one) => html`<th key=${one.name} scope="col" class="number">${one.name}</th>`)}</tr></thead>
        <tbody>${places.map((place) => html`<tr key=${place}><th scope="row">${when(times[place])}</th>
          ${series.map((one) => html`<td key=${one.name} class="number">${say(one.values[place] ?? 0)}</td>`)}</tr>`)}</tbody>
      </table></div>`}
    </details>`;
}
