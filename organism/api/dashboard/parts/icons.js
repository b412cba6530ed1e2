// The marks beside the names of views, drawn on a square of 20.

import { html } from "../lib/view.js";

const PATHS = {
  overview: "M3 17V10M8 17V4M13 17V7M18 17V12",
  threads: "M3 5h14M3 10h14M3 15h9",
  budgets: "M10 3a7 7 0 1 0 7 7h-7zM13 2.5A7 7 0 0 1 17.5 7H13z",
  agents: "M5 5m-2.2 0a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0-4.4 0M15 10m-2.2 0a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0-4.4 0M5 15m-2.2 0a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0-4.4 0M7 6l6 3M7 14l6-3",
  approvals: "M4 10.5l4 4 8-9",
  letters: "M3 5h14v10H3zM3 5.5l7 5.5 7-5.5",
  keys: "M7 13m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0M9.5 10.5L17 3M14 6l2.5 2.5",
  api: "M7 5l-5 5 5 5M13 5l5 5-5 5",
  health: "M2 10h4l2-5 4 10 2-5h4",
};

export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
