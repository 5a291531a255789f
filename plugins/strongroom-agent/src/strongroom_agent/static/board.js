// The board: its parts, what each is drawn from, and what is drawn anew when the agent has told how things are.

import { drawAgent, drawHealth } from "./agent.js";
import { announce } from "./elements.js";
import { drawLatency, drawPrincipals, drawReads, drawTiles } from "./figures.js";
import { setClock } from "./formats.js";
import { drawRotations } from "./rotations.js";
import { trailIsRead } from "./search.js";
import { lacking } from "./states.js";
import { drawAlerts, drawTrail, forgetAlerts } from "./trail.js";

// Each part with what it is drawn from. What tells how long ago something was is drawn each time.
const PARTS = [
  ["tiles", drawTiles, null],
  ["reads", drawReads, (seen) => [seen.figures, seen.span, lacking(seen.trail)]],
  ["latency", drawLatency, (seen) => [seen.figures, seen.trail.problem]],
  ["principals", drawPrincipals, (seen) => [seen.figures.principals, seen.trail.problem]],
  ["rotations", drawRotations, null],
  ["alerts", drawAlerts, (seen) => [seen.alerts, lacking(seen.trail)]],
  ["health", drawHealth, null],
  ["agent", drawAgent, null],
  ["trail", drawTrail, null],
];

const sources = new Map(); // by part: what it was drawn from, so that only what has changed is drawn
let shown = null; // what was shown last

export function show(overview) {
  const before = shown;
  shown = overview;
  setClock(overview.now);
  for (const [name, draw, from] of PARTS) {
    const source = from ? JSON.stringify(from(overview)) : null;
    if (source !== null && sources.get(name) === source) continue;
    sources.set(name, source);
    draw(overview);
  }
  trailIsRead(!overview.trail.reading);
  const [old, now] = [before && before.health && before.health.state, overview.health && overview.health.state];
  if (before && old !== now) announce(`The agent is ${now || "in an unknown state"}.`);
}

// Charts are drawn for the width that there is.
export function redrawCharts() {
  if (!shown) return;
  drawReads(shown);
  drawLatency(shown);
}

export function forgetBoard() {
  shown = null;
  sources.clear();
  forgetAlerts();
  // Nothing of what was shown is left for whoever comes next.
  for (const body of document.querySelectorAll("tbody, #tiles, #agent, .chart, #verifications, datalist")) {
    body.replaceChildren();
  }
}
